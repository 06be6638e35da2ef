// Writes the verdict on a dead job into its record. Readers do this, and so does a shim that starts
// on a record that the previous shim left active.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/job_file.hpp"
#include "common/observation.hpp"

namespace jobshim {

struct Settled {
    Observation now;                   // the final state
    bool wrote = false;                // by this call
    std::string unwritable;            // why the verdict was not written; `now` has it all the same
    std::vector<std::string> notices;  // for people, such as what was moved aside
    std::optional<Conclusion> unwritten;  // the end that was not written
};

// The end that a caller would write for a job, given what is seen; nothing to leave it alone.
// Called again under the writer lock.
using Judgement = std::function<std::optional<Conclusion>(const Observation&)>;

// What every reader uses: the final word on a job that is certainly dead.
std::optional<Conclusion> conclude_if_dead(const Observation& seen);

// Like conclude_if_dead, but a process that watched this worker to its end knows how it ended.
struct Eyewitness {
    WorkerIdentity worker;
    int wait_status = 0;
    int pid = 0;                        // of the watching process
    std::vector<std::string> evidence;  // what that process did to the worker
};
Judgement with_eyewitness(const Eyewitness& eyewitness);

// Observes the job, and settles it if need be and if this process may (standing.hpp). Of any number
// of concurrent callers, one writes.
Settled observe_and_settle(const JobFiles& files, const Observer& observer,
                           const Judgement& judgement = conclude_if_dead);

// Settles what is certainly dead, if `settle` is set. A job whose file was deleted is gone,
// whatever its heartbeat file still says; settling it would bring it back, so it is not settled.
Settled look(const JobFiles& files, const Observer& observer, bool settle,
             const Judgement& judgement = conclude_if_dead);

// There is no file, and no shim holds the job.
bool is_gone(const Observation& seen);

// The end of the run that the verdict is about: the recorded one, or the one that would be recorded
// if it could be. Nothing while the run goes on, or if the record does not give its end.
std::optional<ExitRecord> end_of(const Settled& settled);

// The result as if `last` had been written; `why_not` says why it was not.
Settled show_as_settled(Settled seen, Conclusion last, const std::string& why_not);

// Like observe_and_settle, for a caller that holds the writer lock.
Settled settle_under(const SettlerLock& lock, const JobFiles& files, const Observer& observer,
                     const Judgement& judgement);

// Signals a process with this identity. 0, or an errno.
int signal_process(const ProcessHandle& process, int signal,
                   const std::optional<Identity>& identity);

// Signals an orphan and the rest of its own process group, through pidfds, with the identity of the
// job's owner. Throws Refusal if it is not certain that the processes are the job's,
// std::system_error if they may not be signalled.
void signal_orphan(const Observation& seen, const JobFiles& files, int signal);

// Removes the copy of an end that could not be written to the job file, if there is one.
void remove_unrecorded(const Observer& observer, const JobFiles& files,
                       const ShimIdentity& shim) noexcept;

// Removes the temporary files that a killed writer left beside a job file, even if that was never
// created. Does nothing while a shim or a settler has the job, or if that cannot be determined for
// lack of locks. Throws std::system_error.
void tidy(const JobFiles& files);

// What would be written for a dead job; also shown by a reader that cannot or should not write.
Conclusion conclusion_on(const Observation& observation);

// Writes the final word on a job that is over; the caller holds the writer lock and has made sure
// under it that the job is over. Then kills what is left of the worker's own process group, if the
// worker is dead and was meant to die with its shim. Throws std::system_error or Refusal; the
// record is then unchanged.
void settle(JobFile& file, const Observation& observation, Conclusion last);

}  // namespace jobshim
