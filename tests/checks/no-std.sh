#!/usr/bin/env bash
# Compiles the core and the frame-pointer walker for targets that have no std.
#
# A target that `rustup target add` has installed is used as it is. Otherwise
# `core` and `alloc` are compiled from Debian's copy of the library's sources,
# which is installed where it is missing.
set -euo pipefail
cd "$(dirname "$0")/../.."
unset RUSTFLAGS

targets="x86_64-unknown-none aarch64-unknown-none riscv64gc-unknown-none-elf thumbv7em-none-eabihf riscv32imac-unknown-none-elf"
packages=(-p vmexternref-core -p vmexternref-frame-pointer)
oldest=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)

debian_rustc_is_fit() {
    local version
    version=$(/usr/bin/rustc --version 2>/dev/null | cut -d ' ' -f 2) || return 1
    [ -d "/usr/src/rustc-$version" ] && [ "$(printf '%s\n%s\n' "$version" "$oldest" | sort -V | head -n 1)" = "$oldest" ]
}

check() { # target
    if grep -qx "$1" <<<"$(rustup target list --installed 2>/dev/null)"; then
        cargo check --quiet --locked --target "$1" "${packages[@]}"
        return
    fi
    if ! debian_rustc_is_fit; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends rustc-web rust-web-src >/dev/null
    fi
    RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc cargo check --quiet --locked -Zbuild-std=core,alloc \
        --target-dir target/no-std --target "$1" "${packages[@]}"
}

passed=0
for target in $targets; do
    check "$target"
    passed=$((passed + 1))
done
echo "$passed passed, 0 failed"
