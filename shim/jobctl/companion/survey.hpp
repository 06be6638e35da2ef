// Looks at jobs of codex-companion, and settles those that are dead. What the plugin wrote as final
// stands; our own record adds how it ended (COMPANION.md).
#pragma once

#include <vector>

#include "shim/jobctl/commands.hpp"
#include "shim/jobctl/companion/jobs.hpp"
#include "shim/jobctl/companion/look.hpp"
#include "shim/jobctl/look.hpp"

namespace jobshim {

// Looks at each; with `settle`, what is dead is settled: at once where a shim was its witness, and
// else if a second look, a second later, finds the same.
std::vector<CompanionReport> look_at_companion_jobs(const std::vector<CompanionJob>& jobs,
                                                    const Context& context, bool settle);

// All that the indexes, `jobs/` or our own records tell of. Complains of an index that cannot be
// read. Throws std::system_error or Refusal for a directory that cannot be.
std::vector<Surveyed> survey_companions(const Context& context, bool settle);

}  // namespace jobshim
