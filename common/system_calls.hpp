// Calls on files that each system names in its own way.
//
// Caveats: like the system's own they throw nothing: what fails is false or empty, with errno.
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

// Sets disk space aside for the first `bytes` bytes, and leaves the size as it is.
bool reserve_space(int fd, off_t bytes);

// In one step. EINVAL, ENOSYS or EOPNOTSUPP where the file system cannot.
bool rename_no_replace(const std::string& from, const std::string& to);
bool rename_exchange(const std::string& one, const std::string& other);

// Down to the medium: what was written outlives a power cut.
bool flush_to_disk(int fd);

// For fstatat(2), unlinkat(2) and the like. Needs no right to read the directory.
UniqueFd open_directory_for_lookup(const std::string& path);

// The end to read from, the end to write to. No exec inherits them.
std::pair<UniqueFd, UniqueFd> make_pipe();
// Two ends, each for both ways. A short message that is read by its own length arrives whole. No
// exec inherits them.
std::pair<UniqueFd, UniqueFd> make_socket_pair();

}  // namespace jobshim
