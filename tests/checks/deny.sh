#!/usr/bin/env bash
# Checks licences, sources and duplicates of all dependencies, as `deny.toml` says, with cargo-deny.
set -euo pipefail
cd "$(dirname "$0")/../.."

version=0.20.2
. tests/checks/install.bash
. tests/checks/tally.bash

tools=${CARGO_TARGET_DIR:-$PWD/target}/tools
if ! "$tools/bin/cargo-deny" --version 2>/dev/null | grep -qF "$version"; then
    if [ "${NO_INSTALL-}" = 1 ]; then
        echo "missing, and not installed because of NO_INSTALL=1: cargo-deny $version" >&2
        exit $not_installed
    fi
    echo "installing cargo-deny $version"
    CARGO_TARGET_DIR=$tools/build RUSTFLAGS= cargo install --quiet --locked --root "$tools" "cargo-deny@$version"
fi

for workspace in . tests/bare-metal tests/fuzz; do
    for check in licenses bans sources; do
        count_run "cargo deny check $check in $workspace" \
            "$tools/bin/cargo-deny" --manifest-path "$workspace/Cargo.toml" --log-level error --config "$PWD/deny.toml" check "$check"
    done
done
finish
