// Looks at jobs of codex-companion, and settles those that are dead. What the plugin recorded as
// final stands; our own record adds how the job ended (docs/codex.md).
#pragma once

#include <vector>

#include "shim/jobctl/commands.hpp"
#include "shim/jobctl/companion/jobs.hpp"
#include "shim/jobctl/companion/look.hpp"
#include "shim/jobctl/look.hpp"

namespace jobshim {

// Looks at each job. With `settle`, dead jobs are settled: at once if a shim witnessed the end,
// otherwise if a second look, a second later, finds the same. The plugin may undo it, having read
// its files before: that is put right for 3 s, or by the next look if the caller cannot wait.
std::vector<CompanionReport> look_at_companion_jobs(
    const std::vector<CompanionJob>& jobs, const Context& context, bool settle,
    KeepChecking keep_checking = KeepChecking::after_a_write);

// All jobs named by the indexes, `jobs/` or our own records. Complains of an index that cannot be
// read. Throws std::system_error or Refusal for a directory that cannot be read.
std::vector<Surveyed> survey_companions(const Context& context, bool settle);

}  // namespace jobshim
