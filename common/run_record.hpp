// What is recorded about a run, as values. Pure.
//
// Caveats: a `pid` means something only together with the boot id and the pid namespace of `shim`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/exit_reason.hpp"
#include "common/shim_identity.hpp"

namespace jobshim {

enum class Group { own, share };

struct WorkerIdentity {
    int pid = 0;
    std::optional<std::uint64_t> start_time;
    Group group = Group::own;
    std::optional<int> session;  // in which it was started; only with a process group of its own

    bool operator==(const WorkerIdentity&) const = default;
};

struct LogStart {
    std::string file;         // exact bytes
    std::int64_t offset = 0;  // where this run begins
    // The size of the file when this run ended; nothing: not known.
    std::optional<std::int64_t> end = {};
};

// The OOM killer's counters at the start of a run, to be compared with later ones.
struct OomBaseline {
    std::string group;    // cgroup, as in /proc/self/cgroup; "" for the whole machine
    std::string counter;  // the file that has `oom_kill N`
    std::uint64_t kills = 0;
    std::optional<std::uint64_t> group_kills;  // kills of the whole cgroup (memory.oom.group)
    std::optional<std::uint64_t> kills_below;  // in the cgroup and its descendants
    std::int64_t at_us = 0;                    // CLOCK_MONOTONIC

    bool operator==(const OomBaseline&) const = default;
};

// For how long the worker had shown no sign of work when its shim last looked.
struct Activity {
    std::optional<std::int64_t> silent_ms;  // since its log grew; nothing: it has none that tells
    std::int64_t no_cpu_ms = 0;             // since it or one of its descendants used the CPU

    bool operator==(const Activity&) const = default;
};

// The `jobshim` member: one run.
struct RunRecord {
    ShimIdentity shim;  // pid 0: no shim, and only `exit` is set
    std::optional<WorkerIdentity> worker;
    std::string heartbeat_file;
    std::int64_t interval_ms = 5000;
    std::optional<std::int64_t> stall_after_ms;  // without a sign of work; nothing: never
    bool kill_on_shim_death = true;
    bool expect_record = false;  // the worker must write a final status itself
    std::optional<LogStart> log;
    std::optional<CancelRequest> cancel;
    std::string previous;  // JSON text of the previous run's exit; "" if none
    std::optional<ExitRecord> exit;
    std::vector<std::string> command;      // UTF-8; only if the file's `command` differs
    std::vector<std::string> raw_command;  // exact bytes if argv is not UTF-8; else empty
    std::string raw_cwd;                   // likewise
    // The job of a codex-companion state directory that this run belongs to; "" if none.
    std::string companion_job;
    // The member's text as it was read. What this version does not know is preserved from it.
    std::string source;
};

}  // namespace jobshim
