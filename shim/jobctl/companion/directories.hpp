// Which state directories of codex-companion a command means.
#pragma once

#include <vector>

#include "common/companion/state_directory.hpp"
#include "shim/jobctl/options.hpp"

namespace jobshim {

// The state directories that the command line means. A name that is not a state directory is taken
// for a workspace, which may have several: one for each plugin. Throws Refusal, which says where it
// looked, if that has none; std::system_error for a directory that cannot be opened. Complains if
// --all-states finds none.
std::vector<CompanionDirectory> companion_directories(const CtlOptions& options);

// All that belong to the effective user, in all the places where they may be. In a place that
// everybody may write to, those of others are passed by.
std::vector<CompanionDirectory> own_companion_directories();

}  // namespace jobshim
