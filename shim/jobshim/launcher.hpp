// The launcher's side of a start: nothing in the foreground; with --detach a process that waits
// until COMMAND was executed and tells the outcome.
#pragma once

#include <optional>
#include <string>

#include "common/unique_fd.hpp"

namespace jobshim {

class Launcher {
public:
    // In the foreground the caller is the shim.
    Launcher() = default;

    // Forks. The child is the shim, in a session of its own, and gets a Launcher to report to. The
    // parent gets the status to exit with, after it printed the id. Throws std::system_error.
    struct Detached;
    static Detached detach();

    // COMMAND was executed.
    void report_start(const std::string& id);
    // It was not: the parent ends with this status. The reason went to stderr already.
    void report_failure(int exit_status);

private:
    explicit Launcher(UniqueFd fd) : fd_(std::move(fd)) {}
    UniqueFd fd_;
};

struct Launcher::Detached {
    Launcher launcher;
    std::optional<int> exit_status;  // in the parent
};

}  // namespace jobshim
