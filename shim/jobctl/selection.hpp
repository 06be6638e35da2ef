// From what a person writes for a job to its files.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "common/job_files.hpp"
#include "common/posix_error.hpp"

namespace jobshim {

// A JOB that could be several. what() names them, one a line and fit for a terminal.
class AmbiguousJob : public Refusal {
public:
    using Refusal::Refusal;
};

// Nothing: no such job. Throws AmbiguousJob, or std::system_error where it cannot be told.
std::optional<JobFiles> select_job(const std::string& job,
                                   const std::vector<std::string>& directories);

// Where the job's file lies or would appear, for one who waits for it. Only directories that are
// there; fewer than asked for if some are missing.
struct Whereabouts {
    std::vector<std::string> directories;
    bool complete = true;
};
Whereabouts whereabouts_of(const std::string& job, const std::vector<std::string>& directories);

// The names of the job files in a directory: *.json, no dot files. Throws std::system_error.
std::vector<std::string> job_names_in(const std::string& directory);

// Of any kind, a symlink that leads nowhere too; false where it cannot be told.
bool exists(const std::string& path);

// Through symlinks; false also where it cannot be told.
bool is_directory(const std::string& path);

// All names in a directory but . and .., in no particular order. Throws std::system_error.
std::vector<std::string> names_in(const std::string& directory);

// The names of what looks like heartbeat files there; none where there is no such directory.
std::vector<std::string> heartbeat_names_in(const std::string& directory);

// The names of those job files, there or not, beside which a writer's dot files lie. Throws
// std::system_error.
std::set<std::string> names_with_stale_files(const std::string& directory);
// The names of all that was set aside or left there, of whatever job.
std::vector<std::string> possible_copies_in(const std::string& directory);

// True if there is a job file, or a shim that holds the job though its file was deleted.
bool is_there(const JobFiles& files);

}  // namespace jobshim
