// File operations that each system calls by a different name.
//
// Caveats: like system calls they throw nothing: a failure returns false or empty, with errno.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <ctime>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/unique_fd.hpp"

namespace jobshim {

timespec mtime_of(const struct stat& info);
timespec ctime_of(const struct stat& info);

// Reserves disk space for the first `bytes` bytes without changing the size.
bool reserve_space(int fd, off_t bytes);

// How long a file may become that this process writes (RLIMIT_FSIZE).
std::uint64_t longest_file();

// Atomic. EINVAL, ENOSYS or EOPNOTSUPP if the file system cannot. Names are relative to the open
// directories.
bool rename_no_replace(int directory, const std::string& from, const std::string& to);
bool rename_exchange(int one_directory, const std::string& one, int other_directory,
                     const std::string& other);

// True if another process is known to have this file, open for reading here, open for writing.
bool has_writer(int fd);

// Flushes to the medium: what was written survives a power cut.
bool flush_to_disk(int fd);

// For openat(2), fstatat(2), unlinkat(2) and the like. `path` is relative to `directory`, and its
// last component is not followed if it is a symbolic link. Needs no read permission.
UniqueFd open_directory_for_lookup(int directory, const std::string& path);
// Likewise, but whatever has that name, a symbolic link included: for fstat(2) and readlinkat(2).
UniqueFd open_name_for_lookup(int directory, const std::string& name);
// Follows a symbolic link, or what procfs shows as one.
UniqueFd open_directory_through_link(int directory, const std::string& name);
bool is_on_procfs(int fd);
// The same for an absolute path no part of which is a symbolic link; ELOOP if one is. ENOSYS or
// EPERM where the system cannot tell.
UniqueFd open_directory_without_links(const std::string& path);
// A path to what `fd` has open, for this process only.
std::string path_of_descriptor(int fd);

// The same file, open for reading. Empty, with errno, if this user may not read it.
UniqueFd reopen_for_reading(int fd);

// For this process alone.
bool change_working_directory(const std::string& path);

// The read end and the write end. Both are close-on-exec.
std::pair<UniqueFd, UniqueFd> make_pipe();
// Two ends, each of which can read and write. A short message, read with its own length, arrives
// whole. Both are close-on-exec.
std::pair<UniqueFd, UniqueFd> make_socket_pair();

// True if the kernel gave this process rights that its starter does not have: the program is
// set-user-ID or set-group-ID, or has file capabilities.
bool was_started_with_privileges();

// The home directory that /etc/passwd gives a user; nothing if it has none.
std::optional<std::string> home_in_password_file(uid_t user);

// The groups that /etc/passwd and /etc/group give a user; nothing if the user is not known there.
struct UserGroups {
    gid_t primary = 0;
    std::vector<gid_t> others;
};
std::optional<UserGroups> groups_of_user(uid_t user);

// Unpredictable.
std::uint64_t random_bits();

}  // namespace jobshim
