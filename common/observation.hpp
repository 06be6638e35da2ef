// Gathers what the system shows of a job and judges it. Changes nothing.
//
// A free lock counts only if two probes found it free and both reads of the job file returned the
// same bytes; otherwise everything is gathered again.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "common/heartbeat.hpp"
#include "common/job_document.hpp"
#include "common/job_files.hpp"
#include "common/process_identity.hpp"
#include "common/verdict.hpp"

namespace jobshim {

// Who is looking, and from where. Created once in main.
struct Observer {
    ShimIdentity here;            // this process
    std::string state_directory;  // "" if there is none
    // After this moment (monotonic) nothing is waited for any more: what is not certain by then
    // stays uncertain. For a survey of many jobs, any of which may be made to keep us waiting.
    std::optional<std::chrono::nanoseconds> deadline = {};

    // Workers that have been given the time to die with their shims, and did not: they are not
    // given it again.
    struct Outlived;
    std::shared_ptr<Outlived> outlived = make_outlived();
    static std::shared_ptr<Outlived> make_outlived();

    // What is left of a patience.
    std::chrono::milliseconds patience(std::chrono::milliseconds whole) const;
    bool is_late() const;
    // The deadline is at most that far away.
    void hurry(std::chrono::milliseconds whole);
};

struct FoundRequest {
    CancelRequest request;
    std::string name;  // of its file
};

struct Observation {
    // Nothing if there is no such file, or if it is not a JSON object (`trouble` then says so).
    std::optional<JobDocument> document;
    bool file_exists = false;
    std::int64_t modified_ns = 0;  // when the file was last written; 0 if unknown
    std::int64_t changed_ns = 0;   // when it, its name or its mode last changed, likewise
    mode_t mode = 0;               // its mode, likewise
    bool is_torn = false;          // not a JSON object, but a writer may be about to complete it
    std::string trouble;
    bool look_failed = false;         // a system error kept us from reading it; see `trouble`
    std::string obstacle_to_the_end;  // why what tells of its end, if it exists, cannot be read

    Probe probe;
    // The run that the lock and the record refer to: the record's, or the heartbeat file's if the
    // host has overwritten the record. Nothing if no shim has taken on the current request.
    std::optional<RunRecord> run;
    // An end of this run that is recorded outside the job file.
    std::optional<Conclusion> known_end;
    // The OOM killer's counters when this run began, if its heartbeat file has them.
    std::optional<OomBaseline> oom;
    // The request to cancel it; only read once the shim is dead.
    std::optional<FoundRequest> cancelled;
    bool heartbeat_agrees = false;  // the heartbeat file is this run's, and names the same worker
    std::string beats_for;          // the job file that the heartbeat file names
    bool worker_was_started = false;
    Place place = Place::here;

    Sighting sighting;
    Verdict verdict;
    bool is_late = false;  // the observer's deadline has passed: no more evidence is gathered

    Status status() const { return document ? document->status() : Status::none; }
};

// How long a process that has just lost its lock (or its shim) may take to die.
constexpr std::chrono::milliseconds death_patience{1000};

// How to probe the heartbeat file while this process holds a lock on it: the path must not be
// opened then (heartbeat.hpp). If empty, it is probed by its path.
using Prober = std::function<Probe()>;

// The request to cancel this run. Nothing if there is none that can be read and that counts: one
// for another run does not, nor does one that is neither root's nor the job's owner's. Where
// somebody else has taken its name, it has a random one that begins with it. Throws Refusal if it
// is too late to search for that one.
std::optional<FoundRequest> find_cancel_request(const JobFiles& files, const ShimIdentity& run,
                                                const Observer& observer);

// The copy of this run's end that could not be written to its job file; nothing if there is none.
// Throws std::system_error or Refusal if that cannot be determined.
struct FoundCopy {
    Directory directory;
    std::string name;
    Conclusion end;
};
std::optional<FoundCopy> find_unrecorded(const JobFiles& files, const Observer& observer,
                                         const ShimIdentity& shim);

// Never throws because of what a job file contains.
Observation observe(const JobFiles& files, const Observer& observer, const Prober& prober = {});

// For repeated looks: where nothing else can be known, a beat that changed between two looks is a
// sign of life until the next beat is overdue.
class BeatMemory {
public:
    // If the beat was seen to change here, marks the observation; judges it again.
    void compare(const std::string& job_file, Observation& observation);

private:
    struct Seen {
        std::int64_t mtime_ns = 0;
        std::optional<std::chrono::nanoseconds> moved_at;  // monotonic
    };
    std::map<std::string, Seen> seen_;  // by job file
};

}  // namespace jobshim
