#!/bin/sh
# Makes a wheel for each machine whose programs are given. `./dev package` sets the environment.
set -eu
. "$JOBSHIM_ROOT/packages/lib.sh"

here=$JOBSHIM_ROOT/packages/python
out=$JOBSHIM_OUT/python
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
trap 'exit 1' HUP INT TERM

mkdir -p "$out"
for JOBSHIM_MACHINE in x86_64 aarch64; do
    programs=$(bin_of "$JOBSHIM_MACHINE") || continue
    project=$stage/$JOBSHIM_MACHINE
    mkdir -p "$project/bin" "$project/src/jobshim"
    cp "$here/pyproject.toml" "$here/hatch_build.py" "$here/README.md" "$project"
    cp "$here"/src/jobshim/*.py "$here/src/jobshim/py.typed" "$project/src/jobshim"
    install -m 755 "$programs/jobshim" "$programs/jobctl" "$project/bin"
    mkdir "$project/licences"
    cp "$JOBSHIM_ROOT/LICENSE" "$project/licences"
    for name in boost cli11 libmd llvm musl nlohmann-json zig; do
        cp "$JOBSHIM_ROOT/docs/licences/$name.txt" "$project/licences"
    done
    export JOBSHIM_MACHINE
    # Debian's hatchling belongs to Debian's Python, which need not be the first in PATH.
    (cd "$project" && /usr/bin/python3 -m hatchling build -t wheel -d "$out")
    chmod 644 "$out"/*"$JOBSHIM_MACHINE.whl"
done
