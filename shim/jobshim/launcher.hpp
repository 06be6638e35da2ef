// Reports the start to the launcher. In the foreground there is nothing to do; with --detach a
// parent process waits until COMMAND has been executed, and prints the outcome.
#pragma once

#include <optional>
#include <string>

#include "common/unique_fd.hpp"
#include "shim/jobshim/signal_gate.hpp"

namespace jobshim {

class Launcher {
public:
    // In the foreground the caller is the shim.
    Launcher() = default;

    // Forks. The child becomes the shim, in a session of its own, and gets a Launcher to report to.
    // The parent passes on what calls the job off (SIGTERM and the like) until then, prints the id
    // and gets the status to exit with. Without standard output (`has_output`) that is a failure,
    // as if it could not be written. Throws std::system_error.
    struct Detached;
    static Detached detach(const SignalGate& signals, bool has_output);

    // COMMAND has been executed.
    void report_start(const std::string& id);
    // It has not been: the parent exits with this status. The reason is already on stderr.
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
