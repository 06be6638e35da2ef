// Looks for COMMAND where execvp(3) does. Before the fork, so that a command that is not there does
// not cost one; whether a file can be executed, only the attempt tells.
#pragma once

#include <cstddef>
#include <string>

namespace jobshim {

class CommandSearch {
public:
    explicit CommandSearch(std::string name) : name_(std::move(name)) {}

    // The next path to try to execute: there is such a file, or that cannot be determined. "" if
    // there are no more.
    std::string next();

private:
    std::string name_;
    std::size_t at_ = 0;  // in PATH
    bool is_over_ = false;
};

// True if execvp(3) tries the next directory after such an error of execve(2).
bool may_be_elsewhere(int error);

// Why no file with that name was found: `path` is where it was looked for ("" if that was PATH).
std::string describe_not_found(const std::string& name, const std::string& path);

}  // namespace jobshim
