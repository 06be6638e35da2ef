// Starts programs and measures what they use.
//
// Caveats
//  - The bench is a child subreaper: anything that a run leaves behind (conmon goes into the
//    background) is waited for too, and counts.
//  - Every program gets a session of its own, /dev/null as stdin, stdout and stderr, and no other
//    file descriptor of ours.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace bench {

using Words = std::vector<std::string>;
using Clock = std::chrono::steady_clock;
using Microseconds = std::chrono::duration<double, std::micro>;

// Ends the bench unless `ok`: throws std::system_error with errno's message.
void must(bool ok, const std::string& what);

enum class Start { posix_spawn, vfork };

pid_t start(const Words& argv, Start how = Start::posix_spawn);

struct Used {
    double wall_us = 0;
    double cpu_us = 0;   // user and system
    double faults = 0;   // page faults, minor and major
    bool all_ok = true;  // all ended with exit status 0
};

// Runs it, and everything that it leaves behind, to the end.
Used run(const Words& argv, Start how = Start::posix_spawn);

// Waits for one process; returns its raw wait status.
int wait_for(pid_t pid);
// Waits for all children.
void wait_for_all();

// How many system calls a run makes, children included, counted by strace.
std::size_t count_system_calls(const Words& argv, const std::string& trace);

void become_subreaper();
bool in_path(const std::string& program);
// Polls until `holds`; ends the bench if that takes more than 30 s.
void wait_until(const std::function<bool()>& holds, const std::string& what);

// The value that this share of them (0.5: the median) does not exceed; 0 if there are none.
double quantile(std::vector<double> values, double share);

}  // namespace bench
