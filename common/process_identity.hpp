// What identifies a process beyond a pid, which may be reused: start time, boot, pid namespace,
// host.
//
// Caveats: without a /proc of our own pid namespace, start times are unknown and a live pid proves
// nothing. Start times are adjusted by the reader's time namespace, so they cannot identify a
// process across time namespaces.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/place.hpp"
#include "common/process_handle.hpp"
#include "common/run_record.hpp"
#include "common/unique_fd.hpp"
#include "common/verdict.hpp"

namespace jobshim {

// The kernel's PROC_PID_INIT_INO: the initial pid namespace always has this inode.
constexpr std::uint64_t initial_pid_namespace = 0xEFFFFFFCU;

struct ProcessStat {
    int pid = 0;
    char state = '?';
    int parent = 0;
    int group = 0;
    int session = 0;
    int terminal = 0;  // device number; 0: none
    std::uint64_t start_time = 0;
    std::int64_t cpu_ticks = 0;  // used by it and by its children that it has waited for
    std::uint32_t owner = 0;     // effective uid; set only by members_of_group
    std::string command;         // the kernel keeps at most 15 bytes
};

// Also if a debugger keeps it.
constexpr bool is_stopped(const ProcessStat& stat) {
    return stat.state == 'T' || stat.state == 't';
}

// Nothing if the process is gone or cannot be read.
std::optional<ProcessStat> read_process_stat(int pid);
ProcessStat own_process_stat();  // zeros where /proc is missing

// `own` is the stat of this process, or of a child forked from it.
ShimIdentity identity_of_this_process(const ProcessStat& own);

// Alive, dead (gone, a zombie whose threads have all ended, or its pid reused), or unknowable from
// here. A process that we are not permitted to signal is alive.
Liveness look_up_process(int pid, std::optional<std::uint64_t> start_time);

// Empty if the process is gone, is not the one meant, or cannot be watched; `look_up_process` tells
// these apart.
ProcessHandle open_process(int pid, std::optional<std::uint64_t> start_time);

// True once the process has ended, false if the timeout passes first. Negative: without limit.
bool wait_for_end(const ProcessHandle& process, std::chrono::milliseconds timeout);

// Like look_up_process, but gives a live process up to `patience` to end.
Liveness look_up_patiently(int pid, std::optional<std::uint64_t> start_time,
                           std::chrono::milliseconds patience);

// How a process that is not our child ended: the status that wait(2) would give its parent.
// `process` must have been opened while it was alive, and have ended. Nothing if that cannot be
// known, as on Linux before 6.15.
std::optional<int> wait_status_of(const ProcessHandle& process);

// What blocks a process that should have ended. Nothing if one of its threads is running (it may
// still end) or all have ended. State '?' if /proc does not say.
struct Hanging {
    char state = '?';   // see proc(5); D takes precedence
    std::string where;  // the kernel function; "" if it cannot be read
};
std::optional<Hanging> find_blocker(int pid);

// This process's real uid as the user namespace around its own has it: in a rootless container,
// anybody is 0. Nothing if it has none there.
std::optional<std::int64_t> own_user_outside();

// True if the process is known to ignore the signal at this moment.
bool ignores(int pid, int signal);

// The process's effective uid according to /proc; nothing if the process is gone or /proc is
// unusable.
std::optional<std::uint32_t> owner_of_process(int pid);

// The live members of a process group, except the process `except`.
std::vector<ProcessStat> members_of_group(int group, int except);
// CPU time that the worker, its descendants and its own process group have used, in ticks. It
// changes whenever one of them has used some; it may fall, when one of them is gone.
std::int64_t cpu_ticks_of(const WorkerIdentity& worker);
// True if it is certain that no process or thread was started in this pid namespace after `pid`,
// which must not be reaped yet: while it keeps its pid, the kernel cannot have come round to that
// number again. In that case it has left no process behind. Also false if this cannot be
// determined.
bool is_newest_process(int pid);

// A number that no other process of this boot ever has. On Linux before 6.9 all processes have the
// same one. Nothing if the process is gone.
std::optional<std::uint64_t> process_inode_of(int pid);

// Start time in milliseconds since 1970, by the current wall clock. The process must be of this
// boot.
std::int64_t wall_start_of(const ProcessStat& stat);

// The path of this process's program; "" if it is unknown.
std::string path_of_own_program();

// The process's arguments, each followed by a null byte; "" if they cannot be read.
std::string command_line_of(int pid);

// The value that this variable had when the process executed its program; nothing if there is none,
// or if it cannot be read. Another process cannot change it.
std::optional<std::string> initial_environment_of(int pid, const std::string& variable);

// A path to what `path` means to another process: in its working directory and mount namespace.
// Only for those that may look into that process.
std::string path_as_seen_by(int pid, const std::string& path);

// The command lines of all readable processes named `name`.
struct RunningCommand {
    int pid = 0;
    std::uint64_t start_time = 0;
    std::vector<std::string> arguments;
    std::uint32_t owner = 0;  // who started it: its real uid
};
std::vector<RunningCommand> find_processes_named(const std::string& name);

// A process whose command line, as the kernel has it, fits. Of this pid namespace.
std::optional<int> find_process(const std::function<bool(std::string_view command_line)>& fits,
                                std::uint32_t owner);

}  // namespace jobshim
