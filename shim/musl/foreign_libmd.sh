#!/bin/sh
# foreign_libmd.sh DEBIAN-ARCHITECTURE MACHINE: unpacks the library that we link into
# build/foreign/MACHINE, for it cannot be installed beside this machine's own.
set -eu
architecture=$1
machine=$2
foreign=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)/build/foreign/$machine
[ ! -e "$foreign/usr/lib/$machine-linux-gnu/libmd.a" ] || exit 0

echo "unpacking libmd for $architecture into build/foreign" >&2
rm -rf "$foreign"
mkdir -p "$foreign/apt/lists/partial" "$foreign/apt/archives/partial"
cd "$foreign/apt"
touch status
# Lists of its own: nothing of the system's apt changes, and no rights are needed.
set -- -qq -o "APT::Architecture=$architecture" -o "APT::Architectures=$architecture" \
    -o "Dir::State=$PWD" -o "Dir::State::status=$PWD/status" -o "Dir::Cache=$PWD" \
    -o "APT::Sandbox::User=$(id -un)"
apt-get "$@" update >&2
apt-get "$@" download libmd-dev >&2
dpkg-deb -x libmd-dev_*.deb ..
rm -rf "$foreign/apt"
