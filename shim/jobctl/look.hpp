// One look at a job, and a survey of all the jobs of some directories.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "common/settle.hpp"
#include "common/torn_file.hpp"
#include "shim/jobctl/commands.hpp"
#include "shim/jobctl/output.hpp"

namespace jobshim {

// Settles what is certainly dead, if asked to. A job whose file was deleted is gone, whatever its
// heartbeat file still tells: it is not settled, which would bring it back.
Settled look_at(const JobFiles& files, const Observer& observer, bool settle,
                const Judgement& judgement = judge_dead);

// Absolute and without symlinks. Nothing if the directory is not there; else throws
// std::system_error.
std::optional<std::string> resolved(const std::string& directory);

// What a record with a final status says by itself.
Verdict verdict_on_terminal(const JobDocument& document);

// This very process, as the one who asks for something.
Requester requester(std::string how, const Context& context);

// No file, and no shim that holds the job.
bool is_gone(const Observation& seen);

// A beat so young that the shim may well be alive, wherever that is; one from the future is as
// young as can be.
bool has_fresh_beat(const Observation& seen);

// The end of the run that the verdict speaks of: the recorded one, or the one that would be
// recorded if it could be. Nothing while it goes on, and where the record tells none.
std::optional<ExitRecord> end_of(const Settled& settled);

// A job of a directory as the survey found it.
struct Surveyed {
    JobReport report;
    bool wrote = false;             // settled by this survey
    bool would_be_settled = false;  // if it were allowed, or could be written
    std::string failure;            // what kept the job from being looked at, if the system did
};

struct SurveyOptions {
    bool settle = true;
    bool terminal_too = true;
    bool tidy = false;  // remove what killed writers left, beside whatever job, or beside none
    // How long files that are no JSON object (yet) may take, all together: a writer may be at them.
    std::chrono::milliseconds torn_patience = torn_job_patience;
    Judgement judgement = judge_dead;
    BeatMemory* beats = nullptr;  // of one who looks again and again
};

// In no particular order. A terminal record costs one read and one scan. A directory that is not
// there holds no jobs. Throws std::system_error for one that cannot be read.
std::vector<Surveyed> survey(const Context& context, const SurveyOptions& options);

// The same, each as it is found: of 100,000 records not all need to be in memory at once.
using Visitor = std::function<void(Surveyed)>;
void survey(const Context& context, const SurveyOptions& options, const Visitor& visit);

// A mistyped --dir; that nobody has made the default one yet is no fault.
void complain_of_missing_directories(const Context& context);

}  // namespace jobshim
