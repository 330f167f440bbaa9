#!/usr/bin/env bash
# Plants faults in a copy of the sources, one at a time, and shows which checks catch each.
#
#   run.sh            shows that every fault can be planted, and runs a few
#   run.sh --all      runs every fault
#   run.sh NAME…      runs these faults
#   run.sh --tests …  the same, without the long checks
#   run.sh --control  shows that no check catches anything where nothing is planted
#   run.sh --table    prints what earlier runs have found, for the README
#
# A fault passes that a check of `cargo test` catches, and one of the long checks that it names.
set -euo pipefail
cd "$(dirname "$0")/../.."

. tests/checks/tally.bash
root=$PWD
here=$root/tests/faults
work=${CARGO_TARGET_DIR:-$root/target}/faults
tree=$work/tree
rows=$work/rows
limit=600 # seconds that a check may run; a fault may make it endless
host=$(rustc -vV | sed -n 's/^host: //p')
mkdir -p "$tree" "$rows"
# Faster to compile: nobody looks at a backtrace.
export RUST_BACKTRACE=0 CARGO_PROFILE_DEV_DEBUG=0

value() { # key, name
    sed -n "s/^$1: //p" "$here/list/$2.fault"
}

# Makes the copy the same as the sources, and leaves alone what is, so that builds are incremental.
copy() {
    local file
    git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
        [ -f "$file" ] || continue
        cmp -s "$file" "$tree/$file" || { mkdir -p "$tree/$(dirname "$file")" && cp "$file" "$tree/$file"; }
    done
}

# Compiles what a check runs, however long that takes. 2 if the fault does not compile.
compile() {
    said=$(cd "$tree" && "$@" 2>&1 </dev/null) && return
    grep -m 3 '^error' <<<"$said" >&2
    return 2
}

# Runs a command in the copy within the limit, and says what it did in $said. 124 if it did not end.
said=
attempt() {
    local code=0
    said=$(cd "$tree" && timeout "$limit" "$@" 2>&1 </dev/null) || code=$?
    [ $code != 124 ] || said+=$'\n'"no end after $limit s"
    return $code
}

# The test that failed, of what `cargo test` said.
failed_test() {
    local name
    name=$(sed -n 's/^---- \(.*\) stdout ----$/\1/p; s/^test \(.*\) \.\.\. FAILED$/\1/p' <<<"$said" | head -n 1)
    [ -n "$name" ] ||
        name=$(grep -m 1 -oE 'signal: [0-9]+[^)]*|AddressSanitizer: [a-zA-Z-]+|LeakSanitizer: [a-z ]+|no end after [0-9]+ s' <<<"$said") || true
    echo "${name:-it fails}"
}

features() { # package:features
    case $1 in
    *:all) echo --all-features ;;
    *:*) echo "--features ${1#*:}" ;;
    esac
}

# Which check of `cargo test` catches the fault that is planted. 2 if it does not compile.
#
# The unit tests come first: they are the fewest to compile.
tests() {
    local package part tests
    for package in "$@"; do
        for part in --lib --tests; do
            [ "$package $part" != "vmexternref-model --lib" ] || continue
            # shellcheck disable=SC2046
            tests=(cargo test --quiet -p "${package%:*}" $(features "$package") "$part")
            CARGO_TARGET_DIR=$work/build compile "${tests[@]}" --no-run || return 2
            CARGO_TARGET_DIR=$work/build attempt "${tests[@]}" || {
                caught="\`-p ${package%:*}\`: \`$(failed_test)\`"
                return 0
            }
        done
    done
    return 1
}

# The model, as tests are built and as users build.
long_model() {
    local profile model case
    for profile in "" --release; do
        # shellcheck disable=SC2206
        model=(--quiet $profile -p vmexternref-model --example long)
        CARGO_TARGET_DIR=$work/build compile cargo build "${model[@]}" || return 2
        CARGO_TARGET_DIR=$work/build attempt cargo run "${model[@]}" -- 1000000 || {
            case=$(grep -m 1 -oE 'case [0-9]*|no end after [0-9]+ s' <<<"$said") || case="it ends the process"
            caught="model: $case${profile:+, $profile}"
            return 0
        }
    done
    return 1
}

# What `tests/checks/asan.sh` runs of the package, and the model, under AddressSanitizer.
long_asan() {
    local package="$1" tests model more=()
    export CARGO_TARGET_DIR=$work/asan
    . tests/checks/asan.bash
    [ "${package%:*}" != vmexternref-core ] || more=(--test immediates --test logging --test registrations)
    # shellcheck disable=SC2046
    tests=(cargo test --quiet --target "$host" -p "${package%:*}" $(features "$package") --lib "${more[@]}")
    compile "${tests[@]}" --no-run || return 2
    attempt "${tests[@]}" || {
        caught="AddressSanitizer: \`$(failed_test)\`"
        return 0
    }
    # These end processes and replace the allocator, where leaks cannot be told.
    if [ "${package%:*}" = vmexternref-core ]; then
        tests=(cargo test --quiet --target "$host" -p vmexternref-core --test aborts --test allocator --test memory)
        compile "${tests[@]}" --no-run || return 2
        ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0 attempt "${tests[@]}" || {
            caught="AddressSanitizer: \`$(failed_test)\`"
            return 0
        }
    fi
    model=(--quiet --target "$host" -p vmexternref-model --example long)
    compile cargo build "${model[@]}" || return 2
    attempt cargo run "${model[@]}" -- 50000 || {
        caught="AddressSanitizer, model: \`$(failed_test)\`"
        return 0
    }
    return 1
}

# Every program, with every walker, and collections wherever one is possible, all of which free what they can.
long_zeal() {
    local program walker zeal
    CARGO_TARGET_DIR=$work/build compile cargo build --quiet -p vmexternref-engine || return 2
    for program in tests/programs/*.wat; do
        for walker in activations backtrace current-frame; do
            for zeal in "" --zeal; do
                # shellcheck disable=SC2086
                attempt "$work/build/debug/vmexternref-engine" run "$program" --walker $walker $zeal --dir "$work" --invoke main &&
                    ! grep -q '^gc: kept everything' <<<"$said" || {
                    caught="\`$(basename "$program" .wat)\` with $walker${zeal:+, zeal}"
                    return 0
                }
            done
        done
    done
    return 1
}

# Random programs, in every configuration of the engine's model.
long_programs() {
    CARGO_TARGET_DIR=$work/build compile cargo build --quiet -p vmexternref-engine-model --example programs || return 2
    attempt "$work/build/debug/examples/programs" 500 && return 1
    caught="random programs: $(grep -m 1 -oE 'case [0-9]+|no end after [0-9]+ s' <<<"$said" || echo "it ends the process")"
}

# The engine at its limits, as users build it.
long_limits() {
    CARGO_TARGET_DIR=$work/build compile cargo build --quiet --release -p vmexternref-engine || return 2
    ENGINE=$work/build/release/vmexternref-engine attempt bash tests/checks/limits.sh && return 1
    caught="limits: $(sed -n 's/^FAILED: //p' <<<"$said" | head -n 1)"
}

# A script of `tests/checks`. It compiles, too, so that one that does not end has caught nothing.
long_script() {
    local code=0
    CARGO_TARGET_DIR=$work/build attempt bash "tests/checks/$1.sh" || code=$?
    caught="\`$1.sh\`"
    [ $code != 0 ] && [ $code != 124 ]
}

# Which of the long checks $2… catches the fault that is planted; $1 is its first package. 2 if one does not compile.
long() {
    local check code=1
    for check in "${@:2}"; do
        case $check in
        none) echo none && return 0 ;;
        model | zeal | programs | asan | limits) (long_"$check" "$1" && echo "$caught") && return 0 || code=$? ;;
        *) (long_script "$check" && echo "$caught") && return 0 || code=$? ;;
        esac
    done
    return $code
}

# Runs the fault $1.
run() {
    local name=$1 file by_test=nothing by_long=nothing good=yes caught="" code=0 row
    file=$(value file "$name")
    perl "$here/plant.pl" "$here/list/$name.fault" "$tree" --write
    # shellcheck disable=SC2046
    tests $(value tests "$name") || code=$?
    if [ $code = 0 ]; then by_test=$caught; else good=no; fi
    if [ $code = 2 ]; then
        by_test="does not compile"
    elif [ -n "$tests_only" ]; then
        by_long="not run"
    else
        # shellcheck disable=SC2046
        by_long=$(long $(value tests "$name" | cut -d ' ' -f 1) $(value long "$name")) || good=no
    fi
    cp "$root/$file" "$tree/$file"
    row="| $name | $(value breaks "$name") | ${by_test} | ${by_long:-nothing} |"
    echo "$row"
    [ -n "$tests_only" ] || echo "$row" >"$rows/$name"
    count $good "$name"
}

# Shows that the checks of the faults pass without one.
control() {
    local package check caught code
    for package in $(every tests); do
        caught="" code=0
        tests "$package" || code=$?
        count_run "$package without a fault: ${caught:-does not compile}" [ $code = 1 ]
    done
    while read -r package check; do
        code=0
        caught=$(long "$package" "$check") || code=$?
        count_run "$check of $package without a fault: ${caught:-does not compile}" [ $code = 1 ]
    done < <(every_long)
}

# The long checks of all faults, each once, behind a package; AddressSanitizer with each package that it checks.
every_long() {
    local fault check
    for fault in "$here"/list/*.fault; do
        fault=$(basename -s .fault "$fault")
        for check in $(value long "$fault"); do
            case $check in
            none) ;;
            asan) echo "$(value tests "$fault" | cut -d ' ' -f 1) asan" ;;
            *) echo "all $check" ;;
            esac
        done
    done | sort -u
}

# Whether the README has one row of the fault $1, or names it below the table as one that was not run.
is_told() {
    [ "$(grep -cE "^\| $1 \| |^These have not been run.* \`$1\`[,.]" "$here/README.md")" = 1 ]
}

# The values of a key in all faults, each once.
every() {
    sed -n "s/^$1: //p" "$here"/list/*.fault | tr ' ' '\n' | sort -u
}

# A few faults that need little to be compiled: others with each commit.
few() {
    local names number
    mapfile -t names < <(grep -lE '^tests: vmexternref-model vmexternref-core$' "$here"/list/*.fault | xargs -n 1 basename -s .fault)
    number=$(git rev-list --count HEAD)
    for step in 0 1 2; do echo "${names[$(((number * 3 + step) % ${#names[@]}))]}"; done
}

tests_only=
if [ "${1-}" = --tests ]; then
    tests_only=yes
    shift
fi
case ${1-} in
--table)
    cat "$rows"/*
    exit
    ;;
--control)
    copy
    control
    finish
    exit
    ;;
"")
    for fault in "$here"/list/*.fault; do
        count_run "$fault can be planted" perl "$here/plant.pl" "$fault" "$root"
        count_run "the README tells of $fault once" is_told "$(basename -s .fault "$fault")"
    done
    mapfile -t names < <(few)
    ;;
--all) mapfile -t names < <(basename -s .fault "$here"/list/*.fault) ;;
*) names=("$@") ;;
esac

copy
for name in "${names[@]}"; do run "$name"; done
finish
