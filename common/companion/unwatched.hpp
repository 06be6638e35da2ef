// The verdict on a job of codex-companion that no shim watches: its record names a process, and
// that is all there is to go by. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "common/exit_reason.hpp"
#include "common/job_document.hpp"
#include "common/verdict.hpp"

namespace jobshim {

// The pid that a record gives for its worker; nothing for what is none.
std::optional<int> worker_pid_in(const JobDocument& record);

// When the job was begun, as far as the record tells (ms since 1970); else the beginning of time.
std::int64_t begin_of(const JobDocument& record);

// What was seen of the process of that pid.
struct UnwatchedWorker {
    Liveness witness = Liveness::none;
    std::int64_t started = 0;     // ms since 1970; of one that is alive, 0 where unknown
    bool is_the_plugins = false;  // its command line is one of codex-companion's
};

// `record` has no final status; `now` is ms since 1970.
Verdict judge_unwatched(const JobDocument& record, const UnwatchedWorker& worker, std::int64_t now);

// The end of one that was found dead, and again a second later. `now`: ISO 8601.
FinalWord inferred_end(const Verdict& verdict, const std::string& now);

}  // namespace jobshim
