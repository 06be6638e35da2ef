// Which run a job's record and its heartbeat file speak of. Pure: every row of the decision is a
// row of a unit test.
//
// The two may differ. A host writes an old copy of its record back, or asks for a new run; another
// shim has taken the lock and not yet written the record; the job file was renamed, or copied.
#pragma once

#include <optional>
#include <string>

#include "common/exit_reason.hpp"
#include "common/heartbeat_lines.hpp"
#include "common/run_record.hpp"

namespace jobshim {

// What the files tell, before any process is looked up.
struct RunSigns {
    Status status = Status::none;  // of the record
    std::optional<RunRecord> recorded;
    std::string created_at;  // ISO 8601, as the record has them; "" where it has none
    std::string started_at;
    std::string updated_at;
    Heartbeat beat;
    bool lock_is_held = false;
    std::string job_file;  // its path in UTF-8, as a heartbeat file names it
    std::string boot_id;   // of the one who looks
};

struct RunChoice {
    // The record's, or the heartbeat file's if the host has overwritten the record. Nothing if no
    // shim has taken on what is asked for now.
    std::optional<RunRecord> run;
    std::optional<FinalWord> known_end;  // which the heartbeat file has, and the record has not
    std::optional<OomBaseline> oom;      // the OOM killer's counters when this run began
    bool heartbeat_agrees = false;       // the heartbeat file is this run's, worker and all
    bool worker_was_started = false;
    bool new_run_began = false;   // see Sighting
    bool has_run_before = false;  // likewise
};

RunChoice choose_run(RunSigns signs);

}  // namespace jobshim
