// The command line of jobshim. The only includer of CLI11 here.
#pragma once

#include <csignal>

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>

#include "common/job_file.hpp"
#include "common/job_files.hpp"
#include "common/run_record.hpp"

namespace jobshim {

struct ShimOptions {
    std::string job;  // "" for the default place
    std::string id;
    std::string title;
    std::chrono::milliseconds heartbeat_interval{5000};
    std::string log;  // "" for none
    std::size_t tail_bytes = 2048;
    std::chrono::milliseconds timeout{0};          // 0: never
    int signal = SIGTERM;                          // what a time-out sends first
    std::chrono::milliseconds kill_after{10'000};  // 0: never
    bool kill_on_shim_death = true;
    bool kill_leftovers = false;
    std::optional<Group> group;  // nothing: by whether there is a controlling terminal
    bool expect_record = false;
    std::string companion;  // a state directory of codex-companion; "" for none
    bool detach = false;
    bool best_effort = false;
    SyncPolicy sync = SyncPolicy::final;
    char** command = nullptr;  // into argv, ended by a null pointer; its bytes are the user's
};

// The options; or, for --help, --version and bad usage, what to say and to exit with at once.
struct CommandLine {
    std::optional<ShimOptions> options;
    int exit_status = 0;
    std::string out;
    std::string err;
};
CommandLine parse_command_line(int argc, char** argv);

}  // namespace jobshim
