// The files of a job, and whose they are: the directory, the names in it, and who may do what.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/directory.hpp"
#include "common/job_names.hpp"
#include "common/run_record.hpp"
#include "common/standing.hpp"

namespace jobshim {

// All but `path` are names in `directory`.
struct JobFiles {
    Directory directory;     // acts with the owner's identity, if this process is root's
    std::string path;        // absolute, for people and records only
    std::string name;        // of the job file
    std::string heartbeat;   // heartbeat_name_of(name)
    std::string cancel;      // NAME.cancel
    std::string merged;      // used instead while `fresh` holds what the host wrote meanwhile
    std::string fresh;       // the next version of the job file, while it is being written
    std::string reserve;     // reserves space for the last version
    bool is_linked = false;  // was named by a symbolic link
    Parties parties;         // as they were when it was found
    // Of the job's owner, if this process is root's and the owner is another: even where root only
    // looks, what a record names outside the directory is opened with it.
    std::optional<Identity> owners_identity = {};

    std::string path_of(std::string_view file) const { return directory.path_of(file); }
    // Whose the job is.
    std::uint32_t owner() const { return parties.owner; }
    bool may_act() const { return standing_of(parties) != Standing::onlooker; }
    // True if a file beside the job file counts as the job's.
    bool counts(const FileStamp& stamp) const {
        return stamp.is_regular && stamp.names <= 1 && counts_for(owner(), stamp.owner);
    }
    // True if what it says can count as well: nobody but its owner can have written it. Heartbeat
    // files, requests and copies of ends are made so.
    bool is_evidence(const FileStamp& stamp) const {
        return counts(stamp) &&
               (!others_may_write(stamp.mode) ||
                (has_no_modes(stamp.mode, directory.mode()) && directory.owner() == stamp.owner));
    }
    // True if a request to cancel the job may be there. A symbolic link is one, too
    // (heartbeat_lines.hpp): nobody but its owner can have made it, and it cannot be written to.
    bool may_be_request(const FileStamp& stamp) const {
        return is_evidence(stamp) || (stamp.is_link && counts_for(owner(), stamp.owner));
    }
    // The job file may be replaced between two steps. Throws Refusal for one of another user's (not
    // root's): its words would pass for the owner's.
    void refuse_another_owner(const FileStamp& job_file) const;
};

// The job that a person names. Neither the job file nor the target of a symbolic link needs to
// exist. A link of another user (not root) is not followed, as with fs.protected_symlinks. Throws
// std::system_error if the directory does not exist or the links form a loop; Refusal for such a
// link, and for a path that cannot name a file.
JobFiles job_files_of(const std::string& path);
JobFiles job_files_of(const Directory& directory, const std::string& name);
// Nothing if part of the path does not exist.
std::optional<JobFiles> job_files_if_reachable(const std::string& path);

// A job in a directory, in which no link is followed: a link counts as a job file of its own.
JobFiles job_files_in(const Directory& directory, const std::string& name);

// Makes the owner of another file (a heartbeat file, a copy) the job's: for a job without a job
// file.
void take_owner_from(JobFiles& files, const FileStamp& stamp);

// "$XDG_STATE_HOME/jobshim", else "$HOME/.local/state/jobshim"; arguments may be null. Throws
// Refusal if neither variable is an absolute path.
std::string state_directory(const char* xdg_state_home, const char* home);
// The same, of this process. A directory of another user's (not root's) is not used: then it is the
// home that /etc/passwd gives.
std::string state_directory();
// "" instead of a Refusal: jobs that are named by their path do not need a state directory.
std::string state_directory_if_any();

// Throws Refusal if a directory that nobody has named, such as a default one, is another user's
// (not root's), or if others may write to it.
void require_own(const Directory& directory);

// A directory below state_directory(), which is made if it does not exist; but no home directory
// is. Throws Refusal or std::system_error.
Directory make_default_directory(const std::string& path);

// Where copies of ends are kept that could not be written to their job files.
std::string unrecorded_directory(const std::string& state_directory);
// The name of such a copy.
std::string unrecorded_name(const ShimIdentity& shim);

// The name of one of our own files beside a job file: ".NAME.jobshim-WHAT".
std::string own_name_beside(std::string_view job_file_name, std::string_view what);
// The NAME in such a file name; "" if it is not one.
std::string job_name_of_own(std::string_view name);

}  // namespace jobshim
