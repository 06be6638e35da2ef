// The result of a command, and the exit status for it (jobctl(1)). Pure.
#pragma once

#include <vector>

#include "common/verdict.hpp"

namespace jobshim {

enum class Outcome {
    completed,
    failed,  // or lost
    active,  // queued, running, stalled, orphaned
    no_such_job,
    cancelled,
    unknown,
    timed_out,
    own_failure,
};

int exit_status(Outcome outcome);
Outcome outcome_of(State state);

// The outcome of several jobs together: the one that needs attention most.
Outcome worst_of(const std::vector<Outcome>& outcomes);

// For a command that has done its work and has no job's verdict to report.
constexpr Outcome done = Outcome::completed;

// Of main and of the parser: bad usage, or a JOB that is ambiguous.
constexpr int usage_exit_status = 2;

}  // namespace jobshim
