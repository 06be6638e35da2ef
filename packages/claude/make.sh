#!/bin/sh
# A Claude Code plugin, in a marketplace of its own: a folder. For x86_64 alone: the plugin has one
# folder of programs.
set -eu
. "$JOBSHIM_ROOT/packages/lib.sh"

bin=$(bin_of x86_64) || exit 0
source=$JOBSHIM_ROOT/integration/claude-code
out=$JOBSHIM_OUT/claude-code
rm -rf "$out.part"
mkdir -p "$out.part/plugin/bin"
cp -R "$source/." "$out.part"
cp "$bin/jobshim" "$bin/jobctl" "$out.part/plugin/bin"
cp "$JOBSHIM_ROOT/LICENSE" "$out.part/plugin"
sed "s/@VERSION@/$JOBSHIM_VERSION/" "$source/plugin/.claude-plugin/plugin.json" \
    >"$out.part/plugin/.claude-plugin/plugin.json"
rm -rf "$out"
mv "$out.part" "$out"
say 'made: build/package/claude-code; in Claude Code:'
say "  /plugin marketplace add $out"
say '  /plugin install jobshim@jobshim'
