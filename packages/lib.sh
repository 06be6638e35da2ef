# What the scripts that make packages share; they source it.
# shellcheck shell=sh

say() {
    printf 'packages: %s\n' "$*" >&2
}

# set_up_for CHECKOUT: sets and exports
#   JOBSHIM_ROOT       the checkout
#   JOBSHIM_OUT        where the packages go
#   JOBSHIM_VERSION    the version, which CMakeLists.txt has
#   SOURCE_DATE_EPOCH  the time of the commit: all files that are made have it, so that it does not
#                      matter when they are made
set_up_for() {
    JOBSHIM_ROOT=$1
    JOBSHIM_OUT=$1/build/package
    JOBSHIM_VERSION=$(sed -n 's/^project(.* VERSION \([0-9.]*\).*/\1/p' "$1/CMakeLists.txt")
    if [ -z "${SOURCE_DATE_EPOCH-}" ]; then
        SOURCE_DATE_EPOCH=$(git -C "$1" log -1 --format=%ct) || {
            say 'without git, SOURCE_DATE_EPOCH has to be set'
            exit 1
        }
    fi
    export JOBSHIM_ROOT JOBSHIM_OUT JOBSHIM_VERSION SOURCE_DATE_EPOCH
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

# For packages/*/check.sh.

# install_line START: the line of the README that begins so, as root types it.
install_line() {
    sed -n "s/^    \\(sudo \\)\\{0,1\\}\\($1.*\\)/\\2/p" "$JOBSHIM_ROOT/README.md" | grep . || {
        say "no line of the README begins with: $1"
        exit 1
    }
}

# The commands that a package must be good for: a job is killed, and its record says so.
life_of_a_job() {
    cat <<'COMMANDS'
jobshim --version
ended=0
jobshim --job job.json -- sh -c 'kill -9 $$' || ended=$?
test "$ended" -eq 137
jobctl status job.json | grep -F 'failed  Killed by SIGKILL'
COMMANDS
}

# make_bare RELEASE FOLDER [PACKAGE]: a system with nothing but its base, and PACKAGE. Fails, and says
# why, if it cannot be had.
make_bare() {
    if [ "$(id -u)" -ne 0 ] || ! command -v debootstrap >/dev/null; then
        say "test skipped: $1 needs root and debootstrap"
        return 1
    fi
    # Where apt takes its Debian from; else, and for Ubuntu, debootstrap knows one itself.
    mirror=$(apt-get indextargets --format "\$(ORIGIN) \$(LABEL) \$(REPO_URI)" 'Created-By: Packages' |
        sed -n 's/^Debian Debian //p' | head -n 1)
    case "$1" in noble) mirror= ;; esac
    # shellcheck disable=SC2086 # no word at all, if there is no mirror
    timeout 600 debootstrap --variant=minbase ${3+--include="$3"} "$1" "$2" $mirror >"$2.log" 2>&1 </dev/null || {
        say "test skipped: $1 cannot be had: $(tail -n 1 "$2.log")"
        rm -f "$2.log"
        return 1
    }
    rm -f "$2.log"
}

# in_bare FOLDER COMMAND...: runs it there, as root, with no network. No process or mount outlives it.
in_bare() {
    # shellcheck disable=SC2016 # the inner shell's words
    unshare --mount --net --pid --fork --propagation private sh -c '
        set -eu
        bare=$1
        shift
        mount -t proc proc "$bare/proc"
        mount --rbind /dev "$bare/dev"
        exec chroot "$bare" env -i HOME=/root TERM=dumb DEBIAN_FRONTEND=noninteractive \
            PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"' bare "$@" </dev/null
}
