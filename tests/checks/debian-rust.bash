# Debian's Rust compiler, for the scripts that compile Rust's own library and source this file.
#
# rustup's compiler has no sources of the library unless they were added to it;
# Debian's compiler has them in a package.

. "$(dirname "${BASH_SOURCE[0]}")/install.bash"

# The oldest rustc that builds the workspace.
oldest_rust=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$(dirname "${BASH_SOURCE[0]}")/../../Cargo.toml")

# Whether the compiler is there, is new enough, and has the sources of its own library.
debian_rust_is_fit() {
    local version
    version=$(/usr/bin/rustc --version 2>/dev/null | cut -d ' ' -f 2) || return 1
    [ -d "/usr/src/rustc-$version" ] &&
        [ "$(printf '%s\n%s\n' "$version" "$oldest_rust" | sort -V | head -n 1)" = "$oldest_rust" ]
}

# Installs the packages $@, and Debian's compiler where it is missing or too old.
install_debian_rust() {
    debian_rust_is_fit || set -- "$@" rustc-web rust-web-src
    install_packages "$@"
    if ! debian_rust_is_fit; then
        echo "Debian's rustc-web is older than $oldest_rust, or differs from rust-web-src" >&2
        exit 1
    fi
}

# Cargo with Debian's compiler.
debian_cargo() {
    RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc cargo "$@"
}
