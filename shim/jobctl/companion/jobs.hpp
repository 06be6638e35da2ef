// Which jobs there are in the state directories of codex-companion, those that a shim supervises
// and those that nobody does.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/companion/paths.hpp"
#include "shim/jobctl/commands.hpp"

namespace jobshim {

struct CompanionJob {
    std::string directory;  // the state directory
    std::string id;

    bool operator==(const CompanionJob&) const = default;
};

// All that the indexes, `jobs/` or our own records tell of. Throws std::system_error or Refusal for
// a directory that cannot be read.
struct CompanionJobs {
    std::vector<CompanionJob> jobs;
    std::vector<std::string> broken_indexes;  // paths of those that cannot be read
};
CompanionJobs companion_jobs(const Context& context);

// By its id, or the beginning of one. Nothing: no such job. Throws AmbiguousJob.
std::optional<CompanionJob> select_companion_job(const std::string& job, const Context& context);

// The paths of our own records in a state directory, by the plugin's id.
std::map<std::string, std::string> own_records(const CompanionPaths& places);

}  // namespace jobshim
