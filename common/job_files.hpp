// Where things lie: the state directory, a job file, and the files that go with it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/job_names.hpp"
#include "common/job_record.hpp"

namespace jobshim {

// All paths absolute. `job` is the file itself: a symlink was resolved once.
struct JobFiles {
    std::string job;
    std::string directory;
    std::string name;       // of the job file in `directory`
    std::string heartbeat;  // NAME with .json replaced by .heartbeat, else appended
    std::string cancel;     // NAME.cancel
    std::string merged;     // likewise, while `fresh` holds what the host wrote in between
    std::string fresh;      // the next version of the job file while it is written
    std::string reserve;    // space kept for the last version
};

// Throws std::system_error if the directory is not there or a symlink leads round in a circle;
// Refusal for a path that can be no file's (empty, or ending in a slash). The job file itself need
// not exist, nor need the target of a symlink.
JobFiles job_files_of(const std::string& path);

// "$XDG_STATE_HOME/jobshim", else "$HOME/.local/state/jobshim"; arguments may be null. Throws
// Refusal where neither is an absolute path.
std::string state_directory(const char* xdg_state_home, const char* home);

// Made with mode 0700 where missing, parents too. Throws std::system_error.
void make_directories(const std::string& path);

// The copy of an end that could not be written beside its job.
std::string unrecorded_file(const std::string& state_directory, const ShimIdentity& shim);

// Our own files beside a job file: ".NAME.jobshim-WHAT".
std::string own_path_beside(const JobFiles& files, std::string_view what);
// NAME of such a file's name; "" if it is none.
std::string job_name_of_own(std::string_view name);

// Absolute form of a path, as text; nothing is resolved. Throws std::system_error.
std::string absolute_path(const std::string& path);

}  // namespace jobshim
