#pragma once

// A process of a test: how it is started, what it wrote and how it ended.
//
// Caveats
//  - It starts from a clean slate: its own session, all signals at their default and unblocked, no
//    core dumps, stdin from /dev/null, stdout and stderr to memory files, no other file
//    descriptors. So no terminal, ctest or make can affect a result.
//  - An orphan stays a zombie until a wait_until() reaps it, as under a slow pid 1. That is
//    intended.
//  - Not for multi-threaded programs: the child runs C++ between its start and the exec.

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
    int code() const;           ///< -1 if it was killed by a signal
};

struct Options {
    std::map<std::string, std::string> env = {};
    fs::path cwd = {};                          ///< default: the sandbox's directory
    std::string input = {};                     ///< the contents of stdin
    std::vector<std::pair<int, int>> fds = {};  ///< number in the child -> ours
    std::function<void()> before_exec = {};     ///< the last thing the child does before exec
    bool own_session = true;
    Milliseconds limit = 20s;  ///< stretched; then everything is killed and the test fails
};

/// LeakSanitizer needs a helper process and cannot run under a tracer. This environment turns it
/// off where it cannot work.
inline const std::map<std::string, std::string> no_leak_check{{"ASAN_OPTIONS", "detect_leaks=0"}};

class Process {
public:
    Process() = default;
    /// Starts `argv`, in `cwd` unless the options name another directory.
    Process(const Words& argv, const Options& options, const fs::path& cwd);
    pid_t pid() const { return pid_; }
    void kill(int signal) const;
    bool running() const;
    /// Waits for its end; after `limit` (stretched), everything is killed and the test fails.
    Result wait(Milliseconds limit = 20s);
    std::string out() const;  ///< what it (and anything else with its stdout) has written so far
    std::string err() const;

private:
    pid_t pid_ = -1;
    Clock::time_point begin_;
    Words argv_;
    fs::path cwd_;
    Fd out_, err_, pidfd_;
};

/// Kills whatever is still alive of what this process and its children started.
void kill_everything();
/// For a new test: forgets that a process hung.
void reset_processes();

/// For before_exec: ends the child, saying why, if a call failed.
void must(long result, const char* what);
/// True if a child process can do `attempt` (which uses must()).
bool child_can(const std::function<void()>& attempt);
/// For before_exec: enters a mount namespace that no mount leaks out of.
void enter_private_mounts();
void become_nobody();

}  // namespace harness
