// Refers to one process, and never to a later one with the same pid. process_identity.hpp opens it
// and waits for it.
//
// Caveats: does not keep the process from ending, or a zombie from being reaped.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "common/unique_fd.hpp"

namespace jobshim {

class ProcessHandle {
public:
    ProcessHandle() = default;
    ProcessHandle(UniqueFd fd, int pid, std::optional<std::uint64_t> start_time)
        : fd_(std::move(fd)), pid_(pid), start_time_(start_time) {}

    explicit operator bool() const { return bool(fd_); }
    // Poll for POLLIN, which signals the process's end.
    int get() const { return fd_.get(); }
    int pid() const { return pid_; }
    // The start time passed in, if any.
    std::optional<std::uint64_t> start_time() const { return start_time_; }

private:
    UniqueFd fd_;
    int pid_ = 0;
    std::optional<std::uint64_t> start_time_;
};

}  // namespace jobshim
