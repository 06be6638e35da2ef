#include "shim/jobctl/outcome.hpp"

#include <algorithm>

namespace jobshim {

const std::string_view exit_status_table =
    "Exit status:\n"
    "  0    completed\n"
    "  1    failed, or lost\n"
    "  2    bad usage, or a JOB that could be several\n"
    "  3    active: queued, running, stalled or orphaned\n"
    "  4    no such job\n"
    "  5    cancelled\n"
    "  6    unknown: it cannot be told from here\n"
    "  124  wait: timed out\n"
    "  125  jobctl itself failed\n"
    "Several jobs: the first of 125, 4, 124, 6, 1, 5, 3, 0 that occurred; wait --any: that of\n"
    "the job that ended; wait --mirror: the worker's own, 128+n for a signal.\n"
    "list, logs, settle, reap and prune: 0 if they did their work; logs: 1 if the job keeps no "
    "log.\n"
    "cancel: 0 if the job ended as cancelled, else 1; doctor: 1 if a job here could end in "
    "unknown.";

int exit_status(Outcome outcome) {
    switch (outcome) {
        case Outcome::completed:
            return 0;
        case Outcome::failed:
            return 1;
        case Outcome::active:
            return 3;
        case Outcome::no_such_job:
            return 4;
        case Outcome::cancelled:
            return 5;
        case Outcome::unknown:
            return 6;
        case Outcome::timed_out:
            return 124;
        case Outcome::own_failure:
            return 125;
    }
    return 125;
}

Outcome outcome_of(State state) {
    switch (state) {
        case State::completed:
            return Outcome::completed;
        case State::failed:
        case State::lost:
            return Outcome::failed;
        case State::cancelled:
            return Outcome::cancelled;
        case State::queued:
        case State::running:
        case State::stalled:
        case State::orphaned:
            return Outcome::active;
        case State::unknown:
            return Outcome::unknown;
    }
    return Outcome::unknown;
}

Outcome gravest_of(const std::vector<Outcome>& outcomes) {
    for (const Outcome grave :
         {Outcome::own_failure, Outcome::no_such_job, Outcome::timed_out, Outcome::unknown,
          Outcome::failed, Outcome::cancelled, Outcome::active})
        if (std::find(outcomes.begin(), outcomes.end(), grave) != outcomes.end()) return grave;
    return Outcome::completed;
}

}  // namespace jobshim
