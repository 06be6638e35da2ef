#pragma once

// Records the system calls of a run with strace, and injects a fault into any one of them: with
// strace or with probe/inject.cpp, which starts several times as fast and can do more.
//
// Caveats
//  - The calls of each process are numbered by name. Calls that name `directory` or a file in it
//  are
//    numbered among themselves, so that their numbers do not depend on how many processes the
//    machine has: the shim reads /proc/PID/stat of each. Other calls are numbered among all calls
//    of their name, and after that scan the number may be off by a few.
//  - Use a working directory (Options::cwd) outside `directory`: otherwise every relative look-up
//    counts as one in it.

#include <filesystem>
#include <string>
#include <vector>

#include "integration/support.hpp"

namespace harness {

/// What a call does, whichever form of it the C library uses: "openat" also for musl's open;
/// "newfstatat" for stat, lstat and fstat; "clone" for anything that creates a process.
std::string kind_of(const std::string& name);

/// True for a call that only serves the heap. How many there are, and when, varies from run to run
/// with the length of a pid, so none of them is a point at which to stop or kill a process.
bool is_heap_call(const std::string& name);

struct Call {
    std::string name;  ///< as strace has it: "openat" or "open"
    long number = 0;   ///< of the system call on this machine
    int nth = 0;       ///< from 1, in its process, among the calls of this name
    int process = 0;   ///< 0: the program itself; 1: its first child, and so on
    std::string line;  ///< what strace wrote, for people (file descriptors with their paths)
    Words paths;       ///< if not empty: numbered only among the calls on these; a directory first
    std::string kind() const { return kind_of(name); }
    std::string describe() const;  ///< "openat 3", for messages
};

/// The command that runs argv under strace, which writes to `trace`.
Words under_strace(const fs::path& trace, const Words& options, const Words& argv);

/// Runs argv to its end and returns the calls of all its processes, in order. Of a scan of /proc,
/// only the look at the first unrelated process is included.
std::vector<Call> record(Sandbox& box, const Words& argv, const fs::path& directory,
                         const Options& options = {});
/// The calls of one process, in order, without those of its heap.
std::vector<Call> calls_of(int process, const std::vector<Call>& all);

/// False where probe/inject.cpp does not know the machine.
bool can_tamper_with_syscalls();

/// The command that runs argv and injects a fault into exactly this call: "signal=SIGKILL",
/// "error=ENOSPC", or another that strace knows ("signal=SIGSTOP"). Only the program itself is
/// traced, so that no child of it is hit. `how_often` as in strace: "" (once), "+" (this call and
/// all after it). `trace` then contains "INJECTED" or "+++ killed by SIGKILL".
Words inject(const Call& call, const std::string& fault, const fs::path& trace, const Words& argv,
             const std::string& how_often = "");
/// With strace, and the children are traced too. Beware: the call with this name and number is then
/// hit in every process.
Words inject_with_children(const Call& call, const std::string& fault, const fs::path& trace,
                           const Words& argv, const std::string& how_often = "");

enum class Tampering {
    fail,        ///< the call is not made, and fails
    fail_after,  ///< the call is made but reported as failed, as close(2) may be
    shorten,     ///< half as many bytes as requested (write), but at least one
};
/// The command that runs argv and tampers with `call`, made by the program or by a child of it that
/// has not yet executed another program. Only where can_tamper_with_syscalls().
Words tamper(const Call& call, Tampering how, int error, const fs::path& trace, const Words& argv);

}  // namespace harness
