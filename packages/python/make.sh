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
    bin_of "$JOBSHIM_MACHINE" >/dev/null || continue
    project=$stage/$JOBSHIM_MACHINE
    mkdir -p "$project/bin" "$project/src/jobshim"
    cp "$here/pyproject.toml" "$here/hatch_build.py" "$here/README.md" "$project"
    cp "$here"/src/jobshim/*.py "$here/src/jobshim/py.typed" "$project/src/jobshim"
    install_programs "$JOBSHIM_MACHINE" "$stage/installed"
    cp "$stage/installed/bin/"* "$project/bin"
    mkdir "$project/licences"
    cp "$stage/installed/share/doc/jobshim/LICENSE" "$stage/installed/share/doc/jobshim/licences/"* \
        "$project/licences"
    rm -rf "$stage/installed"
    export JOBSHIM_MACHINE
    # Debian's hatchling belongs to Debian's Python, which need not be the first in PATH.
    (cd "$project" && /usr/bin/python3 -m hatchling build -t wheel -d "$out")
    chmod 644 "$out"/*"$JOBSHIM_MACHINE.whl"
done
