// Waits for the worker's end: passes signals on, beats, times out, cancels, and looks at the end
// before anybody reaps it.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <vector>

#include "common/exit_reason.hpp"
#include "common/run_record.hpp"
#include "shim/jobshim/options.hpp"
#include "shim/jobshim/signals.hpp"

namespace jobshim {

struct SupervisorHooks {
    std::function<void()> beat;
    std::function<std::optional<CancelRequest>()> cancel_request;
};

// What SIGKILL, sent by a time-out or a cancellation, has not ended after so many looks in a row,
// one a second, is stuck in the kernel. Looks, and not one span of time: they pass only while the
// shim itself gets on, and none counts that finds a thread of the worker running.
constexpr int looks_at_the_stuck = 10;
constexpr std::chrono::milliseconds between_looks{1000};

// The worker is still a zombie, or stuck (then there is nothing to reap): its number is not used
// again until `reap` is called. `early`: signals that came before the worker ran, and are still to
// be passed on.
Ending supervise(const WorkerIdentity& worker, const ShimOptions& options,
                 const SignalGate& signals, const SupervisorHooks& hooks,
                 const std::vector<siginfo_t>& early);

void reap(const WorkerIdentity& worker);

// Who sent a signal, as far as it can be known.
Requester requester_of(const siginfo_t& info);

}  // namespace jobshim
