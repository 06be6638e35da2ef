// One look at a job, and a survey of all the jobs in some directories.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "common/settle.hpp"
#include "common/torn_file.hpp"
#include "shim/jobctl/commands.hpp"
#include "shim/jobctl/output.hpp"
#include "shim/jobctl/unrecorded.hpp"

namespace jobshim {

// Another user's job is only looked at; whose, is said once.
Settled look_at(const JobFiles& files, const Context& context, bool settle,
                const Judgement& judgement = conclude_if_dead);

// An onlooker changes nothing; whoever asked for that is told so, once for each owner.
void say_whose_it_is(const JobFiles& files, const Context& context, const char* what_is_not_done);
void say_whose_it_is(const CompanionDirectory& state, const Context& context);

// The verdict that a record with a final status gives by itself.
Verdict verdict_on_final(const JobDocument& document);

// This process, as the requester of something.
Requester requester(std::string how, const Context& context);

// The last beat is so recent that the shim may well be alive, wherever it is; a beat from the
// future counts as recent.
bool has_fresh_beat(const Observation& seen);

// How long a survey waits in total: for processes that may be about to die, for other settlers, for
// writers. Any of its jobs may have been made to keep us waiting.
constexpr std::chrono::milliseconds survey_patience{2500};

// A job in a directory, as the survey found it.
struct Surveyed {
    JobReport report;
    bool wrote = false;             // settled by this survey
    bool would_be_settled = false;  // if it were allowed, or could be written
    bool only_looked_at = false;    // it is another user's
    std::string failure = {};       // why the system kept us from looking at the job, if it did
    std::optional<UnrecordedEnd> copy = {};  // all that is left of it, if its job file is gone
};

struct SurveyOptions {
    bool settle = true;
    bool final_too = true;
    bool tidy = false;  // remove what killed writers left, whether or not their job still exists
    bool tidy_copies = false;  // remove copies of ends that are on record by now
    // How long to wait, in total, for files that are not (yet) a JSON object: a writer may be at
    // work on them.
    std::chrono::milliseconds torn_patience = torn_job_patience;
    Judgement judgement = conclude_if_dead;
    BeatMemory* beats = nullptr;  // for a caller that looks again and again
};

// In no particular order. A final record costs one read and one scan. A directory that does not
// exist holds no jobs. Throws std::system_error for a directory that cannot be read.
std::vector<Surveyed> survey(const Context& context, const SurveyOptions& options);

// The same, but hands over each job as it is found: 100,000 records need not all be in memory at
// once.
using Visitor = std::function<void(Surveyed)>;
void survey(const Context& context, const SurveyOptions& options, const Visitor& visit);

// Complains of a mistyped --dir. A default directory that does not exist yet is not an error.
void complain_of_missing_directories(const Context& context);

}  // namespace jobshim
