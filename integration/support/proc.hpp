#pragma once

// What the system shows of any process from outside.

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace harness {

struct ProcessStat {
    char state = 0;  ///< 0 if there is no such process
    pid_t parent = 0, group = 0, session = 0;
};
ProcessStat process_stat(pid_t pid);
char process_state(pid_t pid);
/// Field 22 of /proc/PID/stat.
std::uint64_t start_time_of(pid_t pid);
bool alive(pid_t pid);  ///< neither gone nor in state Z or X
std::vector<pid_t> children_of(pid_t pid);
/// All descendants of this process that are alive.
std::vector<pid_t> living_descendants();
/// Its pid and command line, for messages.
std::string command_of(pid_t pid);
/// The open file descriptors of a process: number -> link target.
std::map<int, std::string> descriptors_of(pid_t pid);
/// True if one of the file descriptors of `watcher` is a pidfd of `watched`.
bool watches(pid_t watcher, pid_t watched);
/// Summed over all its threads.
long voluntary_switches(pid_t pid);
std::string signal_name(int number);
bool in_path(const std::string& program);

}  // namespace harness
