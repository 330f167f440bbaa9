#!/usr/bin/env bash
# Runs everything at random in one process, whose memory and handles have to stay as they are:
# cases of the models of library and engine, damaged inputs of the loaders, and the programs.
#
#   soak.sh                 for half a minute
#   soak.sh MINUTES [SEED]  for longer, or the same again
set -euo pipefail
cd "$(dirname "$0")/../.."

# Each thread that runs guests would get a heap of its own, which the C library keeps.
export MALLOC_ARENA_MAX=1
seconds=$((${1:-0} * 60))
cargo build --quiet --locked -p vmexternref-soak --example soak
exec "${CARGO_TARGET_DIR:-target}/debug/examples/soak" $((seconds > 0 ? seconds : 30)) "${@:2}"
