// Turns what was seen of a job into a verdict (docs/how-it-knows.md). Pure: every row of that table
// is a row of a unit test.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "common/exit_reason.hpp"
#include "common/run_record.hpp"
#include "common/words.hpp"

namespace jobshim {

// The lock on byte 0 of the heartbeat file.
enum class LivenessLock {
    held,
    free,
    no_file,
    unavailable,  // the file system has no locks, or we may not look
};

enum class Liveness {
    alive,
    dead,
    unknowable,
    none,  // no such process is recorded
};

// What was seen. Each part stands by itself and draws no conclusions from another.
struct Sighting {
    LivenessLock lock = LivenessLock::no_file;
    Liveness shim = Liveness::none;    // the recorded shim, looked up by pid and start time
    Liveness worker = Liveness::none;  // the recorded worker, likewise
    Status status = Status::none;
    bool rebooted = false;      // it ran in an earlier boot of this host, on a local file system
    bool end_is_known = false;  // this run's exit is recorded, but not in the job file
    // A different shim holds the lock than the one in the record: a new run has begun, and a
    // final status is still the previous run's.
    bool new_run_began = false;
    bool has_run_before = false;  // the record has an exit
    // The heartbeat file is gone, and the job file was written after its shim's last update: it may
    // be an old copy that somebody wrote back after the end.
    bool may_be_old_copy = false;
    bool beat_seen_to_change = false;
    std::optional<std::chrono::milliseconds> beat_age;  // negative: the beat is dated in the future
    std::chrono::milliseconds interval{5000};
    std::optional<std::chrono::milliseconds> stall_after;
    std::optional<Activity> activity;

    // For the messages.
    int shim_pid = 0;
    int worker_pid = 0;
    std::string obstacle;  // why the shim cannot be looked up
    std::string end_sentence;
};

struct Verdict {
    State state = State::unknown;
    std::string because;  // one sentence
    bool ended = false;   // the status is final, and no shim is alive
    bool settle = false;  // certainly dead: the record may be corrected
};

Verdict judge(const Sighting& sighting);

// A beat is overdue after three intervals plus two seconds.
std::chrono::milliseconds overdue_after(std::chrono::milliseconds interval);

}  // namespace jobshim
