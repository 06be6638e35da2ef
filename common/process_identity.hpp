// Who a process is, beyond a number that is used again: pid, start time, boot, pid namespace, host.
//
// Caveats: without a /proc of one's own pid namespace a start time is unknown and a living pid
// proves nothing. Start times are seen through the reader's time namespace, so from another one
// nobody can be told by them.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/place.hpp"
#include "common/process_handle.hpp"
#include "common/run_record.hpp"
#include "common/unique_fd.hpp"
#include "common/verdict.hpp"

namespace jobshim {

// PROC_PID_INIT_INO of the kernel: the first pid namespace always has this inode.
constexpr std::uint64_t initial_pid_namespace = 0xEFFFFFFCU;

struct ProcessStat {
    int pid = 0;
    char state = '?';
    int parent = 0;
    int group = 0;
    int session = 0;
    int terminal = 0;  // device number, 0 for none
    std::uint64_t start_time = 0;
    std::uint32_t owner = 0;  // effective uid; of members_of_group only
    std::string command;      // at most 15 bytes, as the kernel keeps it
};

// Nothing if it is gone, or cannot be read.
std::optional<ProcessStat> read_process_stat(int pid);
ProcessStat own_process_stat();  // zeros where /proc is missing

// This process, or one that is forked from it.
ShimIdentity identity_of_this_process(const ProcessStat& own);

// Alive, dead (gone, a zombie whose threads have all ended, or another process under the same
// number), or unknowable here. A process that may not be signalled is alive.
Liveness look_up_process(int pid, std::optional<std::uint64_t> start_time);

// Empty if it is gone already, is not the one meant, or cannot
// be watched; `look_up_process` tells these apart.
ProcessHandle open_process(int pid, std::optional<std::uint64_t> start_time);

// True once it ended, false at the time-out.
bool wait_for_end(const ProcessHandle& process, std::chrono::milliseconds timeout);

// As look_up_process; one that is alive is given so long to be gone.
Liveness look_up_patiently(int pid, std::optional<std::uint64_t> start_time,
                           std::chrono::milliseconds patience);

// How a process that is no child of ours ended, as wait(2) would tell its parent. `process` was
// opened while it lived, and it has ended. Nothing where that cannot be known: on Linux
// before 6.15.
std::optional<int> wait_status_of(const ProcessHandle& process);

// What a process hangs on that ought to have ended. Nothing if one of its threads runs (it may come
// to its end yet), or all have ended. State '?' where /proc does not tell.
struct Hanging {
    char state = '?';   // of proc(5): D before any other
    std::string where;  // the kernel's function; "" if it may not be read
};
std::optional<Hanging> what_it_hangs_on(int pid);

// False, with errno, if it is gone (ESRCH) or may not be signalled (EPERM). 0 only asks.
bool send_signal(const ProcessHandle& process, int signal);

// Its effective user, as far as /proc tells; nothing if it is gone.
std::optional<std::uint32_t> owner_of_process(int pid);

// The living members of a process group but for `except`.
std::vector<ProcessStat> members_of_group(int group, int except);
// True if it is certain that no process and no thread was started in this pid namespace since `pid`
// was, which must not be reaped yet: it keeps its number, so the kernel cannot have come round to
// it again. Then it has left nobody behind. False also where it cannot be told.
bool is_newest_process(int pid);

// The number that no other process of this boot ever has; on Linux before 6.9 all have the same
// one. Nothing if it is gone.
std::optional<std::uint64_t> lasting_number_of(int pid);

// By the wall clock of now, in milliseconds since 1970. Of a process that was read, and is not
// another boot's.
std::int64_t wall_start_of(const ProcessStat& stat);

// Its arguments, a null byte behind each; "" if they cannot be read.
std::string command_line_of(int pid);

// The command lines of all processes named `name` that can be read here.
struct RunningCommand {
    int pid = 0;
    std::uint64_t start_time = 0;
    std::vector<std::string> arguments;
    std::string working_directory;
};
std::vector<RunningCommand> find_processes_named(const std::string& name);

}  // namespace jobshim
