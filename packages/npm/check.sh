#!/bin/sh
# Tries the npm packages in $JOBSHIM_OUT/npm (default: build/package/npm) as their users would: with
# npm, pnpm, Yarn Plug'n'Play and bun, offline and without scripts; the API's tests from the
# installed package with each version of Node; and its types with tsc --strict. The tools come from
# npm; for one that cannot be had it prints "test skipped: REASON".
set -eu

here=$(CDPATH='' cd -- "$(dirname "$0")" && pwd)
tarballs=${JOBSHIM_OUT:-$here/../../build/package}/npm
work=$(mktemp -d)
jobs=
# The package managers and Node leave caches behind.
home=$HOME
export HOME="$work/home" TMPDIR="$work/tmp"
mkdir "$HOME" "$TMPDIR"
cleanup() {
    for pid in $jobs; do kill -KILL "$pid" 2>/dev/null || :; done
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

failures=0
step=
passed() { echo "ok: $step: $1"; }
failed() {
    echo "FAILED: $step: $1"
    failures=$((failures + 1))
}
skipped() { echo "test skipped: $1"; }
# expect WHAT EXPECTED FOUND
expect() {
    if [ "$2" = "$3" ]; then passed "$1"; else failed "$1: expected '$2', got '$3'"; fi
}
# expect_word WHAT WORD TEXT
expect_word() {
    case $3 in
    *"$2"*) passed "$1" ;;
    *) failed "$1: no '$2' in '$3'" ;;
    esac
}
# until_true COMMAND...: within 20 seconds
until_true() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ "$tries" -lt 400 ] || return 1
        sleep 0.05
    done
}

if ! command -v npm >/dev/null || ! command -v script >/dev/null; then
    skipped "npm or script is not installed"
    exit 0
fi
case $(uname -m) in
x86_64) cpu=x64 ;;
aarch64) cpu=arm64 ;;
*)
    skipped "there are no npm packages for $(uname -m)"
    exit 0
    ;;
esac
version=$(basename "$tarballs"/jobshim-[0-9]*.tgz .tgz)
version=${version#jobshim-}
mkdir "$work/tarballs"
cp "$tarballs/jobshim-$version.tgz" "$work/tarballs/jobshim.tgz"
# A package that was not made, because its programs are not there, is made up: it is not installed
# on this machine, but offline a package manager has to read what it is for.
for each in x64 arm64; do
    file=$tarballs/jobshim-linux-$each-$version.tgz
    if [ -e "$file" ]; then
        cp "$file" "$work/tarballs/linux-$each.tgz"
    elif [ "$each" = "$cpu" ]; then
        echo "$file is missing" >&2
        exit 1
    else
        mkdir -p "$work/stub/package"
        printf '{"name": "@jobshim/linux-%s", "version": "%s", "os": ["linux"], "cpu": ["%s"]}' \
            "$each" "$version" "$each" >"$work/stub/package/package.json"
        tar -C "$work/stub" -czf "$work/tarballs/linux-$each.tgz" package
    fi
done

# get PACKAGE...: into $work/tools
get() { HOME=$home npm install --prefix "$work/tools" --ignore-scripts --no-audit --no-fund "$@" >/dev/null 2>&1; }
modules=$work/tools/node_modules
mkdir "$work/tools"

# project NAME: a project in $work/NAME that depends on jobshim
project() {
    mkdir -p "$work/$1"
    cd "$work/$1"
    cp "$here"/test/project/* "$work/tarballs"/* .
    substitutes='{
    "@jobshim/linux-x64": "file:./linux-x64.tgz",
    "@jobshim/linux-arm64": "file:./linux-arm64.tgz"
  }'
    cat >package.json <<END
{
  "private": true,
  "dependencies": { "jobshim": "file:./jobshim.tgz" },
  "overrides": $substitutes,
  "resolutions": $substitutes,
  "pnpm": { "overrides": $substitutes }
}
END
}

# runs FILE.json: true once its worker does
runs() { [ -e "$1" ] && grep -q '"phase": "running"' "$1"; }
worker_of() { node -p 'JSON.parse(fs.readFileSync(process.argv[1])).pid' "$1"; }

# check_bins SHIM CTL [SAME]: SHIM and CTL are the words that run them; SAME is `other` if jobshim
# cannot have the pid of what was started.
check_bins() {
    shim=$1
    ctl=$2
    # shellcheck disable=SC2086  # words
    {
        expect "jobshim --version" "jobshim $version" "$($shim --version)"
        expect "jobctl --version" "jobctl $version" "$($ctl --version)"

        pids=$(sh -c 'echo $$; exec "$@"' sh $shim --job pid.json -- sh -c 'echo $PPID' | uniq | wc -l)
        if [ "${3:-same}" = same ]; then expect "same pid" 1 "$pids"; else expect "own pid" 2 "$pids"; fi

        status=0
        $shim --job code.json -- sh -c 'exit 7' || status=$?
        expect "exit code" 7 "$status"
        status=0
        $ctl status code.json >/dev/null || status=$?
        expect "jobctl's exit code" 1 "$status"

        # In a shell of its own, which says so on its own stderr
        status=0
        sh -c '"$@"; exit $?' sh $shim --job died.json -- sh -c 'kill -KILL $$' 2>/dev/null || status=$?
        expect "death by a signal" 137 "$status"
        # A pipe that nobody reads kills its writer, here as without the bin.
        status=0
        $shim --job pipe.json -- sh -c 'yes; echo $? >pipe.status' 2>/dev/null | head -n 1 >/dev/null
        expect "SIGPIPE is not ignored" 141 "$(until_true test -s pipe.status && cat pipe.status)"

        # Wrap a job, kill it, ask.
        $shim --job killed.json -- sleep 60 &
        jobs="$jobs $!"
        until_true runs killed.json || failed "the job does not run"
        kill -KILL "$(worker_of killed.json)"
        answer=$($ctl wait killed.json) || :
        expect_word "killed, and asked" "Killed by SIGKILL" "$answer"

        $shim --job term.json -- sleep 60 &
        jobs="$jobs $!"
        until_true runs term.json || failed "the job does not run"
        kill -TERM "$!"
        status=0
        { wait "$!"; } 2>/dev/null || status=$?
        expect "SIGTERM is passed on, and mirrored" 143 "$status"
        expect_word "and it is on record" '"signalName": "SIGTERM"' "$(cat term.json)"
    }
}

step=npm
project npm
if npm install --offline --cache "$work/cache" --ignore-scripts --no-audit --no-fund >log 2>&1; then
    check_bins node_modules/.bin/jobshim node_modules/.bin/jobctl
    expect "the API, imported" ok "$(node api.mjs 2>&1)"
    expect "the API, required" ok "$(node api.cjs 2>&1)"
    mkdir deep && mv node_modules/@jobshim deep/ # as npm nests a package that conflicts with another
    mkdir node_modules/jobshim/node_modules && mv deep/@jobshim node_modules/jobshim/node_modules/
    expect "nested" "jobshim $version" "$(node_modules/.bin/jobshim --version 2>&1)"
else
    failed "$(cat log)"
fi

step="npm, global"
if npm install --global --prefix "$work/global" --offline --cache "$work/cache" --ignore-scripts \
    "$work/tarballs/jobshim.tgz" "$work/tarballs/linux-$cpu.tgz" --omit=optional >log 2>&1; then
    ln -s "$work/global/bin/jobctl" "$work/link"
    expect "jobshim" "jobshim $version" "$(PATH=$work/global/bin:$PATH jobshim --version 2>&1)"
    expect "by another link" "jobctl $version" "$("$work/link" --version 2>&1)"
else
    failed "$(cat log)"
fi

step="npm --omit=optional"
project omitted
if npm install --offline --omit=optional --cache "$work/cache" --ignore-scripts --no-audit \
    --no-fund >log 2>&1; then
    for run in sh node; do
        for program in jobshim jobctl; do
            status=0
            message=$("$run" node_modules/.bin/$program --version 2>&1) || status=$?
            expect "$run: exit code of $program" 125 "$status"
            expect_word "$run: $program names the package" "$program: the package @jobshim/linux-$cpu" \
                "$message"
        done
    done
    expect_word "the API" "JobshimError: the package @jobshim/linux-$cpu" "$(node api.mjs 2>&1 || :)"
else
    failed "$(cat log)"
fi

for release in 22 20; do
    get "node-linux-$cpu@$release" || skipped "npm has no Node $release"
    node="$modules/node-linux-$cpu/bin"
    [ -x "$node/node" ] || continue
    step="the bin by Node $release"
    project "node-$release"
    npm install --offline --cache "$work/cache" --ignore-scripts --no-audit --no-fund >log 2>&1
    pid=same
    [ "$release" != 20 ] || pid=other
    bin=$work/node-$release/node_modules/jobshim/bin
    check_bins "$node/node $bin/jobshim" "$node/node $bin/jobctl" "$pid"
    expect "signals" "INT HUP QUIT USR1 USR2 TERM 9
SIGTERM SIGINT SIGKILL SIGPIPE" "$(node "$here/test/signals.mjs" "$node/node" "$bin/jobshim" 2>/dev/null)"
    # What the terminal sends reaches the worker by itself, and must not be passed on as well.
    # shellcheck disable=SC2016  # for the worker's shell
    worker='trap "echo INT >>ints" INT; trap "exit 9" TERM; echo r >ready; while :; do sleep 0.02; done'
    {
        until_true test -s ready && printf '\003' && until_true test -s ints
        kill -TERM "$(worker_of tty.json)"
    } | script -qec "$node/node $bin/jobshim --job tty.json -- sh -c '$worker'" /dev/null >log 2>&1 || :
    expect "^C comes" INT "$(cat ints)"
    expect "^C is not passed on as well" 0 "$(grep -c 'SIGINT from' tty.json)"
done

step="Yarn Plug'n'Play"
if get @yarnpkg/cli-dist@4; then
    project yarn
    yarn() { node "$modules/@yarnpkg/cli-dist/bin/yarn.js" "$@"; }
    # Yarn cannot leave out a package that is a file.
    printf 'supportedArchitectures:\n  cpu: [x64, arm64]\n' >.yarnrc.yml
    export YARN_ENABLE_NETWORK=false YARN_ENABLE_SCRIPTS=false YARN_ENABLE_TELEMETRY=false
    export YARN_ENABLE_GLOBAL_CACHE=false YARN_ENABLE_IMMUTABLE_INSTALLS=false YARN_NODE_LINKER=pnp YARN_PNP_ENABLE_ESM_LOADER=true
    if yarn install >log 2>&1; then
        expect "jobshim" "jobshim $version" "$(yarn jobshim --version 2>&1)"
        expect "jobctl" "jobctl $version" "$(yarn jobctl --version 2>&1)"
        status=0
        yarn jobshim --job code.json -- sh -c 'exit 7' 2>/dev/null || status=$?
        expect "exit code" 7 "$status"
        expect "the API, imported" ok "$(yarn node api.mjs 2>&1)"
        expect "the API, required" ok "$(yarn node api.cjs 2>&1)"
        run="node --require $PWD/.pnp.cjs"
        pid=other
        ! node -e 'process.exit(process.execve ? 0 : 1)' || pid=same
        rm -f code.json
        check_bins "$run $(yarn bin jobshim)" "$run $(yarn bin jobctl)" "$pid"
    else
        failed "$(cat log)"
    fi
    unset YARN_NODE_LINKER YARN_PNP_ENABLE_ESM_LOADER
else
    skipped "Yarn cannot be had from npm"
fi

step=pnpm
if get pnpm@10; then
    project pnpm
    if node "$modules/pnpm/bin/pnpm.cjs" install --offline --ignore-scripts \
        --store-dir "$work/store" >log 2>&1; then
        check_bins node_modules/.bin/jobshim node_modules/.bin/jobctl
        expect "the API, imported" ok "$(node api.mjs 2>&1)"
        expect "the API, required" ok "$(node api.cjs 2>&1)"
    else
        failed "$(cat log)"
    fi
else
    skipped "pnpm cannot be had from npm"
fi

step=bun
bun=$modules/@oven/bun-linux-x64/bin/bun
[ "$cpu" = x64 ] || bun=$modules/@oven/bun-linux-aarch64/bin/bun
if get bun && "$bun" --version >/dev/null 2>&1; then
    project bun
    if "$bun" install --ignore-scripts >log 2>&1; then
        check_bins node_modules/.bin/jobshim node_modules/.bin/jobctl
        expect "the API, by bun" ok "$("$bun" api.mjs 2>&1)"
    else
        failed "$(cat log)"
    fi
else
    skipped "bun cannot be had from npm, or does not run on this CPU"
fi

step=tsc
if get typescript @types/node; then
    project types
    npm install --offline --cache "$work/cache" --ignore-scripts --no-audit --no-fund >log 2>&1
    cp -R "$modules/@types" "$modules/undici-types" node_modules/
    cp types.mts types-cjs.cts
    if node "$modules/typescript/bin/tsc" --strict --noEmit --module nodenext --target es2022 \
        --types node types.mts types-cjs.cts >log 2>&1; then
        passed "--strict, import and require"
    else
        failed "$(cat log)"
    fi
else
    skipped "TypeScript cannot be had from npm"
fi

project api
npm install --offline --cache "$work/cache" --ignore-scripts --no-audit --no-fund >log 2>&1
for release in 18 20 22 24; do
    step="API by Node $release"
    if get "node-linux-$cpu@$release"; then
        if JOBSHIM_TEST_PACKAGE=$work/api/node_modules/jobshim/index.cjs \
            "$modules/node-linux-$cpu/bin/node" --test --test-reporter=tap "$here"/test/*.test.mjs >log 2>&1; then
            grep -h '^# [0-9]* jobs: ' log || :
            grep -h '^# test skipped: ' log | sed 's/^# //' || :
            passed "$("$modules/node-linux-$cpu/bin/node" --version), $(grep '^# pass' log)"
        else
            failed "$(cat log)"
        fi
    else
        skipped "npm has no Node $release for this machine"
    fi
done

cd /
echo "$failures failures"
[ "$failures" -eq 0 ]
