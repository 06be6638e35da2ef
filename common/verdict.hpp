// From what was seen of a job to what is said of it (SPEC section 5). Pure: every row of the table
// is a row of a unit test.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "common/exit_reason.hpp"

namespace jobshim {

// Byte 0 of the heartbeat file.
enum class LifeLock {
    held,
    free,
    no_file,
    unavailable,  // no locks on this file system, or no permission to look
};

enum class Liveness {
    alive,
    dead,
    unknowable,
    none,  // no such process is recorded
};

// What was seen, each part by itself. No part draws conclusions from another.
struct Sighting {
    LifeLock lock = LifeLock::no_file;
    Liveness shim = Liveness::none;    // the recorded shim, looked up by pid and start time
    Liveness worker = Liveness::none;  // likewise
    Status status = Status::none;
    bool rebooted = false;      // an earlier boot of this very host, on a local file system
    bool end_is_known = false;  // an exit of this run lies outside the record, and not in it
    // The lock is held by another shim than the one that the record tells of: a new run has begun,
    // and a terminal status is still the last one's.
    bool new_run_began = false;
    bool has_run_before = false;  // the record tells of an end
    bool beat_seen_to_change = false;
    std::optional<std::chrono::milliseconds> beat_age;  // negative: a beat from the future
    std::chrono::milliseconds interval{5000};

    // For the sentences.
    int shim_pid = 0;
    int worker_pid = 0;
    std::string obstacle;  // why the shim cannot be looked up
    std::string end_sentence;
};

enum class State {
    queued,
    running,
    stalled,
    orphaned,
    lost,
    unknown,
    completed,
    failed,
    cancelled,
};
std::string_view word(State state);

struct Verdict {
    State state = State::unknown;
    std::string because;  // one sentence
    bool ended = false;   // a terminal status, and no shim alive
    bool settle = false;  // certainly dead: the record may be put right
};

Verdict judge(const Sighting& sighting);

// A beat is overdue after three intervals and two seconds.
std::chrono::milliseconds overdue_after(std::chrono::milliseconds interval);

}  // namespace jobshim
