// Jobs of codex-companion's state directories, those that a shim supervises and those that nobody
// does (COMPANION.md). What the plugin wrote as final stands; our own record adds how it ended.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "shim/jobctl/commands.hpp"
#include "shim/jobctl/look.hpp"

namespace jobshim {

struct CompanionJob {
    std::string directory;  // the state directory
    std::string id;

    bool operator==(const CompanionJob&) const = default;
};

// The state directories that the command line names. A name that is no state directory is taken for
// a workspace. Throws Refusal where there is none.
std::vector<std::string> companion_directories(const Options& options);

// By its id, or the beginning of one. Nothing: no such job. Throws AmbiguousJob.
std::optional<CompanionJob> select_companion_job(const std::string& job, const Context& context);

struct CompanionReport {
    Surveyed job;
    bool is_gone = false;  // from everywhere
    std::string log;       // "" if there is none
    UniqueFd process;      // the shim's, else the worker's, if it lives
};

// Looks at each; with `settle`, what is dead is settled: at once where a shim was its witness, and
// else if a second look, a second later, finds the same.
std::vector<CompanionReport> look_at_companion_jobs(const std::vector<CompanionJob>& jobs,
                                                    const Context& context, bool settle);

// All that the indexes, `jobs/` or our own records tell of. Complains of an index that cannot be
// read. Throws std::system_error or Refusal for a directory that cannot be.
std::vector<Surveyed> survey_companions(const Context& context, bool settle);

int wait_for_companion_jobs(const Options& options, const Context& context);

}  // namespace jobshim
