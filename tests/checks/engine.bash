# Builds the engine as users have it, for the scripts that source this file.

# The engine: the one that ENGINE names, if that is set.
engine=${ENGINE-}
if [ -z "$engine" ]; then
    cargo build --quiet --release --locked -p vmexternref-engine
    engine=${CARGO_TARGET_DIR:-target}/release/vmexternref-engine
fi

# A folder for what a script writes, which goes when the script ends.
files=$(mktemp -d)
trap 'rm -r "$files"' EXIT
