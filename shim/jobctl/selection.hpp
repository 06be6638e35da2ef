// Finds a job's files from what a person writes for the job.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/job_files.hpp"
#include "common/posix_error.hpp"

namespace jobshim {

// A JOB that could mean several jobs. what() names them, one per line and safe for a terminal.
class AmbiguousJob : public Refusal {
public:
    using Refusal::Refusal;
};

// A JOB with a slash is a path. Every other is an id, exactly, or else the beginning of one; one
// that ends in .json may be a path as well, and is ambiguous if it is both. An id is what the job
// file is called without .json, and what the record says.
//
// Caveats: the beginning of an id is enough to look at a job, never to end or settle it, and not
// while a job with exactly that id may still appear.
enum class Match { exact, or_beginning };

// Nothing if there is no such job. Throws AmbiguousJob, or std::system_error if the system does not
// let us find out.
std::optional<JobFiles> select_job(const std::string& job,
                                   const std::vector<std::string>& directories,
                                   Match match = Match::or_beginning);

// Complains that there is no such job, and names one whose id only begins so.
void complain_of_no_exact_job(const std::string& job, const std::vector<std::string>& directories);

// Those of the directories that exist. Throws std::system_error.
std::vector<Directory> open_directories(const std::vector<std::string>& paths);

// Likewise, and each once: it may have been given twice, under two names.
std::vector<Directory> open_each_once(const std::vector<std::string>& paths);

// Where the job's file is or would appear, for a caller that waits for it. Only directories that
// exist: `complete` is false if some are missing.
struct Whereabouts {
    std::vector<Directory> directories;
    bool complete = true;
};
Whereabouts whereabouts_of(const std::string& job, const std::vector<std::string>& directories);

// The names of the job files in a directory: *.json, no dot files. Throws std::system_error.
std::vector<std::string> job_names_in(const Directory& directory);
// The names of what look like heartbeat files. Throws likewise.
std::vector<std::string> heartbeat_names_in(const Directory& directory);
// The names of the job files, whether they exist or not, that have a writer's dot files beside
// them, each with one of these. Throws std::system_error.
std::map<std::string, std::string> stale_files_in(const Directory& directory);
// The names of everything that was set aside or left there, for any job.
std::vector<std::string> possible_copies_in(const Directory& directory);

// True if there is a job file, or if a shim holds a job whose file was deleted.
bool is_there(const JobFiles& files);

}  // namespace jobshim
