#!/usr/bin/env bash
# Runs the tests of core, walkers, shim and the engine's runtime, its programs, and random ones, under AddressSanitizer
# with leak detection.
#
#   asan.sh [COUNT]    COUNT random programs; 100 if it is not given
#
# The library's own quarantine stays on in these builds: it reports what passes through the library, the sanitizer the rest.
set -euo pipefail
cd "$(dirname "$0")/../.."

host=$(rustc -vV | sed -n 's/^host: //p')
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/asan
. tests/checks/asan.bash
. tests/checks/tally.bash

# Left out are tests that end a child process on purpose, and those that only measure or refuse memory.
for tests in \
    "-p vmexternref-core --features wasmtime-environ --lib --test immediates --test logging --test registrations" \
    "-p vmexternref-frame-pointer --lib" \
    "-p vmexternref-backtrace --lib" \
    "-p vmexternref-pulley --lib" \
    "-p vmexternref --all-features --lib --tests" \
    "-p vmexternref-engine-runtime --lib"; do
    # shellcheck disable=SC2086
    count_run "cargo test $tests" cargo test --quiet --locked --target "$host" $tests
done

cargo build --quiet --locked --target "$host" -p vmexternref-engine -p vmexternref-engine-model \
    --bin vmexternref-engine --example programs
engine=$CARGO_TARGET_DIR/$host/debug/vmexternref-engine
files=$(mktemp -d)
trap 'rm -r "$files"' EXIT
for walker in activations backtrace current-frame; do
    for zeal in "" --zeal; do
        for program in tests/programs/*.wat; do
            good=yes
            said=$("$engine" run "$program" --walker $walker $zeal --dir "$files" --invoke main 2>&1 </dev/null) || good=no
            grep -q 'Sanitizer' <<<"$said" && good=no
            [ $good = yes ] || tail -n 20 <<<"$said"
            count $good "$program with $walker $zeal"
        done
    done
done
# Each in every configuration of the model.
count_run "${1:-100} random programs" "$CARGO_TARGET_DIR/$host/debug/examples/programs" "${1:-100}"
finish
