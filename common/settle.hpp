// Writes the verdict on a dead job into its record. Readers do it, and a shim that starts on a
// record which the last one left active.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/job_file.hpp"
#include "common/observation.hpp"

namespace jobshim {

struct Settled {
    Observation now;         // as it is after all that was done
    bool wrote = false;      // by this call
    std::string unwritable;  // why a verdict could not be written; it is in `now` all the same
    std::vector<std::string> notices;    // for people: what was moved aside, for one
    std::optional<FinalWord> unwritten;  // what would have been written, if it was not
};

// What a caller would write on a job as it is seen; nothing to let it be. Asked again under the
// writer lock.
using Judgement = std::function<std::optional<FinalWord>(const Observation&)>;

// Every reader's: the final word on what is certainly dead.
std::optional<FinalWord> judge_dead(const Observation& seen);

// As judge_dead; and who has watched this worker to its end knows how it ended.
struct Eyewitness {
    WorkerIdentity worker;
    int wait_status = 0;
    int pid = 0;                        // of the one who watched
    std::vector<std::string> evidence;  // what he did to it
};
Judgement with_eyewitness(const Eyewitness& eyewitness);

// Observes, and settles what is to be settled. Of any number of callers at once one writes.
Settled observe_and_settle(const JobFiles& files, const Observer& observer,
                           const Judgement& judgement = judge_dead);

// As if `last` had been written; why it was not, in `why_not`.
Settled show_as_settled(Settled seen, FinalWord last, const std::string& why_not);

// The same for one who holds the writer lock.
Settled settle_under(const SettlerLock& lock, const JobFiles& files, const Observer& observer,
                     const Judgement& judgement);

// Sends a signal to an orphan and to what else is of its own group, by pidfd. Throws Refusal where
// it cannot be told for sure that they are the job's, std::system_error if it may not be done.
void signal_orphan(const Observation& seen, int signal);

// Removes what a writer that was killed left beside a job, or where it would have made one. Does
// nothing while a shim or a settler is at the job, or where that cannot be told for want of locks.
// Throws std::system_error.
void tidy(const JobFiles& files);

// What would be written on a job that is dead; what a reader shows who may not or shall not write.
FinalWord final_word_on(const Observation& observation);

// Writes the final word on a job that is over; the caller holds the writer lock and has made sure,
// under it, that it is. What is left of the worker's own group is ended first, if the worker is
// dead and was meant to die with its shim. Throws std::system_error or Refusal; then the record is
// as it was.
void settle(JobFile& file, const Observation& observation, FinalWord last);

}  // namespace jobshim
