#!/bin/sh
# An archive for each machine, to be unpacked into /usr/local or anywhere.
set -eu
. "$JOBSHIM_ROOT/packages/lib.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for machine in x86_64 aarch64; do
    bin_of "$machine" >/dev/null || continue
    name=jobshim-$JOBSHIM_VERSION-linux-$machine
    install_programs "$machine" "$work/$name"
    pack "$work" "$name" | gzip -9n >"$JOBSHIM_OUT/$name.tar.gz"
done
