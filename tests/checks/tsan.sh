#!/usr/bin/env bash
# Runs what has several threads under ThreadSanitizer: registrations beside collections, contexts on threads, and a
# store that moves from one thread to another.
#
# The sanitizer has to see the synchronisation inside of `std`, which is therefore
# compiled from Debian's copy of its sources.
set -euo pipefail
cd "$(dirname "$0")/../.."

. tests/checks/debian-rust.bash
. tests/checks/tally.bash
install_debian_rust

host=$(rustc -vV | sed -n 's/^host: //p')
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/tsan
# Debian ships no runtime of the sanitizer; rustup's serves.
runtime=$(echo "$(rustc --print target-libdir)"/librustc-*_rt.tsan.a)
export RUSTFLAGS="-Zsanitizer=thread -Zexternal-clangrt -Zpre-link-arg=-Wl,--whole-archive,$runtime,--no-whole-archive"
# A program goes astray after a race, and may never end.
export TSAN_OPTIONS=halt_on_error=1

sanitized() { # cargo's command, and its arguments
    debian_cargo "$1" --quiet --locked -Zbuild-std --target "$host" "${@:2}"
}

count_run "registrations beside collections" sanitized test -p vmexternref-core --test registrations
count_run "a store that moves" sanitized run -p vmexternref --no-default-features --example threads
finish
