# What the scripts that make packages share; they source it.
# shellcheck shell=sh

say() {
    printf 'packages: %s\n' "$*" >&2
}

# bin_of MACHINE: the folder that has its programs. Fails, and says why, if they were not built.
bin_of() {
    case "$1" in
    x86_64) bin=${JOBSHIM_BIN_x86_64-} ;;
    aarch64) bin=${JOBSHIM_BIN_aarch64-} ;;
    esac
    if [ -z "$bin" ]; then
        say "the programs were not built for $1, so its package is left out"
        return 1
    fi
    printf '%s\n' "$bin"
}

# pack FOLDER NAME...: a tar on stdout. The same files give the same bytes, whoever packs them and when.
pack() (
    cd "$1" || exit
    shift
    LC_ALL=C tar --format=ustar --sort=name --owner=0 --group=0 --numeric-owner \
        --mode=u=rwX,go=rX --mtime="@$SOURCE_DATE_EPOCH" -cf - "$@"
)

# install_programs MACHINE PREFIX: the programs, with their manual pages and so on.
install_programs() {
    cmake --install "$(bin_of "$1")/.." --component programs --prefix "$2" >/dev/null
}
