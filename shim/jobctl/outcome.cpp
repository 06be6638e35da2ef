#include "shim/jobctl/outcome.hpp"

#include <algorithm>

namespace jobshim {

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

Outcome worst_of(const std::vector<Outcome>& outcomes) {
    for (const Outcome grave :
         {Outcome::own_failure, Outcome::no_such_job, Outcome::timed_out, Outcome::unknown,
          Outcome::failed, Outcome::cancelled, Outcome::active})
        if (std::find(outcomes.begin(), outcomes.end(), grave) != outcomes.end()) return grave;
    return Outcome::completed;
}

}  // namespace jobshim
