// What a command came to, and the exit status that says so (SPEC section 1). Pure.
#pragma once

#include <string_view>
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

// The one that several jobs come to together: what needs attention most.
Outcome gravest_of(const std::vector<Outcome>& outcomes);

// A command that does its work and has no job's verdict to tell.
constexpr Outcome done = Outcome::completed;

constexpr int usage_exit_status = 2;

// For the end of --help.
extern const std::string_view exit_status_table;

}  // namespace jobshim
