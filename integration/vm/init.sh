#!/bin/sh
# Process 1 of the virtual machine (busybox): makes memory cgroups, lets the out-of-memory killer and
# others strike in them, and writes each job's record, with the kernel's own list of the victims, to
# the second serial line. What is to be expected stands in check.py.
set -u
export PATH=/bin

/bin/busybox mkdir -p /proc /sys /dev /jobs /etc /root
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /jobs
groups=/sys/fs/cgroup
mount -t cgroup2 cgroup2 "$groups"
echo +memory >"$groups/cgroup.subtree_control"

# A host has these.
echo 0123456789abcdef0123456789abcdef >/etc/machine-id
echo root:x:0:0::/root:/bin/sh >/etc/passwd
echo nobody:x:65534:65534::/:/bin/sh >>/etc/passwd
mkdir /jobs/nobody
chown nobody /jobs/nobody
# An allocation may be as large as it likes; only what is touched counts.
echo 1 >/proc/sys/vm/overcommit_memory
# The kernel's log is root's alone, as everywhere.
echo 1 >/proc/sys/kernel/dmesg_restrict

exec 3>/dev/ttyS1

# wait_until COMMAND...: up to 20 s.
wait_until() {
    tries=400
    until "$@"; do
        tries=$((tries - 1))
        if [ "$tries" -eq 0 ]; then
            echo "$name: waited in vain for: $*"
            return 1
        fi
        usleep 50000
    done
}

# in_group GROUP COMMAND...: becomes COMMAND, in that group.
in_group() {
    # shellcheck disable=SC2016 # the inner shell's
    exec sh -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$@"
}

# eat SIZE: touches that much memory at once, and never gets that far.
eat='exec dd if=/dev/zero of=/dev/null count=1 bs='

# begin NAME [LIMIT]: a case, with a fresh group of that name.
begin() {
    name=$1
    job=/jobs/$name.json
    pid_file=/jobs/nobody/$name.pid
    user=root
    status=
    group=$groups/$name
    mkdir "$group"
    if [ $# -gt 1 ]; then
        echo "$2" >"$group/memory.max"
        echo 0 >"$group/memory.swap.max"
    fi
    dmesg -c >/dev/null
}

# start COMMAND...: the job, under jobshim, in the case's group.
start() {
    in_group "$group" jobshim --job "$job" -- "$@" &
    shim=$!
}

# start_in_root COMMAND...: likewise, in the root group, where this shell is: it counts nothing.
start_in_root() {
    jobshim --job "$job" -- "$@" &
    shim=$!
}

# make_limited_group: in it, whom the out-of-memory killer hits takes all others with him.
make_limited_group() {
    [ -e "$limited" ] || mkdir "$limited"
    echo 32M >"$limited/memory.max"
    echo 1 >"$limited/memory.oom.group"
}

# start_sleeper: a job that waits to be killed; sets `worker`.
start_sleeper() {
    # shellcheck disable=SC2016 # the inner shell's
    start sh -c 'echo $$ >"$0"; exec sleep 1000' "$pid_file"
    read_worker
}

read_worker() {
    wait_until test -s "$pid_file"
    worker=$(cat "$pid_file")
}

# eat_as_neighbour SIZE: a process of the group that is none of the job's; back when it is dead.
eat_as_neighbour() {
    in_group "$group" sh -c "$eat$1" &
    wait $!
}

is_empty() {
    grep -q 'populated 0' "$1/cgroup.events"
}

# clear GROUP: nothing is left in it, and it is gone.
clear() {
    [ -e "$1" ] || return 0
    echo 1 >"$1/cgroup.kill"
    wait_until is_empty "$1" && rmdir "$1"
}

# jobctl of the case's user: who settles a job also looks for why it died.
ctl() {
    su "$user" -s /bin/sh -c "exec jobctl $*"
}

# join: how the shim ended goes into `status`.
join() {
    wait "$shim"
    status=$?
}

# finish: the job has ended, or is ended now: a record in any case.
finish() {
    ctl wait --appear 20s --timeout 20s "$job" >/dev/null
    ended=$?
    [ "$ended" -ne 124 ] || kill -KILL "$shim"
    [ -n "$status" ] || join
    {
        echo "#case $name"
        echo "#shim $status"
        dmesg | sed -n 's/.*Killed process \([0-9]*\) (\([^)]*\)).*/#killed \1 \2/p'
        ctl result --json "$job"
        echo "#end"
    } >&3
    clear "$group"
}

# The kernel's log tells a victim's group for ten reports in 5 s, and no more. The cases up to
# `group-gone` are the first eight, for some of them need it.
begin child-then-killed 32M
start sh -c "(${eat}48M); echo \$\$ >$pid_file; sleep 1000"
read_worker
kill -KILL "$worker"
finish

begin neighbour-then-killed 32M
start_sleeper
eat_as_neighbour 48M
kill -KILL "$worker"
finish

begin worker 32M
start sh -c "${eat}48M"
finish

begin child-4 32M
start sh -c "(${eat}48M); exit 4"
finish

begin child-0 32M
start sh -c "(${eat}48M); exit 0"
finish

begin killed 32M
start_sleeper
kill -KILL "$worker"
finish

# The limit is another's: that of the group around the job's.
begin outer-limit 32M
echo +memory >"$group/cgroup.subtree_control"
outer=$group
group=$outer/job
mkdir "$group"
start sh -c "${eat}48M"
finish
clear "$outer"

# Nobody of the group is spared, the shim neither: the reader finds out.
begin group-all 32M
echo 1 >"$group/memory.oom.group"
start sh -c "${eat}48M"
finish

# As above, but the group is gone when the reader comes.
begin group-gone 32M
echo 1 >"$group/memory.oom.group"
start sh -c "${eat}48M"
join
clear "$group"
finish

# The same death without the killer.
begin shim-killed 32M
start_sleeper
kill -KILL "$shim"
finish

# The worker moves to a group of its own, as a container's does, and all of that group are hit: the
# shell too that waits for its child. First from a group beside it, then from that above, the root.
begin group-beside
limited=$groups/group-beside-limited
make_limited_group
start sh -c "echo \$\$ >$limited/cgroup.procs; (${eat}48M); exit 0"
finish
clear "$limited"

begin group-below
limited=$group
make_limited_group
start_in_root sh -c "echo \$\$ >$limited/cgroup.procs; (${eat}48M); exit 0"
finish

# Those who may not read the kernel's log. as_nobody SCRIPT: the job, without single quotes.
as_nobody() {
    job=/jobs/nobody/$name.json
    user=nobody
    in_group "$group" su nobody -s /bin/sh -c "exec jobshim --job $job -- sh -c '$1'" &
    shim=$!
}

begin no-log-worker 32M
as_nobody "${eat}48M"
finish

begin no-log-child-4 32M
as_nobody "(${eat}48M); exit 4"
finish

begin no-log-neighbour 32M
as_nobody "echo \$\$ >$pid_file; exec sleep 1000"
read_worker
eat_as_neighbour 48M
kill -KILL "$worker"
finish

begin no-log-group-all 32M
echo 1 >"$group/memory.oom.group"
as_nobody "${eat}48M"
finish

# Swap makes an end come later, not otherwise. The disk is one in memory, all of it there already.
insmod /brd.ko rd_nr=1 rd_size=32768
dd if=/dev/zero of=/dev/ram0 bs=1M count=32 2>/dev/null
mkswap /dev/ram0 >/dev/null
swapon /dev/ram0

begin swap 32M
echo 8M >"$group/memory.swap.max"
start sh -c "${eat}64M"
finish

# No limit but the machine's.
begin global-swap
start sh -c "${eat}1G"
finish

swapoff /dev/ram0

begin global
start sh -c "${eat}1G"
finish

begin global-child-4
start sh -c "(${eat}1G); exit 4"
finish

# The machine's memory is out, but it was not the job that was hit.
begin global-elsewhere
start_sleeper
elsewhere=$groups/elsewhere
mkdir "$elsewhere"
in_group "$elsewhere" sh -c "${eat}1G" &
wait $!
kill -KILL "$worker"
finish
clear "$elsewhere"

begin global-root
start_in_root sh -c "${eat}1G"
finish

echo '#complete' >&3
poweroff -f
