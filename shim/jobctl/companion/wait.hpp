// jobctl wait --companion.
#pragma once

#include "shim/jobctl/commands.hpp"

namespace jobshim {

int wait_for_companion_jobs(const Options& options, const Context& context);

}  // namespace jobshim
