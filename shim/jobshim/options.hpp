// The command line of jobshim. Nothing else in the shim includes CLI11.
#pragma once

#include <csignal>

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>

#include "common/exit_reason.hpp"
#include "common/job_file.hpp"
#include "common/job_files.hpp"
#include "common/run_record.hpp"

namespace jobshim {

struct ShimOptions {
    std::string job;  // "" for the default path
    std::string id;
    std::string title;
    std::chrono::milliseconds heartbeat_interval{5000};
    std::string log;  // "" for none
    std::size_t tail_bytes = 2048;
    std::chrono::milliseconds timeout{0};                  // 0: never
    int signal = SIGTERM;                                  // the first signal to send on timeout
    std::chrono::milliseconds kill_after = default_grace;  // 0: never
    std::chrono::milliseconds stall_after{0};              // 0: never
    bool kill_on_shim_death = true;
    bool kill_leftovers = false;
    std::optional<Group> group;  // nothing: depends on whether there is a controlling terminal
    bool expect_record = false;
    std::string companion;  // the state directory of codex-companion; "" for none
    bool detach = false;
    bool best_effort = false;
    SyncPolicy sync = SyncPolicy::final;
    char** command = nullptr;  // points into argv, null-terminated; the bytes are the user's
};

// The options; or, for --help, --version and bad usage, what to print and the status to exit with.
struct CommandLine {
    std::optional<ShimOptions> options;
    int exit_status = 0;
    std::string out;
    std::string err;
};
CommandLine parse_command_line(int argc, char** argv);

}  // namespace jobshim
