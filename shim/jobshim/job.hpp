// The life of a job: one run of COMMAND, from the first lock to the last.
#pragma once

#include "shim/jobshim/launcher.hpp"
#include "shim/jobshim/options.hpp"
#include "shim/jobshim/signals.hpp"

namespace jobshim {

constexpr int own_failure = 125;  // the exit status of jobshim's own failures

// How the shim is to end: as the worker did.
struct End {
    int exit_status = 0;
    int signal = 0;  // 0: by exit; else by this, and `exit_status` where that cannot be
};

// What goes wrong is said, and is an end with 125. The launcher is told how it went.
End run_job(const ShimOptions& options, Launcher launcher, const SignalGate& signals);

}  // namespace jobshim
