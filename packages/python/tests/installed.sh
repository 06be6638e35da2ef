#!/bin/sh
# Installs the wheel into a new virtual environment of PYTHON, without an index, and tries it there:
#   installed.sh PYTHON WHEEL
# check.sh runs it, also inside bare systems.
set -eu

python=$1
wheel=$2
tests=$(dirname "$0")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM
unset JOBSHIM_TEST_BIN JOBSHIM_BINARY_DIR

"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-index "$wheel"
"$folder/venv/bin/pip" check >/dev/null

# Wrap a job, kill it, ask: with the programs, as in a shell.
PATH=$folder/venv/bin:$PATH
export XDG_STATE_HOME="$folder/state"
jobshim --detach --id first -- sleep 1000 >/dev/null
pid=$(python -c 'import jobshim; print(jobshim.read_job("first").pid)')
kill -9 "$pid"
status=0
answer=$(jobctl wait first) || status=$?
case $status$answer in
"1first  failed  Killed by SIGKILL"*) ;;
*) echo "installed.sh: jobctl wait: status $status: $answer" >&2; exit 1 ;;
esac

cd "$tests"
PYTHONDONTWRITEBYTECODE=1 python -W error -m unittest discover >"$folder/log" 2>&1 ||
    { cat "$folder/log"; exit 1; }
sed -n 's/.*\(test skipped: \)/\1/p' "$folder/log"
"$python" -c 'import sys; print("Python %d.%d.%d: " % sys.version_info[:3], end="")'
tail -n 3 "$folder/log" | tr '\n' ' '
echo
