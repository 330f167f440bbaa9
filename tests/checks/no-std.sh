#!/usr/bin/env bash
# Compiles the core and the walkers by records for targets that have no std.
#
# A target that `rustup target add` has installed is used as it is. Otherwise
# `core` and `alloc` are compiled from Debian's copy of the library's sources,
# which is installed where it is missing.
set -euo pipefail
cd "$(dirname "$0")/../.."
unset RUSTFLAGS

targets="x86_64-unknown-none aarch64-unknown-none riscv64gc-unknown-none-elf thumbv7em-none-eabihf riscv32imac-unknown-none-elf"
packages=(-p vmexternref-core -p vmexternref-frame-pointer -p vmexternref-pulley)
. tests/checks/debian-rust.bash

check() { # target
    if grep -qx "$1" <<<"$(rustup target list --installed 2>/dev/null)"; then
        cargo check --quiet --locked --target "$1" "${packages[@]}"
        return
    fi
    install_debian_rust
    debian_cargo check --quiet --locked -Zbuild-std=core,alloc \
        --target-dir target/no-std --target "$1" "${packages[@]}"
}

passed=0
for target in $targets; do
    check "$target"
    passed=$((passed + 1))
done
echo "$passed passed, 0 failed"
