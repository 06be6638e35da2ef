#!/bin/sh
# Files in a job's directory are reached through common/directory.hpp alone, by plain names below an
# open descriptor. So no other file of the programs makes a system call that takes a path, except
# those below, each for paths that no job directory can hold.
set -u
cd "$(dirname -- "$0")/.." || exit 1

calls='open|openat|creat|stat|lstat|fstatat|statfs|statvfs|access|faccessat|unlink|unlinkat|rename|renameat|link|linkat|symlink|symlinkat|mkdir|mkdirat|rmdir|mkfifo|mknod|opendir|realpath|readlink|readlinkat|chmod|fchmodat|chown|lchown|fchownat|truncate|utimensat|chdir'
streams='std::(i|o)?fstream|std::fopen|std::rename|std::remove\(|std::filesystem'

status=0
for file in $(find common shim -name '*.?pp' | sort); do
    case $file in
        common/directory.cpp) continue ;;                              # the door
        common/system_calls_linux.cpp) continue ;;                     # what it is made of; /etc/passwd
        common/kernel_file.cpp | common/*_linux.cpp) continue ;;       # /proc, /sys, /dev
        shim/jobshim/*_linux.cpp | shim/jobctl/*_linux.cpp) continue ;; # likewise; inotify by descriptor
        shim/jobshim/command_search.cpp) continue ;;                   # COMMAND
        shim/jobshim/start_failure.cpp) continue ;;                    # why COMMAND cannot be executed
        shim/jobshim/log_file.cpp) allowed='named\.c_str' ;;           # the log that the user names
        *) allowed='"/dev/null"' ;;
    esac
    found=$(sed -E 's,//.*,,' "$file" | grep -nE "(^|[^_[:alnum:]>.])::($calls)\(|$streams" | grep -vE "$allowed")
    [ -z "$found" ] || {
        printf '%s\n' "$found" | sed "s,^,$file:,"
        status=1
    }
done
exit "$status"
