#!/bin/sh
# Code for one system stays in the files that end in its name: what a `_linux.cpp` may use, no other
# file of the programs does. None of them chooses by #if either: CMake chooses the file.
set -u
cd "$(dirname -- "$0")/.." || exit 1

headers='#include <(linux/|asm/|sys/(epoll|eventfd|inotify|pidfd|prctl|random|sendfile|signalfd|statfs|syscall|sysmacros|timerfd|vfs)\.h)'
names='(renameat2|fallocate|pidfd|SYS_|prctl|inotify_|pipe2|dup3|ppoll|makedev|close_range|statfs)'
words='\<(O_PATH|SOCK_SEQPACKET|SOCK_CLOEXEC|st_[acm]tim|SI_KERNEL|ST_NOEXEC|ELIBBAD|CLOCK_BOOTTIME)\>'
paths='"/(proc|sys)/'

status=0
for file in $(find common shim -name '*.?pp' ! -name '*_linux.cpp' | sort); do
    # Comments, and the text of messages, are exempt.
    found=$(
        sed -E 's,//.*,,' "$file" | grep -nE "$headers|$words|$paths|^ *# *(if|elif)"
        sed -E 's,//.*,,; s/"[^"]*"//g' "$file" | grep -nE "$names"
    )
    found=$(printf '%s' "$found" | grep -v 'BOOST_VERSION')
    [ -z "$found" ] || {
        printf '%s\n' "$found" | sed "s,^,$file:,"
        status=1
    }
done
exit "$status"
