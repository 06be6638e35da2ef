#!/bin/sh
# Tries the wheel for this machine: check.sh [WHEEL]
# It is installed with every Python found here, and on bare Debian systems, without the network.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "${JOBSHIM_ROOT:-$here/../..}/packages/lib.sh"
machine=$(uname -m)
wheel=${1-}
if [ -z "$wheel" ]; then
    for wheel in "${JOBSHIM_OUT:-$here/../../build/package}"/python/*_"$machine".whl; do :; done
fi
[ -f "$wheel" ] || { echo "check.sh: no wheel: make it with ./dev package wheel" >&2; exit 1; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

echo "== the archive"
/usr/bin/python3 - "$wheel" <<'PYTHON'
import base64, csv, hashlib, io, sys, zipfile

with zipfile.ZipFile(sys.argv[1]) as wheel:
    names = wheel.namelist()
    record = next(name for name in names if name.endswith(".dist-info/RECORD"))
    rows = list(csv.reader(io.StringIO(wheel.read(record).decode())))
    assert sorted(row[0] for row in rows) == sorted(names), "RECORD does not list every file once"
    for name, digest, size in rows:
        if name != record:
            data = wheel.read(name)
            found = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            assert (digest, int(size)) == ("sha256=" + found, len(data)), name
    for program in "jobshim", "jobctl":
        (info,) = [i for i in wheel.infolist() if i.filename.endswith(f".data/scripts/{program}")]
        assert info.external_attr >> 16 & 0o777 == 0o755, info
    print(len(names), "files, as RECORD says")
PYTHON

echo "== every Python here"
for python in /usr/bin/python3 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.*/bin/python3; do
    [ -x "$python" ] || continue
    if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))'; then
        sh "$here/tests/installed.sh" "$python" "$wheel"
    fi
done

echo "== other ways to install it"
python=/usr/bin/python3
export PIP_ROOT_USER_ACTION=ignore
pip() { "$python" -m pip install --quiet --disable-pip-version-check --no-index "$@" "$wheel"; }
runs() { # NAME PYTHONPATH PYTHON
    PYTHONPATH=$2 "$3" -m jobshim --version >/dev/null
    PYTHONPATH=$2 "$3" -m jobshim.ctl --version >/dev/null
    echo "$1: found"
}
pip --target "$folder/target"
runs --target "$folder/target" "$python"
pip --prefix "$folder/prefix" --ignore-installed
for packages in "$folder"/prefix/lib/python3*/*-packages "$folder"/prefix/local/lib/python3*/*-packages; do
    [ ! -d "$packages" ] || runs --prefix "$packages" "$python"
done
export PYTHONUSERBASE="$folder/user"
PIP_BREAK_SYSTEM_PACKAGES=1 pip --user
runs --user '' "$python"
unset PYTHONUSERBASE

echo "== bare systems"
for suite in bullseye bookworm trixie; do
    root=$folder/$suite
    make_bare "$suite" "$root" python3-venv || continue
    mkdir "$root/check"
    cp "$here"/tests/*.py "$here/tests/installed.sh" "$wheel" "$root/check"
    in_bare "$root" sh /check/installed.sh python3 "/check/${wheel##*/}"
    rm -rf --one-file-system "$root"
done
