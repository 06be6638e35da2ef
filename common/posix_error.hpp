// Our own failures: turns errno into an exception that names the file and the reason.
#pragma once

#include <cerrno>
#include <string>
#include <string_view>
#include <system_error>

namespace jobshim {

// Throws std::system_error; what() reads "open jobs/42.json: No space left on device".
[[noreturn]] void throw_errno(std::string_view what, int error = errno);

// "ENOENT" for ENOENT; "errno 4711" for a number without a known name.
std::string errno_name(int error);

// "No such file or directory"
std::string errno_text(int error);

// A refusal without an errno: bad input, or a job that is already supervised. what() is the whole
// message, for a person to read.
class Refusal : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

// A file is longer than what was to be read of it.
class TooLarge : public Refusal {
public:
    using Refusal::Refusal;
};

// The job is not the caller's to use: it is supervised, being settled, not over, or has another id.
// The caller must not continue regardless.
class JobIsTaken : public Refusal {
public:
    using Refusal::Refusal;
};

}  // namespace jobshim
