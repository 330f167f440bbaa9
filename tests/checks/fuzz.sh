#!/usr/bin/env bash
# Runs each fuzz target for some seconds, beginning with its seeds.
#
# usage: fuzz.sh [--short] [SECONDS]     (20 seconds if there is no number)
#
# With --short, it runs `model` only, which needs no compiler: minutes in place of a quarter of an hour.
#
# What a target finds stays in `tests/fuzz/corpus`, and an input that it fails at in
# `tests/fuzz/artifacts`.
set -euo pipefail
cd "$(dirname "$0")/../.."

. tests/checks/install.bash
. tests/checks/tally.bash
# libFuzzer is C++.
command -v c++ >/dev/null || install_packages g++

features=()
targets=(tests/fuzz/fuzz_targets/*.rs)
if [ "${1-}" = --short ]; then
    shift
    features=(--no-default-features)
    targets=(tests/fuzz/fuzz_targets/model.rs)
fi
seconds=${1:-20}
host=$(rustc -vV | sed -n 's/^host: //p')
target=${CARGO_TARGET_DIR:-$PWD/target}/fuzz
corpus=tests/fuzz/corpus

[ ${#features[@]} -gt 0 ] ||
    cargo run --quiet --release --locked -p vmexternref-loaders --example seeds -- "$corpus"

# What cargo-fuzz passes, without a sanitizer: the code is instrumented for libFuzzer.
flags="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
flags+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
flags+=" -Cllvm-args=-sanitizer-coverage-pc-table"
flags+=" -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
RUSTC_BOOTSTRAP=1 RUSTFLAGS=$flags CARGO_TARGET_DIR=$target cargo build --quiet --release --locked \
    --manifest-path tests/fuzz/Cargo.toml --target "$host" "${features[@]}"

for source in "${targets[@]}"; do
    name=$(basename "$source" .rs)
    mkdir -p "$corpus/$name" "tests/fuzz/artifacts/$name"
    count_run "$name" "$target/$host/release/$name" "$corpus/$name" -max_total_time="$seconds" \
        -timeout=20 -rss_limit_mb=2048 -max_len=16384 -print_final_stats=1 -verbosity=0 \
        -artifact_prefix="tests/fuzz/artifacts/$name/"
done
finish
