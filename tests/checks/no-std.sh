#!/usr/bin/env bash
# Compiles the core and the frame-pointer walker for targets that have no std.
#
# A target that `rustup target add` has installed is used as it is. Otherwise
# `core` and `alloc` are built from Debian's copy of the library's sources.
set -euo pipefail
cd "$(dirname "$0")/../.."

targets="x86_64-unknown-none aarch64-unknown-none riscv64gc-unknown-none-elf thumbv7em-none-eabihf riscv32imac-unknown-none-elf"
packages=(-p vmexternref-core -p vmexternref-frame-pointer)
unset RUSTFLAGS CARGO_TARGET_DIR

from_debian() {
    [ -d /usr/lib/rustlib/src ] || [ -d "$(/usr/bin/rustc --print sysroot 2>/dev/null)/lib/rustlib/src/rust/library" ]
}

check() { # target, feature of the core
    local features=()
    [ -z "$2" ] || features=(--features "vmexternref-core/$2")
    if rustup target list --installed 2>/dev/null | grep -qx "$1"; then
        cargo check --quiet --locked --target "$1" "${packages[@]}" "${features[@]}"
        return
    fi
    if ! from_debian; then
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends rustc-web rust-web-src
    fi
    RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc cargo check --quiet --locked -Zbuild-std=core,alloc \
        --target-dir target/no-std --target "$1" "${packages[@]}" "${features[@]}"
}

passed=0
for target in $targets; do
    for feature in "" wasmtime-environ; do
        check "$target" "$feature"
        echo "ok: $target ${feature:-(no features)}"
        passed=$((passed + 1))
    done
done
echo "$passed passed, 0 failed"
