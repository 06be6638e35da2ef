#pragma once

// A process of a test: how it is started, what it wrote and how it ended.
//
// Caveats
//  - It starts from a clean slate: a session of its own, all signals at their default and
//    unblocked, no core dumps, stdin from /dev/null, stdout and stderr into memory files, no other
//    descriptor. So neither a terminal nor ctest nor make can colour a result.
//  - An orphan stays a zombie until a wait_until() reaps it, as under a slow pid 1. That is meant.
//  - Not for threads: the child runs C++ between fork and exec.

#include <sys/types.h>

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "integration/support/descriptors.hpp"
#include "integration/support/files.hpp"
#include "integration/support/waiting.hpp"

namespace harness {

struct Result {
    int status = 0;  ///< raw, as from waitpid
    std::string out, err;
    Milliseconds wall{};
    std::string ended() const;  ///< "exit 3", "SIGKILL"
    int code() const;           ///< -1 if a signal ended it
};

struct Options {
    std::map<std::string, std::string> env = {};
    fs::path cwd = {};                          ///< the sandbox's folder
    std::string input = {};                     ///< what stdin holds
    std::vector<std::pair<int, int>> fds = {};  ///< number in the child -> ours
    std::function<void()> before_exec = {};     ///< the last thing the child does
    bool own_session = true;
    Milliseconds limit = 20s;  ///< stretched; after it all is killed and the test fails
};

/// LeakSanitizer needs a process of its own, and to be nobody's tracee: the environment for where
/// it cannot have that.
inline const std::map<std::string, std::string> no_leak_search{{"ASAN_OPTIONS", "detect_leaks=0"}};

class Process {
public:
    Process() = default;
    /// Starts `argv`, in `cwd` unless the options have another.
    Process(const Words& argv, const Options& options, const fs::path& cwd);
    pid_t pid() const { return pid_; }
    void kill(int signal) const;
    bool running() const;
    /// Its end; beyond `limit` (stretched) everything is killed and the test fails.
    Result wait(Milliseconds limit = 20s);
    std::string out() const;  ///< what it (and who else has its stdout) wrote so far
    std::string err() const;

private:
    pid_t pid_ = -1;
    Clock::time_point begin_;
    Words argv_;
    Fd out_, err_, pidfd_;
};

/// Whatever lives of what this process and its children started.
void kill_everything();
/// A new test begins: nothing has hung in it yet.
void begin_processes();

/// For use in before_exec: ends the child with the reason if a call failed.
void must(long result, const char* what);
/// True if a child can do `attempt` (which uses must()).
bool child_can(const std::function<void()>& attempt);
/// For use in before_exec: a mount namespace in which nothing leaks out.
void own_mounts();
void become_nobody();

}  // namespace harness
