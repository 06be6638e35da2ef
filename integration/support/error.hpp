#pragma once

// Errors of the test harness itself: a failed call ends the test and says what failed and why.

#include <cerrno>
#include <string>
#include <system_error>

namespace harness {

[[noreturn]] inline void fail_errno(const std::string& what) {
    throw std::system_error(errno, std::generic_category(), what);
}

/// Returns `result`, or fails if it is negative.
inline long checked(long result, const std::string& what) {
    if (result < 0) fail_errno(what);
    return result;
}

}  // namespace harness
