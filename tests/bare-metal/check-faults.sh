#!/usr/bin/env bash
# Shows that run.sh can fail: puts in a fault of each kind, and expects every host to find it.
#
# usage: check-faults.sh [HOST...]
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
. "$here/../checks/install.bash"
. "$here/../checks/tally.bash"
hosts=("$@")
[ ${#hosts[@]} -gt 0 ] || hosts=(x86_64 aarch64 aarch64-authenticated riscv64 thumbv7em riscv32)

# Runs the host $2 with the fault $1, which has to fail, and say the words $3.
find_fault() {
    local code=0 said good=no
    said=$(BREAK=$1 "$here/run.sh" "$2") || code=$?
    [ $code -ne "$not_installed" ] || exit $code
    if [ $code -ne 0 ] && grep -q "$3" <<<"$said" &&
        tail -n 1 <<<"$said" | grep -qx '[0-9]* passed, [1-9][0-9]* failed'; then
        good=yes
        echo "$2 with the fault $1: $(tail -n 1 <<<"$said")"
    else
        tail -n 5 <<<"$said"
    fi
    count $good "$2 did not find the fault: $1"
}

for host in "${hosts[@]}"; do
    for fault in stack-map lost-root; do find_fault $fault "$host" ""; done
    # The others have no guard below the stack.
    case $host in
        thumbv7em | riscv32) find_fault stack-overflow "$host" '^stack overflow ' ;;
    esac
done
finish
