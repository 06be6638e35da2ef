// Says in words why a program cannot be executed.
//
// Caveats: looks after the failure, so it does not find what was put right in between; then the
// words are errno's.
#pragma once

#include <string>

namespace jobshim {

// What kept a name from becoming a running program.
struct StartFailure {
    int error = 0;        // errno
    int exit_status = 0;  // exit_statuses.hpp
    std::string what;     // "node: not found in PATH"; no control characters
};

// `name` as given, `path` as found ("" if not found), `error` of execve(2) or of the search.
StartFailure explain_start_failure(const std::string& name, const std::string& path, int error);

// No process could be created for it.
StartFailure explain_fork_failure(int error);

// The first `length` bytes of a file; "" if it cannot be read.
std::string head_of(const std::string& path, std::size_t length);

}  // namespace jobshim
