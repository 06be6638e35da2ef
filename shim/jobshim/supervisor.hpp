// Waits for the worker's end: passes signals on, beats, enforces the timeout, carries out
// cancellations, and looks at the end before anything reaps the worker.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <vector>

#include "common/exit_reason.hpp"
#include "common/run_record.hpp"
#include "shim/jobshim/options.hpp"
#include "shim/jobshim/signal_gate.hpp"

namespace jobshim {

struct SupervisorHooks {
    std::function<void()> beat;
    std::function<std::optional<CancelRequest>()> cancel_request;
};

// A worker that has not ended after SIGKILL, sent on timeout or cancellation, and this many looks
// in a row, one a second, is given up. Looks, rather than a span of time: they pass only while the
// shim itself runs, and one that finds a thread of the worker running starts the count again. One
// that SIGKILL cannot be sent to is given up after as many attempts.
constexpr int looks_until_given_up = 10;
constexpr std::chrono::milliseconds between_looks{1000};

// On return the worker is still a zombie, or a survivor (then there is nothing to reap): its pid is
// not reused until it is reaped. `early`: signals that came before the worker ran, and are still to
// be passed on.
Ending supervise(const WorkerIdentity& worker, const ShimOptions& options,
                 const SignalGate& signals, const SupervisorHooks& hooks,
                 const std::vector<siginfo_t>& early);

// Who sent a signal, as far as that is known.
Requester requester_of(const siginfo_t& info);

}  // namespace jobshim
