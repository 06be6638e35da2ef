#!/bin/sh
# What must hold before a version is released (docs/releasing.md), of the packages that `./dev package`
# has just made. Says what does not, and goes on.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
. "$root/packages/lib.sh"
set_up_for "$root"

status=0
wrong() {
    say "WRONG: $*"
    status=1
}

# The changelog, and nothing uncommitted.
newest=$(sed -n 's/^## \[\([0-9][^]]*\)\] - \(....-..-..\)$/\1 \2/p' "$root/CHANGELOG.md" | head -n 1)
[ "${newest% *}" = "$JOBSHIM_VERSION" ] ||
    wrong "the newest dated section of CHANGELOG.md is '$newest', not $JOBSHIM_VERSION's"
[ -z "$(git -C "$root" status --porcelain)" ] || wrong 'there are changes that are not committed'

# One version everywhere.
cd "$JOBSHIM_OUT"
says_version() { # WHERE VERSION
    [ "$2" = "$JOBSHIM_VERSION" ] || wrong "$1 says version '$2', not $JOBSHIM_VERSION"
}
for deb in *.deb; do
    says_version "$deb" "$(dpkg-deb -f "$deb" Version)"
done
for package in npm/*.tgz; do
    tar -xzOf "$package" package/package.json >"$JOBSHIM_OUT.json"
    says_version "$package" "$(sed -n 's/^ *"version": "\(.*\)".*/\1/p' "$JOBSHIM_OUT.json")"
    # And of each other: jobshim takes exactly its own version of the programs.
    if grep -E '"@jobshim/[^"]*": ' "$JOBSHIM_OUT.json" | grep -vF "\"$JOBSHIM_VERSION\""; then
        wrong "$package takes another version than its own"
    fi
    rm "$JOBSHIM_OUT.json"
done
for wheel in python/*.whl; do
    says_version "$wheel" "$(unzip -p "$wheel" '*/METADATA' | sed -n 's/^Version: //p')"
done
says_version claude-code "$(sed -n 's/^ *"version": "\(.*\)".*/\1/p' claude-code/plugin/.claude-plugin/plugin.json)"
says_version jobshim "$("$(bin_of "$(uname -m)")/jobshim" --version | sed 's/^jobshim //')"
says_version jobctl "$("$(bin_of "$(uname -m)")/jobctl" --version | sed 's/^jobctl //')"

sha256sum --quiet -c SHA256SUMS || wrong 'SHA256SUMS does not agree with the files'

# The same commit in another folder gives the same bytes.
elsewhere=$(mktemp -d)
trap 'rm -rf "$elsewhere"' EXIT
say 'building once more, in another folder'
git clone -q "$root" "$elsewhere/a clone"
if "$elsewhere/a clone/dev" package >"$elsewhere/log" 2>&1; then
    diff SHA256SUMS "$elsewhere/a clone/build/package/SHA256SUMS" >&2 ||
        wrong 'a second build from the same commit gave other bytes'
else
    tail -n 30 "$elsewhere/log" >&2
    wrong 'the second build failed'
fi

# The README's lines for Node and Python; those for the others are run by their check.sh.
# try_line NAME LINE BIN: in a folder of its own, and with the programs that the line puts into BIN.
try_line() {
    mkdir "$elsewhere/$1"
    ln -s "$JOBSHIM_OUT/npm" "$JOBSHIM_OUT/python" "$elsewhere/$1"
    (
        cd "$elsewhere/$1"
        export PATH="$elsewhere/$1/$3:$PATH"
        [ "$1" != python ] || /usr/bin/python3 -m venv venv
        sh -ec "$2
            $(life_of_a_job)"
    ) >"$elsewhere/$1.log" 2>&1 || {
        cat "$elsewhere/$1.log" >&2
        wrong "the README's line: $2"
    }
}
try_line node "$(install_line 'npm install')" node_modules/.bin
try_line python "$(install_line 'pip install')" venv/bin

# Each can be installed and used.
for kind in debian tar npm python image; do
    say "checking $kind"
    "$root/packages/$kind/check.sh" || wrong "$kind: see above"
done

[ "$status" -ne 0 ] || say "$JOBSHIM_VERSION can be released"
exit "$status"
