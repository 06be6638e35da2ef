// Writes the verdict on a dead job into its record. Readers do it, and a shim that starts on a
// record which the last one left active.
#pragma once

#include <string>

#include "common/job_file.hpp"
#include "common/observation.hpp"

namespace jobshim {

struct Settled {
    Observation now;         // as it is after all that was done
    bool wrote = false;      // by this call
    std::string unwritable;  // why a verdict could not be written; it is in `now` all the same
};

// Observes, and settles what is certainly dead. Of any number of callers at once one writes.
Settled observe_and_settle(const JobFiles& files, const Observer& observer);

// What would be written for a job that is dead. `observation.verdict.settle` must hold.
FinalWord final_word_on(const Observation& observation);

// Writes it; the caller holds the writer lock and has made sure, under it, that the job is dead.
// Throws std::system_error or Refusal; then nothing is changed.
void write_final_word(JobFile& file, const Observation& observation, const FinalWord& last);

} // namespace jobshim
