#pragma once

// The programs under test: those built beside the tests, or another build of them in the directory
// that JOBSHIM_TEST_BIN (from the environment) names.

#include <string>

namespace harness {

std::string program(const std::string& name, const std::string& built);
inline const std::string jobshim = program("jobshim", JOBSHIM_BIN);
inline const std::string jobctl = program("jobctl", JOBCTL_BIN);

/// If so, each of their processes is slow and large.
bool is_sanitized();
/// Otherwise with musl, which makes different system calls and words some errors differently.
bool is_linked_with_glibc();

}  // namespace harness
