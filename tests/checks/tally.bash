# Counts what is good and what is not; sourced by the scripts that check something.

passed=0
failed=0

# Counts one outcome: $1 is whether it is good, the rest is what it is.
count() {
    if [ "$1" = yes ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: ${*:2}"
    fi
}

# Runs a command, and counts whether it succeeds: $1 is what it is, the rest the command.
count_run() {
    if "${@:2}"; then count yes "$1"; else count no "$1"; fi
}

# The last line, and the exit code.
finish() {
    echo "$passed passed, $failed failed"
    [ $failed -eq 0 ]
}
