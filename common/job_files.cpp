#include "common/job_files.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include "common/posix_error.hpp"
#include "common/system_calls.hpp"

namespace jobshim {

namespace {

constexpr std::string_view own_mark = ".jobshim-";

// Where a path leads: a name in a directory, which is no link.
struct Target {
    Directory directory;
    std::string name;
    std::optional<FileStamp> stamp;  // nothing: no such file
    bool is_linked = false;
};

// `named`: what a person wrote, for messages.
Directory open_named(const std::string& directory, const std::string& named) {
    try {
        return Directory::open(directory);
    } catch (const std::system_error& error) {
        throw_errno("open " + named + " (directory " + directory + ")", error.code().value());
    }
}

Target find_target(Directory directory, std::string name, const std::string& named) {
    bool is_linked = false;
    for (int count = 0;; ++count) {
        auto stamp = directory.stamp_at(name);
        if (!stamp || !stamp->is_link)
            return {std::move(directory), std::move(name), stamp, is_linked};
        if (count == most_links) throw_errno("open " + named, ELOOP);
        const auto link = directory.link_at(name);
        if (!link) continue;  // replaced just now
        refuse_foreign_link(directory.path_of(name), link->owner);
        SplitPath split = split_path(
            link->target.starts_with('/') ? link->target : directory.path_of(link->target));
        directory = open_named(split.directory, named);
        name = std::move(split.name);
        is_linked = true;
    }
}

Target find_target(const std::string& path) {
    SplitPath split = split_path(path);
    return find_target(open_named(split.directory, path), std::move(split.name), path);
}

}  // namespace

void take_owner_from(JobFiles& files, const FileStamp& stamp) {
    files.parties.owner = stamp.owner;
    files.parties.has_second_name = stamp.names > 1;
    files.directory = files.directory.as(std::nullopt);
    files.owners_identity.reset();
    if (files.parties.actor != 0 || stamp.owner == 0) return;
    files.owners_identity = identity_of_user(stamp.owner);
    if (standing_of(files.parties) == Standing::root_as_owner)
        files.directory = files.directory.as(files.owners_identity);
}

void JobFiles::refuse_another_owner(const FileStamp& job_file) const {
    if (!counts_for(owner(), job_file.owner))
        throw Refusal(path + ": belongs to uid " + std::to_string(job_file.owner) +
                      " now, and the job to uid " + std::to_string(owner()));
}

namespace {

JobFiles files_at(const Target& target) {
    const uid_t actor = ::geteuid();
    JobFiles files{.directory = target.directory,
                   .path = target.directory.path_of(target.name),
                   .name = target.name,
                   .heartbeat = heartbeat_name_of(target.name),
                   .cancel = target.name + ".cancel",
                   .merged = own_name_beside(target.name, "merged"),
                   .fresh = own_name_beside(target.name, "new"),
                   .reserve = own_name_beside(target.name, "reserve"),
                   .is_linked = target.is_linked,
                   .parties = {.actor = actor,
                               .owner = actor,
                               .directory_owner = target.directory.owner(),
                               .directory_mode = target.directory.mode()}};
    if (target.stamp) take_owner_from(files, *target.stamp);
    return files;
}

}  // namespace

JobFiles job_files_of(const std::string& path) { return files_at(find_target(path)); }

JobFiles job_files_of(const Directory& directory, const std::string& name) {
    return files_at(find_target(directory, name, directory.path_of(name)));
}

std::optional<JobFiles> job_files_if_reachable(const std::string& path) {
    try {
        return job_files_of(path);
    } catch (const std::system_error& error) {
        if (error.code().value() == ENOENT || error.code().value() == ENOTDIR) return std::nullopt;
        throw;
    }
}

JobFiles job_files_in(const Directory& directory, const std::string& name) {
    return files_at({directory, name, directory.stamp_at(name)});
}

std::string own_name_beside(std::string_view job_file_name, std::string_view what) {
    return std::string(".").append(job_file_name).append(own_mark).append(what);
}

std::string job_name_of_own(std::string_view name) {
    const std::size_t end = name.rfind(own_mark);
    if (!name.starts_with('.') || end == std::string_view::npos || end < 2) return "";
    return std::string(name.substr(1, end - 1));
}

std::string state_directory(const char* xdg_state_home, const char* home) {
    // The XDG Base Directory Specification: a relative path is ignored.
    if (xdg_state_home != nullptr && *xdg_state_home == '/')
        return std::string(xdg_state_home) + "/jobshim";
    if (home != nullptr && *home == '/') return std::string(home) + "/.local/state/jobshim";
    throw Refusal("no state directory: neither XDG_STATE_HOME nor HOME is an absolute path");
}

namespace {

// True if a directory is this user's or root's, or if it does not exist, the nearest parent that
// does. sudo -E keeps the variables of the user who calls it: what root then made there would lock
// that user out.
bool is_for_us(std::string path) {
    if (::geteuid() != 0) return true;  // another user's, then, that this one may write to
    while (path.size() > 1) {
        if (const auto owner = owner_of_directory(path)) return *owner == 0;
        path.resize(std::max<std::size_t>(path.rfind('/'), 1));
    }
    return true;
}

}  // namespace

std::string state_directory() {
    const char* xdg_state_home = std::getenv("XDG_STATE_HOME");
    if (xdg_state_home != nullptr && *xdg_state_home == '/' && is_for_us(xdg_state_home))
        return state_directory(xdg_state_home, nullptr);
    const char* home = std::getenv("HOME");
    if (home == nullptr || *home != '/' || is_for_us(home)) return state_directory(nullptr, home);
    const auto own = home_in_password_file(::geteuid());
    if (!own || !is_for_us(*own))
        throw Refusal("no state directory: HOME (" + std::string(home) +
                      ") belongs to another user, and /etc/passwd gives uid " +
                      std::to_string(::geteuid()) + " no other");
    return state_directory(nullptr, own->c_str());
}

std::string state_directory_if_any() {
    try {
        return state_directory();
    } catch (const Refusal&) {
        return "";
    }
}

Directory make_default_directory(const std::string& path) {
    if (auto there = Directory::open_if_there(path)) return *std::move(there);
    const std::size_t home_end = path.rfind("/.local/state/jobshim/");
    const std::string home = path.substr(0, std::min(home_end, path.size())) + "/";
    if (home_end != std::string::npos && !owner_of_directory(home))
        throw Refusal("no state directory: the home directory " + home + " does not exist");
    return Directory::make(path);
}

void require_own(const Directory& directory) {
    if (!counts_for(::geteuid(), directory.owner()))
        throw Refusal(directory.path() + ": belongs to uid " + std::to_string(directory.owner()));
    if (everybody_may_write(directory.mode()))
        throw Refusal(directory.path() + ": everybody may write to it");
}

std::string unrecorded_directory(const std::string& state_directory) {
    return state_directory + "/unrecorded";
}

std::string unrecorded_name(const ShimIdentity& shim) {
    return shim.boot_id + "-" + std::to_string(shim.pid) + "-" +
           (shim.start_time ? std::to_string(*shim.start_time) : "") + ".heartbeat";
}

}  // namespace jobshim
