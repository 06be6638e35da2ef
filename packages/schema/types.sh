#!/bin/sh
# Makes packages/npm/jobshim/record.d.ts from the schemas. With --check, changes nothing, and says
# whether it differs.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=${here%/packages/schema}
types=$root/packages/npm/jobshim/record.d.ts
tool=$root/build/schema-types

case "${1-}" in
'' | --check) ;;
*)
    echo 'usage: packages/schema/types.sh [--check]' >&2
    exit 2
    ;;
esac

# What is out of reach cannot be compared with, which is no reason to refuse a change.
unavailable() {
    echo "types.sh: $1: the TypeScript types are not ${2:-made}" >&2
    [ "${2-}" = checked ] && exit 0
    exit 1
}
done=${1:+checked}

command -v npm >/dev/null || unavailable 'there is no npm' "$done"
if ! cmp -s "$here/package-lock.json" "$tool/package-lock.json" || [ ! -d "$tool/node_modules" ]; then
    rm -rf "$tool"
    mkdir -p "$tool"
    cp "$here/package.json" "$here/package-lock.json" "$tool"
    npm ci --prefix "$tool" --no-audit --no-fund --ignore-scripts >"$tool/npm.log" 2>&1 || {
        cat "$tool/npm.log" >&2
        rm -rf "$tool"
        unavailable 'npm cannot install json-schema-to-typescript' "$done"
    }
fi

made=$tool/record.d.ts
(cd "$tool" && node "$here/types.mjs" "$here" >"$made")
if [ "${1-}" = --check ]; then
    diff -u "$types" "$made" || {
        echo 'types.sh: these types differ from the schemas; packages/schema/types.sh makes them anew' >&2
        exit 1
    }
else
    mkdir -p "${types%/*}"
    cp "$made" "$types"
fi
