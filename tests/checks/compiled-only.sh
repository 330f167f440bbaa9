#!/usr/bin/env bash
# Compiles the published crates, all features, for systems on which nothing here can run their tests.
#
# Needs rustup, which brings the standard libraries of these systems. Warnings are errors.
set -euo pipefail
cd "$(dirname "$0")/../.."

. tests/checks/install.bash
. tests/checks/tally.bash

crates=(-p vmexternref-core -p vmexternref-frame-pointer -p vmexternref-backtrace -p vmexternref-pulley -p vmexternref)
for target in x86_64-pc-windows-gnu aarch64-apple-darwin; do
    if [ ! -d "$(rustc --print sysroot)/lib/rustlib/$target" ]; then
        if [ "${NO_INSTALL-}" = 1 ]; then
            echo "missing, and not installed because of NO_INSTALL=1: Rust's library for $target" >&2
            exit $not_installed
        fi
        echo "installing Rust's library for $target"
        rustup --quiet target add "$target"
    fi
    RUSTFLAGS="-D warnings" count_run "cargo check for $target" \
        cargo check --quiet --locked --all-features --lib "${crates[@]}" --target "$target"
done
finish
