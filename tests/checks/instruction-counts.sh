#!/usr/bin/env bash
# Counts the instructions of the hot paths, and fails where one has grown.
#
# Instructions do not depend on the neighbours, as times do. Each path runs
# twice, with a different number of rounds; the difference is what the rounds
# cost. With --record it writes the baseline, which belongs to one toolchain,
# architecture and C library, and is no measure for others. BINARY names a
# benchmark that is built already.
set -euo pipefail
cd "$(dirname "$0")/../.."

baseline=tests/bench/instruction-counts.txt
tolerance=5 # percent
all=200000    # operations that one count is made of

. tests/checks/install.bash
command -v valgrind >/dev/null || install_packages valgrind
binary=${BINARY-}
if [ -z "$binary" ]; then
    cargo build --release --locked --quiet -p vmexternref-bench --no-default-features
    binary=${CARGO_TARGET_DIR:-target}/release/vmexternref-bench
fi

instructions() { # path, rounds
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$binary" path "$1" "$2" 2>&1 |
        sed -n 's/.*Collected : //p'
}

count() { # path
    local operations rounds once twice
    operations=$("$binary" path "$1" 1)
    rounds=$((all / operations))
    once=$(instructions "$1" "$rounds")
    twice=$(instructions "$1" $((2 * rounds)))
    awk -v a="$once" -v b="$twice" -v n="$((rounds * operations))" 'BEGIN { printf "%.1f", (b - a) / n }'
}

paths=$({ "$binary" path '' 1 2>&1 || true; } | sed -n 's/.*the paths are: //p')
[ -n "$paths" ]

# Read to its end: `head` would break the pipe, and `pipefail` the run.
machine="$(rustc --version), $(uname -m), $(ldd --version | sed -n 1p)"
if [ "${1-}" = --record ]; then
    {
        echo "# Instructions an operation: $machine"
        for path in $paths; do echo "$path $(count "$path")"; done
    } | tee "$baseline"
    exit
fi

if ! head -n 1 "$baseline" | grep -qF "$machine"; then
    head -n 1 "$baseline"
    echo "nothing is compared: there is no baseline for $machine"
    echo "0 passed, 0 failed, $(wc -w <<<"$paths") skipped"
    exit
fi
passed=0 failed=0
for path in $paths; do
    before=$(awk -v path="$path" '$1 == path { print $2 }' "$baseline")
    now=$(count "$path")
    if awk -v now="$now" -v before="$before" -v tolerance="$tolerance" \
        'BEGIN { exit !(before != "" && now <= before * (1 + tolerance / 100)) }'; then
        echo "ok: $path $now (baseline $before)"
        passed=$((passed + 1))
    else
        echo "FAILED: $path $now, more than $tolerance % above the baseline of ${before:-nothing}"
        failed=$((failed + 1))
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
