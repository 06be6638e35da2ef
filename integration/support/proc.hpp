#pragma once

// What the system tells of any process, from outside.

#include <sys/types.h>

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
bool alive(pid_t pid);  ///< not gone, not Z, not X
std::vector<pid_t> children_of(pid_t pid);
/// Of this process: its children, theirs, and so on.
std::vector<pid_t> living_descendants();
/// Its number and its words, for messages.
std::string command_of(pid_t pid);
/// Where the descriptors of a process lead: number -> link.
std::map<int, std::string> descriptors_of(pid_t pid);
/// True if one of the descriptors of `watcher` is a pidfd of `watched`.
bool watches(pid_t watcher, pid_t watched);
/// Summed over its threads.
long voluntary_switches(pid_t pid);
std::string signal_name(int number);
bool in_path(const std::string& program);

}  // namespace harness
