// What is gathered before a job begins: where this process runs, which files belong to the job,
// where its output goes.
#pragma once

#include <memory>
#include <string>

#include "common/companion/state_directory.hpp"
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

// The state directory that --companion names, which is created if it does not exist. Throws Refusal
// or std::system_error.
CompanionDirectory open_companion(const std::string& path);

// Where the record goes. The directory of a named job file must exist; the default directory is
// created, and so is our own in a state directory (`companion`; null without one). A job there
// without an id gets one, which is stored in `options`. Throws Refusal or std::system_error.
JobFiles choose_files(ShimOptions& options, const CompanionDirectory* companion);

struct JobLog {
    std::unique_ptr<LogFile> file;  // null if the worker's output goes where the shim's goes
    bool takes_stderr_alone = false;
};
// The log that the options ask for, or one for stderr where the plugin (`companion`; null without
// one) discards it: then the shim's own stderr goes there too. `files` are the job's, null if no
// record is kept. Throws Refusal or std::system_error.
JobLog open_log(const ShimOptions& options, const JobFiles* files, const std::string& id,
                const CompanionDirectory* companion);

}  // namespace jobshim
