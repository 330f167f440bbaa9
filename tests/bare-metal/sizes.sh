#!/usr/bin/env bash
# Measures what the core and a walker alone take of a microcontroller's flash, and shows that they work there.
#
# usage: sizes.sh     (RECORD=1 puts the sizes on record, in sizes.txt)
#
# It also shows that logging costs nothing where `log` is limited to `off` at compile time: with a logger that would format
# every line, the library's functions are then not larger than where no logger is ever installed, and hold no message.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
. "$here/machines.bash"

package=bare-metal-smallest

# Builds the smallest host for the host $1 with the features $2, as the file $3.
build_smallest() {
    build_kernel $package "$(target_of "$1")" --release --features "$2"
    cp "$CARGO_TARGET_DIR/$(target_of "$1")/release/$package" "$3"
}

# Bytes of the library's functions in the kernel $1.
library_bytes() {
    local size total=0
    while read -r size; do total=$((total + 16#$size)); done < <(nm -C --size-sort "$1" | grep vmexternref_core | cut -d ' ' -f 1)
    echo $total
}

# Whether the kernel $1 holds messages of the library.
has_messages() {
    grep -qF 'externref gc: ' "$1"
}

hosts=(thumbv7em riscv32)
prepare "${hosts[@]}"
for host in "${hosts[@]}"; do
    folder=$out/$host/smallest
    mkdir -p "$folder"
    build_smallest "$host" "" "$folder/kernel"
    code=0
    boot "$host" "$folder/kernel" || code=$?
    if [ $code = $well ]; then good=yes; else good=no; fi
    count $good "$host: the smallest host ended with code $code"
    check_size "smallest-$host" flash "$(flash_of "$folder/kernel")"
    build_smallest "$host" logger "$folder/logger"
    build_smallest "$host" logger,log-off "$folder/off"
    none=$(library_bytes "$folder/kernel") off=$(library_bytes "$folder/off") logged=$(library_bytes "$folder/logger")
    echo "$host: $none bytes of the library, $off with logging off, $logged with a logger"
    if [ "$off" -le "$none" ] && ! has_messages "$folder/off"; then good=yes; else good=no; fi
    count $good "$host: logging takes room though it is off"
    if [ "$logged" -gt "$none" ] && has_messages "$folder/logger"; then good=yes; else good=no; fi
    count $good "$host: a logger takes no room, so that the comparison shows nothing"
done
finish
