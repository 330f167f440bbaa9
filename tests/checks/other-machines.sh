#!/usr/bin/env bash
# Runs the tests of the libraries and of the engine on other processors under Linux.
#
# usage: other-machines.sh [--short] [i686] [aarch64] [riscv64] [s390x]     (all of them if none is named)
#
# With --short, it runs the tests of the core and the walkers, which need no compiler: minutes in place of hours.
#
# This machine's kernel runs the tests for i686 itself, and QEMU those for the others. On i686, for which Cranelift has
# no code generator, there is no engine. What is not run is listed before the last line.
#
# Needs rustup's Rust, and root on Debian 12 for what is missing: QEMU, compilers and C libraries for these processors,
# and Debian's rustc-web with its library sources.
set -euo pipefail
cd "$(dirname "$0")/../.."

. tests/checks/debian-rust.bash
. tests/checks/tally.bash

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
out=$CARGO_TARGET_DIR/other-machines
mkdir -p "$out"
unset RUSTFLAGS
# The same compiler for the examples in the documentation.
export RUSTDOC=/usr/bin/rustdoc

short=
if [ "${1-}" = --short ]; then
    short=yes
    shift
fi
machines=("$@")
[ ${#machines[@]} -gt 0 ] || machines=(i686 aarch64 riscv64 s390x)

libraries=(-p vmexternref-core -p vmexternref-frame-pointer -p vmexternref-backtrace -p vmexternref-pulley)
[ -n "$short" ] || libraries+=(-p vmexternref)
engine=(-p vmexternref-engine-abi -p vmexternref-engine-runtime -p vmexternref-engine-host
    -p vmexternref-engine-code-memory -p vmexternref-engine)
[ -z "$short" ] || engine=()
# Emulated, compilation takes its time. Of the specification's scripts, those of reference types and tail calls are run.
export VMEXTERNREF_TEST_SCRIPTS="call_indirect. elem. global. linking. ref_ return_call select. table. table-sub. table_f table_g table_s"
# The programs with every walker at every safepoint. They run with each walker alone.
long=programs::with_all_of_them_and_zeal

target_of() {
    case $1 in
        i686 | aarch64 | s390x) echo "$1-unknown-linux-gnu" ;;
        riscv64) echo riscv64gc-unknown-linux-gnu ;;
        *)
            echo "unknown machine: $1" >&2
            exit 2
            ;;
    esac
}

# The name of the machine in Debian's packages of C libraries.
debian_name_of() {
    case $1 in
        i686) echo i386 ;;
        aarch64) echo arm64 ;;
        *) echo "$1" ;;
    esac
}

# --- What the machine needs -------------------------------------------------------------------------------------------

missing=()
for machine in "${machines[@]}"; do
    target_of "$machine" >/dev/null
    gnu=$machine-linux-gnu
    command -v "$gnu-gcc" >/dev/null || missing+=("gcc-$gnu")
    [ -e "/usr/$gnu/lib/crt1.o" ] || missing+=("libc6-dev-$(debian_name_of "$machine")-cross")
    [ "$machine" = i686 ] || command -v "qemu-$machine-static" >/dev/null || missing+=(qemu-user-static)
done
install_debian_rust "${missing[@]}"

# Debian's libraries for i686 lie where neither the linker nor a program looks for them.
i686_linker=$out/i686-linker
i686_libraries=/usr/i686-linux-gnu/lib
cat >"$i686_linker" <<END
#!/bin/sh
exec i686-linux-gnu-gcc "\$@" -Wl,--dynamic-linker=$i686_libraries/ld-linux.so.2 -Wl,-rpath,$i686_libraries
END
chmod +x "$i686_linker"

# The emulator of the machine $1 with its options, or nothing.
runner_of() {
    [ "$1" = i686 ] || echo "qemu-$1-static -L /usr/$1-linux-gnu"
}

for machine in "${machines[@]}"; do
    variable=CARGO_TARGET_$(target_of "$machine" | tr a-z- A-Z_)
    linker=$machine-linux-gnu-gcc
    [ "$machine" != i686 ] || linker=$i686_linker
    export "${variable}_LINKER=$linker"
    [ "$machine" = i686 ] || export "${variable}_RUNNER=$(runner_of "$machine")"
done

# --- Building and running ---------------------------------------------------------------------------------------------

# Cargo with Debian's compiler, and with the library that it compiles for the machines in $1, a list with blanks.
cargo_for() {
    local machine targets=()
    for machine in $1; do targets+=(--target "$(target_of "$machine")"); done
    # With the `test` crate for documentation, too: else everything is compiled again for it.
    debian_cargo "$2" --locked -Zbuild-std=std,test --all-features "${targets[@]}" "${@:3}"
}

# Builds the tests for the machines $1, a list with blanks, of the packages from $2 on. One build, because it uses both
# cores; and the same packages later, because their choice decides on features of what they depend on.
build_for() {
    [ -z "$1" ] || {
        echo "building the tests for $1"
        cargo_for "$1" test --quiet --no-run --tests "${@:2}"
    }
}

# Runs the tests of the packages from $2 on on the machine $1, and counts them.
test_on() {
    local said=$out/$1 code=0 kind good bad
    echo "testing on $1"
    # No examples: not all of them exist on every machine, and tests run those that do.
    for kind in --tests --doc; do
        VMEXTERNREF_TEST_RUNNER=$(runner_of "$1") cargo_for "$1" test --no-fail-fast $kind "${@:2}" -- --skip $long \
            || code=$?
    done >"$said" 2>&1
    good=$(sum_of passed "$said")
    bad=$(sum_of failed "$said")
    passed=$((passed + good))
    failed=$((failed + bad))
    echo "$1: $good passed, $bad failed"
    sed -n "s/^test \(.* \.\.\. ignored.*\)/not run on $1: \1/p" "$said" >>"$out/not-run"
    if [ $code -ne 0 ]; then
        grep -vE '^test .* \.\.\. ok$' "$said" || true
        [ "$bad" -gt 0 ] || count no "$1: cargo ended with code $code"
    elif [ "$good" -eq 0 ]; then
        count no "$1: no test was run"
    fi
}

# The sum of the numbers of tests that the file $2 calls $1: passed, failed.
sum_of() {
    sed -n "s/^test result: .* \([0-9]*\) $1;.*/\1/p" "$2" | awk '{ sum += $1 } END { print sum + 0 }'
}

: >"$out/not-run"
emulated=
for machine in "${machines[@]}"; do [ "$machine" = i686 ] || emulated+=" $machine"; done
[[ " ${machines[*]} " != *" i686 "* ]] || build_for i686 "${libraries[@]}"
build_for "${emulated# }" "${libraries[@]}" "${engine[@]}"
for machine in "${machines[@]}"; do
    case $machine in
        i686) test_on i686 "${libraries[@]}" ;;
        *) test_on "$machine" "${libraries[@]}" "${engine[@]}" ;;
    esac
done

cat "$out/not-run"
for machine in "${machines[@]}"; do
    if [ -n "$short" ]; then
        echo "not run on $machine: the shim and the engine, for --short was asked for"
        continue
    fi
    case $machine in
        i686) echo "not run on i686: the engine, and whatever compiles with Cranelift" ;;
        s390x) echo "not run on s390x: guests on several stacks, for which the tests use coroutines that do not exist there" ;;&
        *)
            echo "not run on $machine: $long; the compiler's own tests"
            echo "not run on $machine: scripts of the specification but $VMEXTERNREF_TEST_SCRIPTS"
            ;;
    esac
done
finish
