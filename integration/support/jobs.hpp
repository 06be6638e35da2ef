#pragma once

// A job as a test meets it: its files, its worker, and scripts for that.

#include <sys/types.h>

#include <string>

#include "integration/support/json.hpp"
#include "integration/support/process.hpp"

namespace harness {

fs::path heartbeat_of(const fs::path& job);
/// True if a shim holds byte 0 of this heartbeat file.
bool life_is_held(const fs::path& heartbeat);
Json exit_of(const fs::path& job);
/// Waits for the phase `running`, then the worker's pid.
pid_t worker_of(const fs::path& job);
/// Waits until this waiter really waits, so that an end after it is one it must notice.
void wait_until_parked(const Process& waiter);
/// SIGKILL to the shim of a job that has been seen running.
void kill_shim(Process& shim, const fs::path& job);
/// worker_of, once COMMAND was executed: before that its process is its shim's twin.
pid_t executed_worker_of(const fs::path& job);

/// The shell's `until a file "go" is there`, in the folder of the test.
inline const std::string until_go = "while ! [ -e go ]; do sleep 0.02; done; ";
/// ... until the shim has written that it runs: a record that a worker writes in its very first
/// moment may cross with that write, and no test shall depend on who is quicker.
inline const std::string until_running =
    "until grep -q '\"phase\": *\"running\"' \"$JOBSHIM_JOB_FILE\"; do sleep 0.01; done; ";
inline const std::string for_ever = "while :; do sleep 0.05; done";

}  // namespace harness
