// Copies of ends that could not be written to their job files (docs/record.md), for commands that
// look at whole directories: list, reap and prune.
#pragma once

#include <string>
#include <vector>

#include "common/heartbeat_lines.hpp"
#include "common/job_files.hpp"
#include "shim/jobctl/commands.hpp"
#include "shim/jobctl/output.hpp"

namespace jobshim {

struct UnrecordedEnd {
    Directory directory;
    std::string name;
    Heartbeat lines;  // with the run and its end

    std::string path() const { return directory.path_of(name); }
    const std::string& job_file() const { return lines.job_file; }
};

// The copies of jobs in these directories; if the default one is among them, of all jobs, since
// other commands would never find those elsewhere. What cannot be read is left out.
std::vector<UnrecordedEnd> unrecorded_ends(const Context& context,
                                           const std::vector<Directory>& directories);

enum class JobOfCopy {
    gone,          // there is no job file any more
    not_recorded,  // its record still says that this run goes on
    recorded,      // it is final
    unclear,       // it cannot be read, or is of another run
};
JobOfCopy find_job_of(const UnrecordedEnd& copy);

// The job as its copy shows it, for one that has nothing else left.
JobReport report_of(const UnrecordedEnd& copy);

}  // namespace jobshim
