#!/usr/bin/env bash
# Boots a kernel on each architecture under QEMU, runs guests in it, and compares what they say with what the same
# guests say on this machine.
#
# usage: run.sh [x86_64] [aarch64] [aarch64-authenticated] [riscv64]     (all of them if none is named)
#
# BREAK=stack-map or BREAK=lost-root puts a fault into the kernels, which then have to fail.
#
# Needs rustup's Rust, and root on Debian 12 for what is missing: QEMU, and where rustup has no bare-metal targets,
# Debian's rustc-web and its library sources.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
out=$CARGO_TARGET_DIR/bare-metal
fault=${BREAK:-}
unset BREAK RUSTFLAGS

. "$root/tests/checks/debian-rust.bash"

# Seconds that a machine may take to boot and run.
patience=180
# How kernels end QEMU if all went well.
well=33

hosts=("$@")
[ ${#hosts[@]} -gt 0 ] || hosts=(x86_64 aarch64 aarch64-authenticated riscv64)

target_of() {
    case $1 in
        x86_64) echo x86_64-unknown-none ;;
        aarch64 | aarch64-authenticated) echo aarch64-unknown-none ;;
        riscv64) echo riscv64gc-unknown-none-elf ;;
        *)
            echo "unknown host: $1" >&2
            exit 2
            ;;
    esac
}

package_of() {
    case $1 in
        x86_64) echo bare-metal-x86-64 ;;
        *) echo "bare-metal-${1%%-*}" ;;
    esac
}

boot() {
    local qemu=(-display none -serial stdio -monitor none -no-reboot -m 32M)
    case $1 in
        x86_64)
            qemu=(qemu-system-x86_64 "${qemu[@]}" -cpu max -device isa-debug-exit,iobase=0xf4,iosize=0x04)
            ;;
        aarch64)
            qemu=(qemu-system-aarch64 "${qemu[@]}" -M virt -cpu cortex-a57 -semihosting-config enable=on,target=native)
            ;;
        aarch64-authenticated)
            qemu=(qemu-system-aarch64 "${qemu[@]}" -M virt -cpu max -semihosting-config enable=on,target=native)
            ;;
        riscv64)
            qemu=(qemu-system-riscv64 "${qemu[@]}" -M virt -bios none)
            ;;
    esac
    timeout "$patience" "${qemu[@]}" -kernel "$2" </dev/null
}

# --- What the machine needs -------------------------------------------------------------------------------------------

rustup_has_targets() {
    local installed host
    installed=$(rustup target list --installed 2>/dev/null) || return 1
    for host in "${hosts[@]}"; do
        grep -qx "$(target_of "$host")" <<<"$installed" || return 1
    done
}

missing=()
for machine in x86_64:x86 aarch64:arm riscv64:misc; do
    command -v "qemu-system-${machine%:*}" >/dev/null || missing+=("qemu-system-${machine#*:}")
done
if rustup_has_targets; then
    rust=rustup
    install_packages "${missing[@]}"
else
    rust=debian
    install_debian_rust "${missing[@]}"
fi

# --- Building ---------------------------------------------------------------------------------------------------------

# Builds the package $1 for the target $2 with the guests in $3 and the fault $4.
build_kernel() {
    local flags=(build --quiet --release --locked -p "$1" --target "$2")
    (
        cd "$here"
        export GUESTS=$3
        [ -z "$4" ] || export BREAK=$4
        if [ $rust = rustup ]; then
            cargo "${flags[@]}"
        else
            # Debian ships no rust-lld; rustup's serves.
            PATH=$PATH:$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin
            debian_cargo "${flags[@]}" -Zbuild-std=core,alloc
        fi
    )
}

# Compiles every guest into the folder $1, with the compiler's options from $2 on.
compile_guests() {
    local folder=$1 guest object
    shift
    mkdir -p "$folder"
    for guest in "$root"/tests/programs/*.wat "$here"/guests/*.wat; do
        object=$folder/$(basename "$guest" .wat).o
        "$engine" compile "$guest" -o "$object.new" "$@"
        # An object that did not change keeps its time, so that nothing is built anew.
        if cmp -s "$object.new" "$object"; then rm "$object.new"; else mv "$object.new" "$object"; fi
    done
}

echo "building the compiler and this machine's host"
(cd "$root" && cargo build --quiet --release --locked -p vmexternref-engine)
engine=$CARGO_TARGET_DIR/release/vmexternref-engine
compile_guests "$out/development/guests"
(cd "$here" && GUESTS=$out/development/guests cargo build --quiet --release --locked -p bare-metal-development)

# --- Running ----------------------------------------------------------------------------------------------------------

passed=0
failed=0

# Counts one outcome: $1 is whether it is good, the rest is what it is.
count() {
    if [ "$1" = yes ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED ${*:2}"
    fi
}

# Compares what the host $1, which ended with the code $2, said in the file $3, with the reference.
judge() {
    local line good before=$failed
    while read -r line; do
        good=no
        if [[ $line == ok\ * ]] && grep -qxF -e "$line" "$3"; then good=yes; fi
        count $good "$1: expected \"$line\""
    done < <(grep -v '^measured ' "$reference")
    if [ "$2" = $well ]; then good=yes; else good=no; fi
    count $good "$1: ended with code $2"
    if [ "$1" = aarch64-authenticated ]; then
        if [ "$(measured authentication "$3")" = 1 ]; then good=yes; else good=no; fi
        count $good "$1: the processor does not sign return addresses"
    fi
    if [ $failed -gt "$before" ]; then
        echo "--- what $1 said"
        cat "$3"
        echo "---"
    fi
}

# The number that the file $2 gives for $1; 0 if its host did not get that far.
measured() {
    local number
    number=$(sed -n "s/^measured $1: \([0-9]*\) .*/\1/p" "$2")
    echo "${number:-0}"
}

# One line of the table in the README: name, code, heap.
measurements() {
    local name=$1 kernel=$2 said=$3 text
    text=$((16#$(readelf -SW "$kernel" | awk '{ for (i = 1; i < NF; i++) if ($i == ".text") { print $(i + 4); break } }')))
    printf '%-24s %4d KiB of code, %4d KiB of guests, %5d KiB of heap at most\n' "$name" \
        $(((text + 1023) / 1024)) $(($(measured guests "$said") / 1024)) $((($(measured heap "$said") + 1023) / 1024))
}

reference=$out/development/said
echo "running on this machine"
code=0
"$CARGO_TARGET_DIR/release/bare-metal-development" >"$reference" || code=$?
[ $code -ne 0 ] || code=$well
judge development $code "$reference"

sizes=()
for host in "${hosts[@]}"; do
    target=$(target_of "$host")
    package=$(package_of "$host")
    guests=$out/$host/guests
    options=(--target "$target")
    [ "$host" != aarch64-authenticated ] || options+=(--pointer-authentication)
    echo "building $host"
    compile_guests "$guests" "${options[@]}"
    build_kernel "$package" "$target" "$guests" "$fault"
    cp "$CARGO_TARGET_DIR/$target/release/$package" "$out/$host/kernel"
    echo "booting $host"
    code=0
    boot "$host" "$out/$host/kernel" >"$out/$host/said" || code=$?
    # Some consoles end lines with a carriage return.
    sed -i 's/\r$//' "$out/$host/said"
    judge "$host" $code "$out/$host/said"
    sizes+=("$(measurements "$host" "$out/$host/kernel" "$out/$host/said")")
done

printf '%s\n' "${sizes[@]}"
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
