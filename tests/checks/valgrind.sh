#!/usr/bin/env bash
# Runs the engine's programs under Valgrind: invalid accesses, also of compiled code, and leaks.
#
# The build is the one that users have: without debug assertions there is no quarantine, and dead
# boxes are freed at once. With --all under every walker. ENGINE names an engine that is built already.
set -euo pipefail
cd "$(dirname "$0")/../.."

. tests/checks/install.bash
. tests/checks/tally.bash
command -v valgrind >/dev/null || install_packages valgrind
. tests/checks/engine.bash

# Valgrind cannot tell which uninitialised words matter: optimised code compares fields of an enum
# before it knows the variant.
check() { # program, options
    timeout 600 valgrind -q --undef-value-errors=no --error-exitcode=9 --leak-check=full --show-leak-kinds=definite \
        --errors-for-leak-kinds=definite "$engine" run "$1" "${@:2}" --dir "$files" --invoke main \
        >"$files/said" 2>&1 </dev/null || {
        tail -n 20 "$files/said"
        return 1
    }
}

configurations=("--walker activations --zeal")
[ "${1-}" != --all ] || configurations+=("--walker backtrace" "--walker current-frame")
for program in tests/programs/*.wat; do
    for options in "${configurations[@]}"; do
        # shellcheck disable=SC2086
        count_run "$program with $options" check "$program" $options
    done
done
finish
