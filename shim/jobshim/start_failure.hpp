// Why a program cannot be executed, in words.
//
// Caveats: looks after the failure, so what was put right in between is not found any more; the
// words are those of errno then.
#pragma once

#include <string>

namespace jobshim {

// What stands between the name and a running program.
struct StartFailure {
    int error = 0;        // errno
    int exit_status = 0;  // 125 (our own doing), 126 or 127
    std::string what;     // "node: no such file (PATH searched)"; no control characters
};

// `name` as it was given, `path` as it was found ("" if it was not), `error` of execve(2) or of the
// search.
StartFailure explain_start_failure(const std::string& name, const std::string& path, int error);

// No process could be made for it.
StartFailure explain_fork_failure(int error);

// The first `length` bytes of a file; "" if it cannot be read.
std::string head_of(const std::string& path, std::size_t length);

}  // namespace jobshim
