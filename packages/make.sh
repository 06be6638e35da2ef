#!/bin/sh
# make.sh [KIND...]: makes packages of the programs that `./dev package` has built, in build/package.
# Each kind has a script of its own, to which this gives
#   JOBSHIM_ROOT       the checkout
#   JOBSHIM_OUT        where the packages go
#   JOBSHIM_VERSION    the version, which CMakeLists.txt has
#   SOURCE_DATE_EPOCH  the time of the commit: all files that are made have it, so that it does not
#                      matter when they are made
# and what it is given itself: JOBSHIM_BIN_x86_64 and JOBSHIM_BIN_aarch64, the folders of the static
# programs. If one is not set, nothing is made for that machine.
set -eu
JOBSHIM_ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
. "$JOBSHIM_ROOT/packages/lib.sh"
JOBSHIM_OUT=$JOBSHIM_ROOT/build/package
JOBSHIM_VERSION=$(sed -n 's/^project(.* VERSION \([0-9.]*\).*/\1/p' "$JOBSHIM_ROOT/CMakeLists.txt")
if [ -z "${SOURCE_DATE_EPOCH-}" ]; then
    SOURCE_DATE_EPOCH=$(git -C "$JOBSHIM_ROOT" log -1 --format=%ct) || {
        say 'without git, SOURCE_DATE_EPOCH has to be set'
        exit 1
    }
fi
export JOBSHIM_ROOT JOBSHIM_OUT JOBSHIM_VERSION SOURCE_DATE_EPOCH

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
    "$JOBSHIM_ROOT/packages/$folder/make.sh"
done

cd "$JOBSHIM_OUT"
rm -f SHA256SUMS
find . -type f | sed 's,^\./,,' | LC_ALL=C sort >"$JOBSHIM_OUT.files"
xargs -d '\n' sha256sum <"$JOBSHIM_OUT.files" >"$JOBSHIM_OUT.sums"
rm "$JOBSHIM_OUT.files"
mv "$JOBSHIM_OUT.sums" SHA256SUMS
say 'build/package now has:'
find . -maxdepth 1 -mindepth 1 | sed 's,^\./,  ,' | LC_ALL=C sort >&2
