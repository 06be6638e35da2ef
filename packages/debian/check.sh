#!/bin/sh
# Installs the Debian package on bare systems without network, by the README's own line; wraps a job,
# kills it, asks; removes the package, and looks for what is left. Needs root and debootstrap.
set -eu
. "$JOBSHIM_ROOT/packages/lib.sh"

package=$JOBSHIM_OUT/jobshim_${JOBSHIM_VERSION}_$(dpkg --print-architecture).deb
status=0
lintian --fail-on error,warning --allow-root "$JOBSHIM_OUT"/jobshim_*.deb || status=1

# What a package may have changed: not the package manager's own notes.
files_of() {
    (cd "$1" && find . -xdev \( -path ./var/lib/dpkg -o -path ./var/log -o -path ./var/cache -o -path ./root \
        -o -path ./var/lib/apt -o -path ./package \) -prune -o -printf '%p %y %s %m\n' | LC_ALL=C sort)
}

for release in bookworm trixie noble; do
    bare=$(mktemp -d)
    if ! make_bare "$release" "$bare"; then
        rm -rf --one-file-system "$bare"
        continue
    fi
    files_of "$bare" >"$bare/root/before"
    mkdir "$bare/package"
    cp "$package" "$bare/package"
    if in_bare "$bare" sh -c "set -eu
        cd /package
        $(install_line 'apt install' | sed "s/_amd64/_$(dpkg --print-architecture)/")
        cd /root
        $(life_of_a_job)
        test -s /usr/share/man/man1/jobshim.1.gz || test ! -e /usr/share/man
        apt-get -qq -y purge jobshim" >"$bare/root/log" 2>&1 &&
        files_of "$bare" >"$bare/root/after" && diff "$bare/root/before" "$bare/root/after" >&2; then
        say "deb on $release: installed, used and removed without a trace"
    else
        cat "$bare/root/log" >&2
        say "deb on $release: FAILED"
        status=1
    fi
    rm -rf --one-file-system "$bare"
done
exit "$status"
