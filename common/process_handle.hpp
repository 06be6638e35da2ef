// Holds on to one process, which is never taken for a later one of the same number.
//
// Caveats: keeps no process from ending, and no zombie from being reaped.
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
    // To be polled for POLLIN, which comes with the process's end.
    int get() const { return fd_.get(); }
    int pid() const { return pid_; }
    // As it was asked for, if it was.
    std::optional<std::uint64_t> start_time() const { return start_time_; }

private:
    UniqueFd fd_;
    int pid_ = 0;
    std::optional<std::uint64_t> start_time_;
};

}  // namespace jobshim
