#!/bin/sh
# make.sh [KIND...]: makes packages of the programs that `./dev package` has built, in build/package.
# Each kind has a script of its own, which is given the variables of set_up_for in lib.sh, and
# JOBSHIM_BIN_x86_64 and JOBSHIM_BIN_aarch64, the folders of the static programs. If one of these is not
# set, nothing is made for that machine.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
. "$root/packages/lib.sh"
set_up_for "$root"

[ "${*:-all}" != all ] || set -- tar deb npm wheel image claude
mkdir -p "$JOBSHIM_OUT"
for kind in "$@"; do
    case "$kind" in
    tar | npm | image | claude) folder=$kind ;;
    deb) folder=debian ;;
    wheel) folder=python ;;
    *)
        say "no such package: $kind (known: all, tar, deb, npm, wheel, image, claude)"
        exit 1
        ;;
    esac
    say "making $kind"
    "$root/packages/$folder/make.sh"
done

cd "$JOBSHIM_OUT"
rm -f SHA256SUMS
find . -type f | sed 's,^\./,,' | LC_ALL=C sort >"$JOBSHIM_OUT.files"
xargs -d '\n' sha256sum <"$JOBSHIM_OUT.files" >"$JOBSHIM_OUT.sums"
rm "$JOBSHIM_OUT.files"
mv "$JOBSHIM_OUT.sums" SHA256SUMS
say 'build/package now has:'
find . -maxdepth 1 -mindepth 1 | sed 's,^\./,  ,' | LC_ALL=C sort >&2
