#!/usr/bin/env bash
# Shows that run.sh can fail: puts in a fault of each kind, and expects every host to find it.
#
# usage: check-faults.sh [HOST...]
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
. "$here/../checks/install.bash"
hosts=("$@")
[ ${#hosts[@]} -gt 0 ] || hosts=(x86_64 aarch64 aarch64-authenticated riscv64 thumbv7em riscv32)
found=0
missed=0
for fault in stack-map lost-root; do
    for host in "${hosts[@]}"; do
        code=0
        said=$(BREAK=$fault "$here/run.sh" "$host") || code=$?
        [ $code -ne $not_installed ] || exit $code
        if [ $code -eq 0 ]; then
            echo "$host did not find the fault: $fault"
            missed=$((missed + 1))
        elif tail -n 1 <<<"$said" | grep -qx '[0-9]* passed, [1-9][0-9]* failed'; then
            echo "$host with the fault $fault: $(tail -n 1 <<<"$said")"
            found=$((found + 1))
        else
            echo "$host with the fault $fault was not run:"
            tail -n 5 <<<"$said"
            missed=$((missed + 1))
        fi
    done
done
echo "$found passed, $missed failed"
[ $missed -eq 0 ]
