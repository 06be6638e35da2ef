// Which state directories of codex-companion a command line means.
#pragma once

#include <vector>

#include "common/companion/state_directory.hpp"
#include "shim/jobctl/options.hpp"

namespace jobshim {

// The state directories that the command line names. A name that is not a state directory is taken
// for a workspace. Throws Refusal if that has no state
// directory, std::system_error for a directory that cannot be opened.
std::vector<CompanionDirectory> companion_directories(const CtlOptions& options);

}  // namespace jobshim
