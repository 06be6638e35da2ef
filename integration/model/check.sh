#!/bin/sh
# Checks the model of the protocol (job.pml) with spin: the right one must hold in every state, and
# each that breaks one of its rules must fail. check.sh DIRECTORY: where to put what is compiled.
set -eu

model=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)/job.pml
directory=${1:?usage: check.sh DIRECTORY}
for tool in spin gcc; do
    command -v "$tool" >/dev/null || {
        echo "test skipped: no $tool"
        exit 0
    }
done
mkdir -p "$directory"
cd "$directory"
rm -rf ./*.trail reached
status=0
: >reached

now() {
    date +%s
}

# compile OPTIMISATION PAN-DEFINITIONS MODEL-DEFINITIONS
compile() {
    # shellcheck disable=SC2086 # lists of words
    { spin -a $3 "$model" && gcc "-$1" -w -DCOLLAPSE -DMEMLIM=1800 $2 -o pan pan.c; } >log 2>&1 || {
        cat log
        echo "cannot compile the model"
        exit 1
    }
}

# tell RESULT NAME: one line, from what pan said.
tell() {
    states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' log | head -n 1)
    printf '%-6s %-58s %10s states  %3s s\n' "$1" "$2" "${states:-no}" "$(($(now) - began))"
}

is_complete() {
    grep -q 'errors: 0$' log && ! grep -Eq 'search incomplete|not completed|max search depth|out of memory|resource' log
}

# holds NAME MODEL-DEFINITIONS [PAN-DEFINITIONS PAN-OPTIONS]
holds() {
    began=$(now)
    compile O1 "${3:--DSAFETY}" "$2"
    # -E: a worker that runs for ever is no deadlock.
    # shellcheck disable=SC2086
    ./pan -E -m20000 ${4-} >log 2>&1 || true
    if is_complete; then
        tell holds "$1"
        grep '^reached' log >>reached
    else
        tell WRONG "$1: must hold"
        grep -E '^pan|error|warning|depth' log || true
        status=1
    fi
}

# breaks RULE NAME MODEL-DEFINITIONS [OPTIMISATION]: an assertion must be found to be violated. Most
# are after a few states: a small table costs less than the search.
breaks() {
    began=$(now)
    compile "${4:-O0}" -DSAFETY "$3"
    ./pan -E -m20000 -w18 >log 2>&1 || true
    if grep -q '^pan:1: assertion violated' log; then
        tell fails "$1: $2"
    else
        tell WRONG "$1: $2: must fail"
        status=1
    fi
}

holds 'one shim, one reader' ''
holds 'one shim, two readers, after the shim' '-DREADERS=2 -DFEW -DLATER -DNARROW -DREADER_KILLS=0'
holds 'two shims one after the other' '-DRUNS=2 -DREADERS=0 -DCRASHES=2'
holds 'two shims one after the other, then a reader' \
    '-DRUNS=2 -DFEW -DLATER -DCRASHES=2 -DNARROW -DNOBODY_SETTLES -DREADER_KILLS=0'
holds 'two shims at once, one reader' '-DRUNS=2 -DCALL_OFF_ALL -DFEW -DREADER_KILLS=0'
holds 'somebody removes the heartbeat file' '-DVANDAL -DFEW -DREADER_KILLS=0'
holds 'the host writes over the end' '-DHOST -DFEW -DREADER_KILLS=0'
holds 'a dead job is settled in the end' '-DLIVENESS -DREADER_KILLS=0' -DNFAIR=3 '-a -f -N settled_in_the_end'

# What never came about was not checked.
awk '{ count = $2; $1 = $2 = ""; sum[$0] += count }
    END { for (what in sum) if (!sum[what]) { print "WRONG  never came about:" what; bad = 1 }; exit bad }' \
    reached || status=1

breaks 4.1 'the record is written after COMMAND was executed' -DBREAK_RECORD_AFTER_EXEC
breaks 4.1 'the locks are not taken' '-DBREAK_NO_LIFE_LOCK -DRUNS=2 -DCALL_OFF_ALL -DFEW'
breaks 4.2 'executed before its pid is in the heartbeat file' '-DBREAK_EXEC_BEFORE_LINE'
breaks 4.2 'executed before the job file says running' \
    '-DBREAK_GO_BEFORE_RECORD -DRUNS=2 -DFEW -DLATER -DCRASHES=2 -DNARROW -DNOBODY_SETTLES -DREADER_KILLS=0' O1
breaks 4.4 'no exit in the heartbeat file' '-DBREAK_NO_EXIT_LINE'
breaks 4.4 'the exit is in the job file first' '-DBREAK_EXIT_LINE_LAST -DHOST'
breaks 4.4 'the locks go before the record is written' '-DBREAK_UNLOCK_EARLY'
breaks 4.5 'one look' '-DBREAK_ONE_PROBE'
breaks 4.5 'one look, the lock after the job file' '-DBREAK_READ_BEFORE_PROBE'
breaks 4.6 'settled without byte 1' '-DBREAK_NO_WRITER_LOCK -DREADERS=2 -DFEW'
breaks 4.6 'a free lock is witness enough' '-DBREAK_LOCK_ALONE'
breaks 4.6 'settled while the worker lives' '-DBREAK_WORKER_UNSEEN'
breaks 4.6 'started on an active record' '-DBREAK_START_ON_ACTIVE -DRUNS=2 -DREADERS=0'
breaks 4.6 'started beside the shim of a final record' \
    '-DBREAK_START_BESIDE_FINAL -DRUNS=2 -DREADERS=0 -DFEW'
breaks 3 'inodes are not compared after locking' \
    '-DBREAK_NO_INODE_COMPARE -DRUNS=2 -DCALL_OFF_ALL -DFEW'
breaks 3 'nor compared again after waiting for byte 1' \
    '-DBREAK_INODE_COMPARED_ONCE -DRUNS=2 -DCALL_OFF_ALL -DFEW -DVANDAL -DCRASHES=0 -DREADER_KILLS=0'
breaks 3 'a shim that is refused writes the heartbeat file anew' \
    '-DBREAK_REFUSED_REWRITES -DRUNS=2 -DFEW -DLATER -DCRASHES=2 -DNARROW -DREADER_KILLS=0'
exit "$status"
