#pragma once

// Records the system calls of a run, and lets a fault hit any one of them, with strace.
//
// Caveats
//  - strace counts the calls of each process by name. Those that name `folder`, or a file in it,
//  are
//    counted among themselves (strace -P), so that they are found again however many processes the
//    machine has: the shim reads /proc/PID/stat of each. Others are counted among all of their
//    name, and after that scan their number may be off by a few.
//  - Give a working directory outside the folder (Options::cwd): else every relative look-up
//    counts as one of the folder's.

#include <filesystem>
#include <string>
#include <vector>

#include "integration/support.hpp"

namespace harness {

/// What a call does, whichever of its forms a C library makes: "openat" for musl's open, too;
/// "newfstatat" for stat, lstat and fstat; "clone" for whatever makes a process.
std::string kind_of(const std::string& name);

/// One that concerns nobody but the heap. How many there are, and when, differs from run to run
/// with the length of a pid; so none of them is a place to stop or to kill at.
bool is_of_the_heap(const std::string& name);

struct Call {
    std::string name;  ///< as strace has it: "openat", or "open"
    int nth = 0;       ///< from 1, in its process, among those of this name
    int process = 0;   ///< 0: the program itself; 1: its first child, and so on
    std::string line;  ///< what strace wrote, for people (file descriptors with their paths)
    Words paths;       ///< if not empty: counted among the calls on these alone
    std::string kind() const { return kind_of(name); }
    std::string in_words() const;  ///< "openat 3", for messages
};

/// The command that runs argv under strace, which writes to `trace`.
Words under_strace(const fs::path& trace, const Words& options, const Words& argv);

/// Runs argv to its end and returns the calls of all its processes, in the order they were made. Of
/// a scan of /proc, only the look at the first strange process is included.
std::vector<Call> record(Sandbox& box, const Words& argv, const fs::path& folder,
                         const Options& options = {});
/// Those of one process, in their order, but for its heap's.
std::vector<Call> calls_of(int process, const std::vector<Call>& all);

/// The command that runs argv and has `fault` ("signal=SIGKILL", "error=ENOSPC", "retval=1",
/// "delay_enter=300000") happen to this very call. Only the program itself is traced, so that no
/// child of it is hit. `how_often` as in strace: "" (once), "+" (and all after it).
Words inject(const Call& call, const std::string& fault, const fs::path& trace, const Words& argv,
             const std::string& how_often = "");
/// The same, but the children are traced too. Beware: the same number of the same name is then hit
/// in each process.
Words inject_with_children(const Call& call, const std::string& fault, const fs::path& trace,
                           const Words& argv, const std::string& how_often = "");

}  // namespace harness
