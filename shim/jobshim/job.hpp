// The life of a job: one run of COMMAND, from taking the first lock to releasing the last.
#pragma once

#include "shim/jobshim/launcher.hpp"
#include "shim/jobshim/options.hpp"
#include "shim/jobshim/signal_gate.hpp"

namespace jobshim {

// How the shim is to end: as the worker did.
struct End {
    int exit_status = 0;
    int signal = 0;  // die by it, or if that is impossible exit with `exit_status`; 0: exit
};

// Reports failures of its own on stderr, and ends with own_failure. Tells the launcher how the
// start went.
End run_job(const ShimOptions& options, Launcher launcher, const SignalGate& signals);

}  // namespace jobshim
