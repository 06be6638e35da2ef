#!/bin/sh
# A Debian package for each machine, by CPack: cpack.cmake says what is in it.
set -eu
. "$JOBSHIM_ROOT/packages/lib.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022
for machine in x86_64 aarch64; do
    bin=$(bin_of "$machine") || continue
    cpack --config "$bin/../CPackConfig.cmake" -B "$work" >"$work/log" 2>&1 || {
        cat "$work/log" >&2
        exit 1
    }
    cp "$work"/*.deb "$JOBSHIM_OUT"
    rm -rf "${work:?}"/*
done
