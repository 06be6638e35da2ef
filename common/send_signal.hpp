// The only place that sends signals to other processes. Every caller learns what came of it.
#pragma once

#include <string>

#include "common/process_handle.hpp"

namespace jobshim {

// Each returns 0, or an errno: EPERM if the process belongs to somebody else by now, ESRCH if it is
// gone. Signal 0 only checks.
[[nodiscard]] int signal_process(const ProcessHandle& process, int signal);
// A child that has not been reaped, which keeps its pid its own.
[[nodiscard]] int signal_child(int pid, int signal);
// All members of a group that may be signalled; an error means that none could be. `group` is the
// pid of such a child, or of one that led it.
[[nodiscard]] int signal_group(int group, int signal);

// "not permitted (the worker runs as root)", "Resource temporarily unavailable": why `who`, whose
// pid this is, was not signalled.
std::string why_not_signalled(int error, const std::string& who, int pid);

}  // namespace jobshim
