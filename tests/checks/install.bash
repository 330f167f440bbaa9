# Installs Debian's packages for the scripts that need some, which source this file.

# How a script ends that may not install what is missing.
not_installed=3

# Installs the packages $@, and says so before. With NO_INSTALL=1 it names them, and ends the script.
install_packages() {
    [ $# -gt 0 ] || return 0
    if [ "${NO_INSTALL-}" = 1 ]; then
        echo "missing, and not installed because of NO_INSTALL=1: $*" >&2
        exit $not_installed
    fi
    echo "installing $*"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}
