#!/bin/sh
# Makes the npm packages in $JOBSHIM_OUT/npm: jobshim, and for each machine whose programs are there
# @jobshim/linux-CPU. The variables are set by ./dev package. The same input gives the same bytes.
set -eu
. "$JOBSHIM_ROOT/packages/lib.sh"

here=$JOBSHIM_ROOT/packages/npm
out=$JOBSHIM_OUT/npm
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
mkdir -p "$out"
rm -f "$out"/*.tgz

# finish NAME: what is staged becomes NAME-VERSION.tgz.
finish() {
    pack "$stage" package | gzip -9n >"$out/$1-$JOBSHIM_VERSION.tgz"
    rm -rf "$stage/package"
}

mkdir -p "$stage/package/bin"
for file in README.md index.cjs index.d.cts index.d.mts index.mjs record.d.ts; do
    cp "$here/jobshim/$file" "$stage/package"
done
cp "$JOBSHIM_ROOT/LICENSE" "$stage/package"
sed "s/@VERSION@/$JOBSHIM_VERSION/" "$here/jobshim/package.json" >"$stage/package/package.json"
for program in jobshim jobctl; do
    cp "$here/jobshim/bin/jobshim" "$stage/package/bin/$program"
    chmod 755 "$stage/package/bin/$program"
done
finish jobshim

# platform CPU MACHINE. No `libc`, because the programs are static, and no script that runs on
# installation.
platform() {
    bin_of "$2" >/dev/null || return 0
    install_programs "$2" "$stage/installed"
    mkdir "$stage/package"
    cp -R "$stage/installed/bin" "$stage/installed/share/doc/jobshim/." "$stage/package"
    rm -rf "$stage/installed"
    cat >"$stage/package/README.md" <<END
The programs of jobshim for Linux on $2. Install \`jobshim\`, which depends on this package where it is
needed. \`licences/\` has the licences of the libraries that
the programs contain.
END
    cat >"$stage/package/package.json" <<END
{
  "name": "@jobshim/linux-$1",
  "version": "$JOBSHIM_VERSION",
  "description": "The programs of jobshim for Linux on $2",
  "license": "MIT",
  "os": ["linux"],
  "cpu": ["$1"],
  "preferUnplugged": true
}
END
    finish "jobshim-linux-$1"
}

platform x64 x86_64
platform arm64 aarch64
