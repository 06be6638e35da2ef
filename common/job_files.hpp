// Paths: the state directory, a job file, and the files beside it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/job_names.hpp"
#include "common/run_record.hpp"

namespace jobshim {

// All paths are absolute. `job` is the file itself: symlinks are resolved once.
struct JobFiles {
    std::string job;
    std::string directory;
    std::string name;       // the job file's name in `directory`
    std::string heartbeat;  // NAME with .json replaced by .heartbeat, else appended
    std::string cancel;     // NAME.cancel
    std::string merged;     // used instead while `fresh` holds what the host wrote meanwhile
    std::string fresh;      // the next version of the job file, while it is being written
    std::string reserve;    // reserves space for the last version
};

// Throws std::system_error if the directory does not exist or symlinks form a loop; Refusal for a
// path that cannot name a file (empty, or ending in a slash). Neither the job file nor the target
// of a symlink needs to exist.
JobFiles job_files_of(const std::string& path);

// "$XDG_STATE_HOME/jobshim", else "$HOME/.local/state/jobshim"; arguments may be null. Throws
// Refusal if neither variable is an absolute path.
std::string state_directory(const char* xdg_state_home, const char* home);
// The same, of this process.
std::string state_directory();
// "" instead of a Refusal: jobs that are named by their path do not need a state directory.
std::string state_directory_if_any();

// Nothing, with errno set, if it cannot be determined. Exact bytes.
std::optional<std::string> current_directory();

// Calls visit(name) for each entry, in no order, "." and ".." included. Throws std::system_error.
void for_each_name_in(const std::string& directory,
                      const std::function<void(std::string_view)>& visit);

// Creates missing directories, including parents, with mode 0700. Throws std::system_error.
void make_directories(const std::string& path);

// Path of the copy of an end that could not be written to its job file.
std::string unrecorded_file(const std::string& state_directory, const ShimIdentity& shim);

// Path of one of our own files beside a job file: ".NAME.jobshim-WHAT".
std::string own_path_beside(const JobFiles& files, std::string_view what);
// The NAME in such a file name; "" if it is not one.
std::string job_name_of_own(std::string_view name);

// A path made absolute textually; nothing is resolved. Throws std::system_error.
std::string absolute_path(const std::string& path);

}  // namespace jobshim
