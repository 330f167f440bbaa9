# The machines of the bare-metal hosts: their targets, how they are built, booted and measured.
#
# Sourced by `run.sh` and `sizes.sh`, which set `here` and `root`.

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
out=$CARGO_TARGET_DIR/bare-metal
unset RUSTFLAGS

. "$root/tests/checks/debian-rust.bash"
. "$root/tests/checks/tally.bash"

# Seconds that a machine may take to boot and run.
patience=180
# How kernels end QEMU if all went well.
well=33

target_of() {
    case $1 in
        x86_64) echo x86_64-unknown-none ;;
        aarch64 | aarch64-authenticated) echo aarch64-unknown-none ;;
        riscv64) echo riscv64gc-unknown-none-elf ;;
        thumbv7em) echo thumbv7em-none-eabihf ;;
        riscv32) echo riscv32imac-unknown-none-elf ;;
        *)
            echo "unknown host: $1" >&2
            exit 2
            ;;
    esac
}

# Boots the machine of the host $1 with the kernel $2.
boot() {
    local qemu=(-display none -serial stdio -monitor none -no-reboot)
    case $1 in
        x86_64)
            qemu=(qemu-system-x86_64 "${qemu[@]}" -m 32M -cpu max -device isa-debug-exit,iobase=0xf4,iosize=0x04)
            ;;
        aarch64)
            qemu=(qemu-system-aarch64 "${qemu[@]}" -m 32M -M virt -cpu cortex-a57 -semihosting-config enable=on,target=native)
            ;;
        aarch64-authenticated)
            qemu=(qemu-system-aarch64 "${qemu[@]}" -m 32M -M virt -cpu max -semihosting-config enable=on,target=native)
            ;;
        riscv64)
            qemu=(qemu-system-riscv64 "${qemu[@]}" -m 32M -M virt -bios none)
            ;;
        thumbv7em)
            qemu=(qemu-system-arm "${qemu[@]}" -M mps2-an386 -semihosting-config enable=on,target=native)
            ;;
        riscv32)
            qemu=(qemu-system-riscv32 "${qemu[@]}" -m 32M -M virt -bios none)
            ;;
    esac
    timeout "$patience" "${qemu[@]}" -kernel "$2" </dev/null
}

rustup_has_targets() { # host...
    local installed host
    installed=$(rustup target list --installed 2>/dev/null) || return 1
    for host in "$@"; do
        grep -qx "$(target_of "$host")" <<<"$installed" || return 1
    done
}

# Installs what the machine needs to build and boot the hosts $@, and sets `rust` to whose compiler serves.
prepare() {
    local missing=() machine
    for machine in x86_64:x86 aarch64:arm riscv64:misc; do
        command -v "qemu-system-${machine%:*}" >/dev/null || missing+=("qemu-system-${machine#*:}")
    done
    if rustup_has_targets "$@"; then
        rust=rustup
        install_packages "${missing[@]}"
    else
        rust=debian
        install_debian_rust "${missing[@]}"
    fi
}

# The compiler that serves, as it names itself.
compiler() {
    if [ $rust = rustup ]; then rustc --version; else /usr/bin/rustc --version; fi
}

# Builds the package $1 for the target $2, with more options of Cargo from $3 on.
build_kernel() {
    local flags=(build --quiet --locked -p "$1" --target "$2" "${@:3}")
    (
        cd "$here"
        if [ $rust = rustup ]; then
            cargo "${flags[@]}"
        else
            # Debian ships no rust-lld; rustup's serves.
            PATH=$PATH:$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin
            debian_cargo "${flags[@]}" -Zbuild-std=core,alloc
        fi
    )
}

# Bytes of the sections of the kernel $1 that have the names $2...
section_bytes() {
    local kernel=$1 name size total=0
    while read -r name size; do
        for wanted in "${@:2}"; do
            [ "$name" != "$wanted" ] || total=$((total + 16#$size))
        done
    done < <(readelf -SW "$kernel" | sed -n 's/^ *\[ *[0-9]*\] \(\.[^ ]*\) *[^ ]* *[^ ]* *[^ ]* *\([0-9a-f]*\) .*/\1 \2/p')
    echo $total
}

# What the kernel $1 takes of a flash: code, constants, and the statics' first values.
flash_of() {
    section_bytes "$1" .text .rodata .data
}

# --- Sizes on record --------------------------------------------------------------------------------------------------

size_record=$here/sizes.txt
slack=5 # percent

# Counts whether $2, which has $3 bytes in the host $1, is what the record says. RECORD=1 writes the record, which belongs
# to one compiler, and is no measure for others.
check_size() {
    local host=$1 what=$2 bytes=$3 title before
    title="# Bytes, by $(compiler)"
    echo "$host: $bytes bytes of $what"
    if [ "${RECORD-}" = 1 ]; then
        {
            echo "$title"
            { grep -v "^#\|^$host $what " "$size_record" || true; echo "$host $what $bytes"; } | sort
        } >"$size_record.new"
        mv "$size_record.new" "$size_record"
        return
    fi
    if ! head -n 1 "$size_record" | grep -qxF "$title"; then
        echo "not compared: $(head -n 1 "$size_record")"
        return
    fi
    before=$(sed -n "s/^$host $what //p" "$size_record")
    if [ -z "$before" ]; then
        count no "$host: the $what is not on record, run with RECORD=1"
    elif [ $((100 * bytes)) -gt $(((100 + slack) * before)) ]; then
        count no "$host: $bytes bytes of $what, more than $slack % above the $before on record"
    elif [ $((100 * bytes)) -lt $(((100 - slack) * before)) ]; then
        count no "$host: $bytes bytes of $what, more than $slack % below the $before on record: run with RECORD=1"
    else
        count yes
    fi
}
