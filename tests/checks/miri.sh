#!/usr/bin/env bash
# Runs the unit tests of core and walkers under Miri, which finds undefined behaviour.
#
# With --all their other tests too, and the model; and all of it by the other model of what pointers
# may do (tree borrows), with 32-bit words and with big-endian ones. That takes hours.
#
# Miri comes with nightly toolchains only. Where none is to be had, it says so and checks nothing.
set -euo pipefail
cd "$(dirname "$0")/../.."

. tests/checks/install.bash
. tests/checks/tally.bash

# Runs with two toolchains must not share a folder of artefacts.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/miri

has_miri() {
    cargo +nightly miri --version >/dev/null 2>&1 && cargo +nightly miri setup "$@" >/dev/null 2>&1
}

if ! has_miri && [ "${NO_INSTALL-}" != 1 ]; then
    echo "adding Miri to the nightly toolchain"
    rustup component add --toolchain nightly miri rust-src >/dev/null 2>&1 || true
fi

# Compiled code and collections find boxes by words: the provenance of each box is exposed.
words=-Zmiri-permissive-provenance
tests="-p vmexternref-core -p vmexternref-frame-pointer -p vmexternref-pulley --lib"
[ "${1-}" != --all ] || tests="${tests% --lib} -p vmexternref-model --lib --tests"
skipped=0

run() { # flags, target
    if ! has_miri --target "$2"; then
        echo "SKIPPED, there is no Miri for $2: $tests"
        skipped=$((skipped + 1))
        return
    fi
    # shellcheck disable=SC2086
    MIRIFLAGS="$words $1" count_run "under Miri: $2 $1" \
        cargo +nightly miri test --quiet --target "$2" $tests
}

host=$(rustc -vV | sed -n 's/^host: //p')
run "" "$host"
if [ "${1-}" = --all ]; then
    run -Zmiri-tree-borrows "$host"
    run "" i686-unknown-linux-gnu
    run "" s390x-unknown-linux-gnu
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
