#!/bin/sh
# check.sh BUILD-FOLDER: installs the library, then builds the example with it, by CMake and by
# pkg-config, and asks it about jobs.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
build=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --install "$build" --component reader --prefix "$work/usr" >/dev/null
cmake -S "$here/example" -B "$work/example" -G Ninja -DCMAKE_PREFIX_PATH="$work/usr" >/dev/null
cmake --build "$work/example" >/dev/null
export PKG_CONFIG_PATH="$work/usr/lib/pkgconfig"
# shellcheck disable=SC2046 # options
${CXX:-c++} -std=c++20 "$here/example/verdict.cpp" $(pkg-config --cflags --libs jobshim) -o "$work/verdict"

cd "$work"
"$build/bin/jobshim" --job killed.json -- sh -c 'kill -9 $$' || true
"$build/bin/jobshim" --job live.json -- sleep 1000 &
shim=$!
until grep -qs '"status": "running"' live.json; do sleep 0.05; done
for verdict in "$work/verdict" "$work/example/verdict"; do
    "$verdict" killed.json live.json absent.json none/such.json >said
    sed 's/^/    /' said
    grep -q '^killed: failed: Killed by SIGKILL' said
    grep -q '^  reason: signal$' said
    grep -q "^live: running: The shim (pid $shim) is alive" said
    grep -q '^absent.json: no such job$' said
    grep -q '^none/such.json: no such job$' said
done
kill -KILL "$shim"
wait "$shim" 2>/dev/null || true
until "$work/verdict" live.json | grep '^live: failed: The shim died'; do sleep 0.05; done
grep -q '"reason": "shim-lost"' live.json
# The page shows what was built here.
sed -n '/^#include <exception>/,/^}/p' "$here/example/verdict.cpp" >shown
sed -n '/^#include <exception>/,/^}/p' "$here/../../docs/cpp.md" | diff - shown
