#!/bin/sh
# Unpacks the archive on a bare system, by the README's own line; wraps a job, kills it, asks.
set -eu
. "$JOBSHIM_ROOT/packages/lib.sh"

bare=$(mktemp -d)
trap 'rm -rf --one-file-system "$bare"' EXIT
make_bare bookworm "$bare" || exit 0
cp "$JOBSHIM_OUT/jobshim-$JOBSHIM_VERSION-linux-$(uname -m).tar.gz" "$bare/root"
if in_bare "$bare" sh -c "set -eu
    cd /root
    $(install_line 'tar -x' | sed "s/x86_64/$(uname -m)/")
    $(life_of_a_job)
    test -s /usr/local/share/man/man1/jobctl.1" >"$bare/root/log" 2>&1; then
    say 'tar on bookworm: unpacked and used'
else
    cat "$bare/root/log" >&2
    say 'tar on bookworm: FAILED'
    exit 1
fi
