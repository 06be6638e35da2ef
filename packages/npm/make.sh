#!/bin/sh
# Makes the npm packages in $JOBSHIM_OUT/npm: jobshim, and for each machine whose programs are there
# @jobshim/linux-CPU. The variables are set by ./dev package. The same input gives the same bytes.
set -eu

here=$JOBSHIM_ROOT/packages/npm
out=$JOBSHIM_OUT/npm
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
mkdir -p "$out"
rm -f "$out"/*.tgz

# pack NAME: $stage/package as NAME-VERSION.tgz
pack() {
    LC_ALL=C tar --create --format=ustar --sort=name --mtime="@$SOURCE_DATE_EPOCH" \
        --owner=0 --group=0 --numeric-owner --mode='u=rwX,go=rX' --directory="$stage" package |
        gzip -9n >"$out/$1-$JOBSHIM_VERSION.tgz"
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
pack jobshim

# platform CPU MACHINE PROGRAMS. No `libc`, because the programs are static, and no script that runs
# on installation.
platform() {
    if [ -z "$3" ]; then
        echo "npm: no programs for $2: @jobshim/linux-$1 is not made" >&2
        return
    fi
    mkdir -p "$stage/package/bin" "$stage/package/licences"
    cp "$JOBSHIM_ROOT/LICENSE" "$stage/package"
    for licence in boost cli11 libmd llvm musl nlohmann-json; do
        cp "$JOBSHIM_ROOT/docs/licences/$licence.txt" "$stage/package/licences"
    done
    for program in jobshim jobctl; do
        cp "$3/$program" "$stage/package/bin"
        chmod 755 "$stage/package/bin/$program"
    done
    cat >"$stage/package/README.md" <<END
The programs of [jobshim](https://www.npmjs.com/package/jobshim) for Linux on $2. Install \`jobshim\`,
which depends on this package where it is needed. \`licences/\` has the licences of the libraries that
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
    pack "jobshim-linux-$1"
}

platform x64 x86_64 "${JOBSHIM_BIN_x86_64:-}"
platform arm64 aarch64 "${JOBSHIM_BIN_aarch64:-}"
