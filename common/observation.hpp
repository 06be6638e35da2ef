// Gathers what the system shows of a job, and has it judged. Changes nothing.
//
// A free lock counts only if two probes found it free and both reads of the job file gave the same
// bytes (SPEC rule 4.5); else all is gathered anew.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "common/heartbeat.hpp"
#include "common/job_document.hpp"
#include "common/job_files.hpp"
#include "common/process_identity.hpp"
#include "common/verdict.hpp"

namespace jobshim {

// Who looks, and from where. Made once in main.
struct Observer {
    ShimIdentity here;            // this very process
    std::string state_directory;  // "" if there is none
};

struct Observation {
    // Nothing: no such file, or one that is no JSON object (then `trouble` says so).
    std::optional<JobDocument> document;
    bool file_exists = false;
    bool is_torn = false;  // no JSON object, which a writer may be about to mend
    std::string trouble;
    bool look_failed = false;         // the system kept us from reading it; `trouble` says how
    std::string obstacle_to_the_end;  // so too a copy of the end: nobody can say it is not known

    Probe probe;
    // The run that the lock and the record speak of: the record's, or the heartbeat file's if the
    // host has overwritten the record. Nothing if no shim has taken on what is asked for now.
    std::optional<RunRecord> run;
    // An end of this run that lies outside the record.
    std::optional<FinalWord> known_end;
    // The OOM killer's counters when this run began, if its heartbeat file tells.
    std::optional<OomBaseline> oom;
    // Somebody asked for its end; looked for only once the shim is dead.
    std::optional<CancelRequest> cancelled;
    bool heartbeat_agrees = false;  // the heartbeat file is this run's, worker and all
    bool worker_was_started = false;
    Place place = Place::here;

    Sighting sighting;
    Verdict verdict;

    Status status() const { return document ? document->status() : Status::none; }
};

// How long a process that has just lost its lock (or its shim) may take to be gone.
constexpr std::chrono::milliseconds death_patience{1000};

// How to look at the heartbeat file where this process holds a lock of it: the path must not be
// opened then (heartbeat.hpp). Empty: by the path.
using Prober = std::function<Probe()>;

// Nothing if there is none that can be read, or that counts: only root and the job's owner may end
// it, so only their files do, whoever else may write the directory.
std::optional<CancelRequest> read_cancel_request(const JobFiles& files, std::uint32_t owner);

// Never throws for what a job file may hold.
Observation observe(const JobFiles& files, const Observer& observer, const Prober& prober = {});

// For one who looks again and again: a beat that changes between two looks is a sign of life where
// nothing else can be known, until the next one is overdue.
class BeatMemory {
public:
    // Marks the observation if its beat was seen to move here, and judges anew.
    void compare(const std::string& job_file, Observation& observation);

private:
    struct Seen {
        std::int64_t mtime_ns = 0;
        std::optional<std::chrono::nanoseconds> moved_at;  // monotonic
    };
    std::map<std::string, Seen> seen_;  // by job file
};

}  // namespace jobshim
