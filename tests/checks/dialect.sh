#!/usr/bin/env bash
# Shows that comments and imports look alike everywhere; `rustfmt` looks after the rest.
#
# No comment is wider than 100 columns, except rows of tables, and the imports
# of a module are one block, which `rustfmt` sorts. Scripts can be run by their names.
set -euo pipefail
cd "$(dirname "$0")/../.."

. tests/checks/tally.bash

wide() {
    grep -HnE '^.{101,}$' "$1" | grep -E '^[^:]*:[0-9]*: *//' | grep -vE '^[^:]*:[0-9]*: *//[/!] *(\||#)'
}

# Each import that a blank line separates from the one before it.
apart() {
    awk '
        /^ *use / && blank && imported { print FILENAME ":" FNR ": " $0 }
        { line = $0; sub(/^ */, "", line) }
        line == "" { blank = 1; next }
        { blank = 0 }
        line ~ /^use / { inside = 1 }
        { imported = inside }
        line ~ /;$/ { inside = 0 }
    ' "$1"
}

for file in $(git ls-files '*.rs'); do
    found=$(wide "$file"; apart "$file") || true
    count_run "a wide comment, or imports in two blocks:"$'\n'"$found" [ -z "$found" ]
done
for script in $(git ls-files '*.sh' .ci/run); do
    count_run "$script cannot be run by its name" [ -x "$script" ]
done
finish
