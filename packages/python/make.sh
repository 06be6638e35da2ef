#!/bin/sh
# Makes a wheel for each machine whose programs are given. `./dev package` sets the environment.
set -eu

here=$JOBSHIM_ROOT/packages/python
out=$JOBSHIM_OUT/python
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
trap 'exit 1' HUP INT TERM

mkdir -p "$out"
made=
for JOBSHIM_MACHINE in x86_64 aarch64; do
    case $JOBSHIM_MACHINE in
    x86_64) programs=${JOBSHIM_BIN_x86_64-} ;;
    aarch64) programs=${JOBSHIM_BIN_aarch64-} ;;
    esac
    if [ -z "$programs" ]; then
        echo "packages/python: no wheel for $JOBSHIM_MACHINE: JOBSHIM_BIN_$JOBSHIM_MACHINE is not set" >&2
        continue
    fi
    project=$stage/$JOBSHIM_MACHINE
    mkdir -p "$project/bin" "$project/src/jobshim"
    cp "$here/pyproject.toml" "$here/hatch_build.py" "$here/README.md" "$project"
    cp "$here"/src/jobshim/*.py "$here/src/jobshim/py.typed" "$project/src/jobshim"
    install -m 755 "$programs/jobshim" "$programs/jobctl" "$project/bin"
    mkdir "$project/licences"
    cp "$JOBSHIM_ROOT/LICENSE" "$project/licences"
    for name in boost cli11 libmd llvm musl nlohmann-json; do
        cp "$JOBSHIM_ROOT/docs/licences/$name.txt" "$project/licences"
    done
    export JOBSHIM_MACHINE
    # Debian's hatchling belongs to Debian's Python, which need not be the first in PATH.
    (cd "$project" && /usr/bin/python3 -m hatchling build -t wheel -d "$out")
    chmod 644 "$out"/*"$JOBSHIM_MACHINE.whl"
    made=yes
done
[ -n "$made" ] || { echo "packages/python: no programs, so nothing was made" >&2; exit 1; }
