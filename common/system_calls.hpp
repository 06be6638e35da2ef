// File operations that each system calls by a different name.
//
// Caveats: like system calls they throw nothing: a failure returns false or empty, with errno.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <ctime>
#include <string>
#include <utility>

#include "common/unique_fd.hpp"

namespace jobshim {

timespec mtime_of(const struct stat& info);
timespec ctime_of(const struct stat& info);

// Reserves disk space for the first `bytes` bytes without changing the size.
bool reserve_space(int fd, off_t bytes);

// Atomic. EINVAL, ENOSYS or EOPNOTSUPP if the file system cannot.
bool rename_no_replace(const std::string& from, const std::string& to);
bool rename_exchange(const std::string& one, const std::string& other);

// Flushes to the medium: what was written survives a power cut.
bool flush_to_disk(int fd);

// For fstatat(2), unlinkat(2) and the like. Needs no read permission on the directory.
UniqueFd open_directory_for_lookup(const std::string& path);

// The read end and the write end. Both are close-on-exec.
std::pair<UniqueFd, UniqueFd> make_pipe();
// Two ends, each of which can read and write. A short message, read with its own length, arrives
// whole. Both are close-on-exec.
std::pair<UniqueFd, UniqueFd> make_socket_pair();

}  // namespace jobshim
