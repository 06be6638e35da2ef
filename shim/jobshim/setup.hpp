// What is gathered before a job begins: where this process runs, which files belong to the job,
// where its output goes.
#pragma once

#include <memory>
#include <string>

#include "common/job_files.hpp"
#include "common/observation.hpp"
#include "shim/jobshim/log_file.hpp"
#include "shim/jobshim/options.hpp"

namespace jobshim {

// What the shim was started with, gathered once.
struct RunContext {
    Observer observer;
    std::string working_directory;  // exact bytes
    Group group = Group::own;
};
RunContext gather_context(const ShimOptions& options);

// Where the record goes. The directory of a named job file must exist; the default directory and
// that of --companion are created, and a job there without an id gets one, which is stored in
// `options`. Throws Refusal or std::system_error.
JobFiles choose_files(ShimOptions& options);

// The log that the options ask for; null if they ask for none. `files` are the job's, null if no
// record is kept. Throws Refusal or std::system_error.
std::unique_ptr<LogFile> open_log(const ShimOptions& options, const JobFiles* files,
                                  const std::string& id);

}  // namespace jobshim
