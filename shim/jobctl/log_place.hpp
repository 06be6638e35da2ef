// Where a job's log is. A record names it by its path; but a log that lay beside the job file still
// does, wherever their directory is now, and what has that path by now may be another job's.
#pragma once

#include <optional>
#include <string>

#include "common/job_files.hpp"
#include "common/run_record.hpp"

namespace jobshim {

struct LogPlace {
    Directory directory;
    std::string name;
    bool is_beside = false;  // the job file
    // The job file is where it was: what the record says of other directories still holds.
    bool has_not_moved = false;

    std::string path() const { return directory.path_of(name); }
};

// `run` must have a log. Nothing if its directory does not exist. Opens it with the rights of the
// job's owner. Throws std::system_error or Refusal.
std::optional<LogPlace> place_of_log(const RunRecord& run, const JobFiles& files);

}  // namespace jobshim
