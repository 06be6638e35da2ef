// Starts the worker. Nothing else uses Boost.Process.
//
// Boost.Process v1, not v2: v2 closes every inherited descriptor above 2 in the child, and brings
// an event loop that nothing here needs. Boost's wait is not used at all: it cannot tell exit 9
// from death by SIGKILL (measured with 1.81), so the supervisor reads the raw wait status.
//
// Caveats: PR_SET_PDEATHSIG is tied to the thread that forks, and the kernel clears it when the
// worker executes a set-uid program or changes its user.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "common/run_record.hpp"
#include "common/unique_fd.hpp"
#include "shim/jobshim/guardian.hpp"
#include "shim/jobshim/signal_gate.hpp"
#include "shim/jobshim/start_failure.hpp"

namespace jobshim {

struct WorkerPlan {
    char** command = nullptr;
    Group group = Group::own;
    bool kill_on_shim_death = true;
    int heartbeat_fd = -1;  // where the worker's line goes; -1 for none
    int stdin_fd = -1;      // -1: inherited, here and below
    int output_fd = -1;
    int error_fd = -1;     // for stderr alone, if there is no output_fd
    std::string job_file;  // for JOBSHIM_JOB_FILE; "" for none
};

class StartedWorker;

// Finds COMMAND as execvp(3) does. A failure leaves no process behind.
struct Start;
Start start_worker(const WorkerPlan& plan, const SignalGate& signals);

class StartedWorker {
public:
    const WorkerIdentity& identity() const { return identity_; }

    // Lets COMMAND be executed, and waits until it has been, or has failed (then the child is
    // already reaped), or `patience` is over: an exec may hang, on a dead disk or because the child
    // was stopped, and must not hold up beats and signals.
    std::optional<StartFailure> execute(std::chrono::milliseconds patience);
    // True if execute() did not find out whether COMMAND was executed.
    bool may_have_failed() const { return bool(handshake_); }
    // Once the child has ended: why it never executed COMMAND, if execute() did not find out.
    std::optional<StartFailure> late_failure() const;
    // Kills the child instead, and reaps it. COMMAND was not executed.
    void call_off();
    // Waits for the child's end. Until then its pid cannot be reused.
    void reap() const;

    // The descriptors that the shim keeps open for it.
    std::vector<int> descriptors() const;

private:
    friend Start start_worker(const WorkerPlan& plan, const SignalGate& signals);
    StartedWorker() = default;

    WorkerIdentity identity_;
    UniqueFd handshake_;  // to the child, whose end is closed on exec
    std::string name_;
    Guardian guardian_;
};

struct Start {
    std::optional<StartedWorker> worker;
    std::optional<StartFailure> failure;
};

}  // namespace jobshim
