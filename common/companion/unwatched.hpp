// The verdict on a codex-companion job that no shim supervises: all there is to go by is the
// process that its record names. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/exit_reason.hpp"
#include "common/job_document.hpp"
#include "common/verdict.hpp"

namespace jobshim {

// The worker's pid in a record; nothing if it is not a valid pid.
std::optional<int> worker_pid_in(const JobDocument& record);

// When the job began, according to the record (ms since 1970); 0 if unknown.
std::int64_t begin_of(const JobDocument& record);

// True if this is the command line of a companion's script: codex-companion.mjs, or
// gemini-companion.mjs and others, which keep the same files. `command_line` is as the kernel has
// it: each argument is followed by a null byte.
bool runs_companion(std::string_view command_line);

// True if this is the command line of a script that cancels jobs, and writes that down afterwards:
// a companion's `cancel`, or its hook for the end of a session.
bool cancels_jobs(std::string_view command_line);

// What was seen of the process with that pid.
struct UnwatchedWorker {
    Liveness liveness = Liveness::none;
    std::int64_t started = 0;     // ms since 1970; only if it is alive; 0: unknown
    bool is_the_plugins = false;  // it runs_companion, and is the state directory's owner's
};

// `record` must have no final status; `now` is in ms since 1970.
Verdict judge_unwatched(const JobDocument& record, const UnwatchedWorker& worker, std::int64_t now);

// The end of a job that was found dead, and again a second later. `now` is ISO 8601.
Conclusion inferred_end(const Verdict& verdict, const std::string& now);

}  // namespace jobshim
