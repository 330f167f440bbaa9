#!/usr/bin/env bash
# Checks every interleaving of the registry's readers and writers with loom, within bounds.
set -euo pipefail
cd "$(dirname "$0")/../.."

. tests/checks/tally.bash

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/loom
export RUSTFLAGS="--cfg loom"
count_run "readers and writers" cargo test --quiet --locked -p vmexternref-core --test loom
finish
