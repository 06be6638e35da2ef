#pragma once

// Helpers for a job under test: its files, its worker, and scripts for the worker.

#include <sys/types.h>

#include <string>

#include "integration/support/json.hpp"
#include "integration/support/process.hpp"

namespace harness {

fs::path heartbeat_of(const fs::path& job);
/// True if a shim holds byte 0 of this heartbeat file.
bool shim_lock_is_held(const fs::path& heartbeat);
Json exit_of(const fs::path& job);
/// The pid in the record.
pid_t shim_of(const fs::path& job);
/// Waits for the phase `running`; returns the worker's pid. It may still be a copy of the shim,
/// which a signal to the shim calls off.
pid_t started_worker_of(const fs::path& job);
/// The same, once the worker has executed COMMAND.
pid_t worker_of(const fs::path& job);
/// Waits until this waiter is really waiting, so that it must notice an end that comes afterwards.
void wait_until_parked(const Process& waiter);
/// Once the worker has executed, kills the shim with SIGKILL and reaps it.
void kill_shim(Process& shim, const fs::path& job);

/// Shell code for a worker: waits until the file "go" exists in the test's directory.
/// A signal to the whole group ends the program that waits, and this shell starts it again.
inline const std::string until_go =
    "until \"" AWAIT_BIN "\" go; do [ $? -gt 128 ] || exit 99; done; ";
/// Waits until the shim has recorded `running`: a record that a worker writes right after it starts
/// may race with that write, and no test may depend on which wins.
inline const std::string until_running =
    "\"" AWAIT_BIN "\" \"$JOBSHIM_JOB_FILE\" '\"phase\":\"running\"'; ";
inline const std::string for_ever = "exec \"" AWAIT_BIN "\"";
/// For a shell that must act on signals, or keep its arguments.
inline const std::string for_ever_in_shell = "while :; do sleep 0.05; done";

}  // namespace harness
