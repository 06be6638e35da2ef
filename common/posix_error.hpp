// Our own failures: one way from errno to an exception that names the file and the reason.
#pragma once

#include <cerrno>
#include <string>
#include <string_view>
#include <system_error>

namespace jobshim {

// Throws std::system_error; what() reads "open jobs/42.json: No space left on device".
[[noreturn]] void throw_errno(std::string_view what, int error = errno);

// "ENOENT" for ENOENT; "errno 4711" for a number that has no name here.
std::string errno_name(int error);

// "No such file or directory"
std::string errno_text(int error);

// A refusal that has no errno: bad input, a job that is supervised already. what() is the whole
// message, in words for a person.
class Refusal : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

// The job is another's: supervised, being settled, not over, or of another id. Nothing that one may
// go on without.
class JobIsTaken : public Refusal {
public:
    using Refusal::Refusal;
};

}  // namespace jobshim
