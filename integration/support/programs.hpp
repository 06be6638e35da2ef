#pragma once

// The programs under test: those that were built beside the tests, or another build of them, in the
// folder that JOBSHIM_TEST_BIN (from the environment) names.

#include <string>

namespace harness {

std::string program(const std::string& name, const std::string& built);
inline const std::string jobshim = program("jobshim", JOBSHIM_BIN);
inline const std::string jobctl = program("jobctl", JOBCTL_BIN);

/// Every process of theirs is slow and large then.
bool is_sanitized();
/// Else with musl, which has other calls for some, and other words.
bool is_linked_with_glibc();

}  // namespace harness
