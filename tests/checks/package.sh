#!/usr/bin/env bash
# Packages every published crate, builds what was packaged, and looks for licences and a README in each package.
set -euo pipefail
cd "$(dirname "$0")/../.."

crates=(vmexternref-core vmexternref-frame-pointer vmexternref-backtrace vmexternref)
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/package-check
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | sed -n 1p)
passed=0
failed=0
count() { # good or not, what it is
    if [ "$1" = yes ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $2"
    fi
}

options=()
for crate in "${crates[@]}"; do options+=(-p "$crate"); done
# A package is made of what is committed; a changed file is no reason to refuse while one works on it.
good=yes
RUSTFLAGS= cargo package --quiet --locked --allow-dirty "${options[@]}" || good=no
count $good "cargo package ${options[*]}"
for crate in "${crates[@]}"; do
    listed=$(tar -tzf "$CARGO_TARGET_DIR/package/$crate-$version.crate" 2>/dev/null || true)
    for file in LICENSE-MIT LICENSE-APACHE README.md src/lib.rs; do
        good=yes
        grep -qxF "$crate-$version/$file" <<<"$listed" || good=no
        count $good "$file in the package of $crate"
    done
    # A link that is relative leads nowhere on the crate's page.
    relative=$(tar -xzOf "$CARGO_TARGET_DIR/package/$crate-$version.crate" "$crate-$version/README.md" | grep -o '](.*)' | grep -v '](https://' || true)
    good=yes
    [ -z "$relative" ] || good=no
    count $good "relative links in the README of $crate: $relative"
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
