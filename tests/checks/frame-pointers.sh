#!/usr/bin/env bash
# Builds the frame-pointer crate with and without frame pointers, and asks it which it is.
set -euo pipefail
cd "$(dirname "$0")/../.."

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/frame-pointers
. tests/checks/tally.bash
for expected in true false; do
    # Without the flag, optimised code of x86-64 and AArch64 has no frame pointers under Linux.
    flags=
    [ $expected = false ] || flags="-C force-frame-pointers=yes"
    answer=$(RUSTFLAGS=$flags cargo run --quiet --release --locked -p vmexternref-frame-pointer --example host_frame_pointers)
    count_run "built with \"$flags\", the probe says $answer" [ "$answer" = "$expected" ]
done
finish
