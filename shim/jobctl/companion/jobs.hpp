// The jobs in the state directories of codex-companion, whether a shim supervises them or not.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/companion/state_directory.hpp"
#include "shim/jobctl/commands.hpp"
#include "shim/jobctl/selection.hpp"

namespace jobshim {

struct CompanionJob {
    CompanionDirectory directory;
    std::string id;
};

// All jobs named by the indexes, `jobs/` or our own records. Throws std::system_error or Refusal
// for a directory that cannot be read.
struct CompanionJobs {
    std::vector<CompanionJob> jobs;
    std::vector<std::string> broken_indexes;  // paths of those that cannot be read
};
CompanionJobs companion_jobs(const Context& context);

// Only those that may have to be settled, by signs that cost little: what the index says, the
// files' times, and the heartbeat files of shims. For whoever looks often.
std::vector<CompanionJob> unsettled_companion_jobs(const Context& context);

// Finds a job by its id or the beginning of its id. Nothing: no such job. Throws AmbiguousJob.
std::optional<CompanionJob> select_companion_job(const std::string& job, const Context& context,
                                                 Match match = Match::or_beginning);

// The names of our own records in our subdirectory of a state directory, by the plugin's job id.
std::map<std::string, std::string> own_records(const CompanionDirectory& state,
                                               const Directory& own);

}  // namespace jobshim
