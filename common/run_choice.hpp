// Decides which run a job's record and its heartbeat file refer to. Pure: every row of the decision
// is a row of a unit test.
//
// The two can differ: a host writes an old copy of its record back, or requests a new run; another
// shim has taken the lock but not written the record yet; the job file was renamed or copied.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "common/exit_reason.hpp"
#include "common/heartbeat_lines.hpp"
#include "common/run_record.hpp"

namespace jobshim {

// What the files say, before any process is looked up.
struct RunSigns {
    Status status = Status::none;  // of the record
    std::optional<RunRecord> recorded;
    std::string created_at;  // ISO 8601, from the record; "" if absent
    std::string started_at;
    std::string updated_at;
    std::string pid;                // the record's, as its JSON has it
    std::int64_t written_ms = 0;    // when the record was last written, by its file; 0 if unknown
    std::int64_t last_beat_ms = 0;  // likewise
    Heartbeat beat;
    bool lock_is_held = false;
    std::string job_file;  // its path in UTF-8, as a heartbeat file names it
    std::string boot_id;   // the observer's
};

struct RunChoice {
    // The record's, or the heartbeat file's if the host has overwritten the record. Nothing if no
    // shim has taken on the current request.
    std::optional<RunRecord> run;
    std::optional<Conclusion> known_end;  // in the heartbeat file but not in the record
    std::optional<OomBaseline> oom;       // the OOM killer's counters when this run began
    std::optional<Activity> activity;     // of its worker
    bool heartbeat_agrees = false;  // the heartbeat file is this run's, and names the same worker
    // The heartbeat file is another job's, moved to this name: neither its lock nor its text
    // counts.
    bool heartbeat_is_anothers = false;
    bool worker_was_started = false;
    bool new_run_began = false;   // see Sighting
    bool has_run_before = false;  // see Sighting
};

RunChoice choose_run(RunSigns signs);

}  // namespace jobshim
