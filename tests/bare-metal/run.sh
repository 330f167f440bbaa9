#!/usr/bin/env bash
# Boots a kernel on each architecture under QEMU, runs guests in it, and compares what they say with what the same
# guests say on this machine.
#
# usage: run.sh [x86_64] [aarch64] [aarch64-authenticated] [riscv64] [thumbv7em] [riscv32]     (all if none is named)
#
# BREAK=stack-map or BREAK=lost-root puts a fault into the kernels, which then have to fail, and so does
# BREAK=stack-overflow on microcontrollers, whose stacks end at a guard. RECORD=1 puts on record, in
# sizes.txt, what the microcontrollers take of flash and RAM.
#
# Needs rustup's Rust, and root on Debian 12 for what is missing: QEMU, and where rustup has no bare-metal targets,
# Debian's rustc-web and its library sources.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
fault=${BREAK:-}
unset BREAK

. "$here/machines.bash"

hosts=("$@")
[ ${#hosts[@]} -gt 0 ] || hosts=(x86_64 aarch64 aarch64-authenticated riscv64 thumbv7em riscv32)

is_microcontroller() {
    [ "$1" = thumbv7em ] || [ "$1" = riscv32 ]
}

package_of() {
    case $1 in
        x86_64) echo bare-metal-x86-64 ;;
        thumbv7em | riscv32) echo bare-metal-microcontroller ;;
        *) echo "bare-metal-${1%%-*}" ;;
    esac
}

# Cargo's profile for the host $1.
profile_of() {
    if is_microcontroller "$1"; then echo microcontroller; else echo release; fi
}

# The target of the guests of the host $1.
guests_of() {
    if is_microcontroller "$1"; then echo pulley32; else target_of "$1"; fi
}

# The lines of the file $2 that the host $1 has to say, too.
expected_of() {
    # A microcontroller has no memory for thousands of frames.
    if is_microcontroller "$1"; then
        grep -v '^measured \|^ok thousands_of_frames' "$2"
    else
        grep -v '^measured ' "$2"
    fi
}

prepare "${hosts[@]}"

# Compiles the guests of the host $1 into the folder $2, with the compiler's options from $3 on.
compile_guests() {
    local host=$1 folder=$2 guest object
    shift 2
    mkdir -p "$folder"
    for guest in "$root"/tests/programs/*.wat "$here"/guests/*.wat; do
        object=$folder/$(basename "$guest" .wat).o
        "$engine" compile "$guest" -o "$object.new" "$@"
        # A loader needs no symbols. Bytecode is for no machine, so `strip` is told the format.
        ! is_microcontroller "$host" || strip -F elf32-little "$object.new"
        # An object that did not change keeps its time, so that nothing is built anew.
        if cmp -s "$object.new" "$object"; then rm "$object.new"; else mv "$object.new" "$object"; fi
    done
}

echo "building the compiler and this machine's host"
(cd "$root" && cargo build --quiet --release --locked -p vmexternref-engine)
engine=$CARGO_TARGET_DIR/release/vmexternref-engine
compile_guests development "$out/development/guests"
(cd "$here" && GUESTS=$out/development/guests cargo build --quiet --release --locked -p bare-metal-development)

# --- Running ----------------------------------------------------------------------------------------------------------

# Compares what the host $1, which ended with the code $2, said in the file $3, with the reference.
judge() {
    local line good before=$failed
    while read -r line; do
        good=no
        if [[ $line == ok\ * ]] && grep -qxF -e "$line" "$3"; then good=yes; fi
        count $good "$1: expected \"$line\""
    done < <(expected_of "$1" "$reference")
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
    text=$(section_bytes "$kernel" .text)
    printf '%-24s %4d KiB of code, %4d KiB of guests, %5d KiB of heap at most\n' "$name" \
        $(((text + 1023) / 1024)) $(($(measured guests "$said") / 1024)) $((($(measured heap "$said") + 1023) / 1024))
}

# Compares with the record what the microcontroller $1 takes, which has the kernel $2 and said the file $3.
check_sizes() {
    local statics
    statics=$(section_bytes "$2" .stack .data .bss)
    check_size "$1" flash "$(flash_of "$2")"
    check_size "$1" RAM $((statics + $(measured ram "$3")))
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
    profile=$(profile_of "$host")
    guests=$out/$host/guests
    options=(--target "$(guests_of "$host")")
    [ "$host" != aarch64-authenticated ] || options+=(--pointer-authentication)
    echo "building $host"
    compile_guests "$host" "$guests" "${options[@]}"
    GUESTS=$guests BREAK=$fault build_kernel "$package" "$target" --profile "$profile"
    cp "$CARGO_TARGET_DIR/$target/$profile/$package" "$out/$host/kernel"
    echo "booting $host"
    code=0
    boot "$host" "$out/$host/kernel" >"$out/$host/said" || code=$?
    # Some consoles end lines with a carriage return.
    sed -i 's/\r$//' "$out/$host/said"
    judge "$host" $code "$out/$host/said"
    if [ -z "$fault" ] && is_microcontroller "$host"; then
        check_sizes "$host" "$out/$host/kernel" "$out/$host/said"
    fi
    sizes+=("$(measurements "$host" "$out/$host/kernel" "$out/$host/said")")
done

printf '%s\n' "${sizes[@]}"
finish
