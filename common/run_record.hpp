// What is recorded of a run, as values. Pure.
//
// Caveats: `pid` numbers mean something only beside the boot id and the pid namespace of `shim`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/exit_reason.hpp"

namespace jobshim {

struct ShimIdentity {
    int pid = 0;
    std::optional<std::uint64_t> start_time;  // field 22 of /proc/PID/stat, ticks
    std::string boot_id;                      // "" where unknown, here and below
    std::string machine_id;
    std::optional<std::uint64_t> pid_namespace;  // inode of /proc/self/ns/pid
    std::string host;
    // Inode of /proc/self/ns/time; nothing for the initial one, through which start times are as
    // they are.
    std::optional<std::uint64_t> time_namespace = {};

    bool operator==(const ShimIdentity&) const = default;
};

enum class Group { own, share };

struct WorkerIdentity {
    int pid = 0;
    std::optional<std::uint64_t> start_time;
    Group group = Group::own;
    std::optional<int> session;  // the one it was started in, with a group of its own

    bool operator==(const WorkerIdentity&) const = default;
};

struct LogStart {
    std::string file;
    std::int64_t offset = 0;  // where this run begins
};

// The OOM killer's counters at the start of a run, which a later look is compared with.
struct OomBaseline {
    std::string group;    // as /proc/self/cgroup names it; "" if they are the whole machine's
    std::string counter;  // the file that holds `oom_kill N`
    std::uint64_t kills = 0;
    std::optional<std::uint64_t> group_kills;  // of the group as a whole (memory.oom.group)
    std::optional<std::uint64_t> kills_below;  // in the group and in those below it
    std::int64_t at_us = 0;                    // CLOCK_MONOTONIC

    bool operator==(const OomBaseline&) const = default;
};

// The `jobshim` member: one run.
struct RunRecord {
    ShimIdentity shim;  // pid 0: none; then there is only an exit
    std::optional<WorkerIdentity> worker;
    std::string heartbeat_file;
    std::int64_t interval_ms = 5000;
    bool kill_on_shim_death = true;
    bool expect_record = false;  // the worker must have written a terminal status itself
    std::optional<LogStart> log;
    std::optional<CancelRequest> cancel;
    std::string previous;  // JSON text of the exit of the run before; "" for none
    std::optional<ExitRecord> exit;
    std::vector<std::string> command;      // UTF-8; only where the file's `command` is another
    std::vector<std::string> raw_command;  // exact bytes, where argv is not UTF-8; else empty
    std::string raw_cwd;                   // likewise
    // The job of a codex-companion state directory that this is the run of; "" for none.
    std::string companion_job;
    // The member's text as it was read. What this version does not know is kept from it.
    std::string source;
};

}  // namespace jobshim
