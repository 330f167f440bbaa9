#!/usr/bin/env bash
# Shows that the modules of each published crate stand on floors: no two import each other, also not by way of others.
set -euo pipefail
cd "$(dirname "$0")/../.."

# The code of a file before its tests, without comments.
code() {
    sed '/^#\[cfg(test)\]/,$d; s,//.*,,' "$1"
}

# Pairs of modules in the folder $1: importer, imported. $2 begins the path of an import there.
imports() {
    local file module imported
    for file in "$1"/*; do
        module=$(basename "$file" .rs)
        case $module in lib | mod | tests) continue ;; esac
        for imported in $(find "$file" -name '*.rs' ! -name tests.rs ! -path '*/tests/*' | while read -r source; do code "$source"; done |
            grep -o "\b$2::[a-z_]*\b" | sed "s/.*:://" | sort -u); do
            if [ "$imported" != "$module" ] && { [ -f "$1/$imported.rs" ] || [ -d "$1/$imported" ]; }; then
                echo "$module $imported"
            fi
        done
    done
}

. tests/checks/tally.bash

check() { # folder, start of an import
    local circle
    circle=$(imports "$1" "$2" | tsort 2>&1 >/dev/null) || true
    count_run "modules in $1 import each other: $circle" [ -z "$circle" ]
}

for crate in core walkers/* std-shim; do
    check "$crate/src" crate
    for folder in "$crate"/src/*/; do
        [ ! -d "$folder" ] || check "${folder%/}" super
    done
done
finish
