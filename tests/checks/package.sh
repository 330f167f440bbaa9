#!/usr/bin/env bash
# Packages every published crate, builds what was packaged, and looks for licences and a README in each package.
set -euo pipefail
cd "$(dirname "$0")/../.."

crates=(vmexternref-core vmexternref-frame-pointer vmexternref-pulley vmexternref-backtrace vmexternref)
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/package-check
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | sed -n 1p)
. tests/checks/tally.bash

options=()
for crate in "${crates[@]}"; do options+=(-p "$crate"); done
# A package is made of what is committed; a changed file is no reason to refuse while one works on it.
export RUSTFLAGS=
count_run "cargo package ${options[*]}" cargo package --quiet --locked --allow-dirty "${options[@]}"
for crate in "${crates[@]}"; do
    listed=$(tar -tzf "$CARGO_TARGET_DIR/package/$crate-$version.crate" 2>/dev/null || true)
    for file in LICENSE-MIT LICENSE-APACHE README.md src/lib.rs; do
        count_run "$file in the package of $crate" grep -qxF "$crate-$version/$file" <<<"$listed"
    done
    # A link that is relative leads nowhere on the crate's page.
    relative=$(tar -xzOf "$CARGO_TARGET_DIR/package/$crate-$version.crate" "$crate-$version/README.md" | grep -o '](.*)' | grep -v '](https://' || true)
    count_run "relative links in the README of $crate: $relative" [ -z "$relative" ]
done
finish
