#pragma once

// A failed call of the harness itself: the test ends with what failed and why.

#include <cerrno>
#include <string>
#include <system_error>

namespace harness {

[[noreturn]] inline void fail_errno(const std::string& what) {
    throw std::system_error(errno, std::generic_category(), what);
}

/// The result, unless it is negative.
template <typename Number>
Number checked(Number result, const std::string& what) {
    if (result < 0) fail_errno(what);
    return result;
}

}  // namespace harness
