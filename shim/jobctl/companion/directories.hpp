// Which state directories of codex-companion a command line means.
#pragma once

#include <string>
#include <vector>

#include "shim/jobctl/options.hpp"

namespace jobshim {

// The state directories that the command line names. A name that is no state directory is taken for
// a workspace. Throws Refusal where there is none.
std::vector<std::string> companion_directories(const CtlOptions& options);

}  // namespace jobshim
