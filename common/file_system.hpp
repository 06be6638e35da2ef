// What kind of file system a path lies on.
#pragma once

#include <chrono>
#include <string>

#include "common/atomic_file.hpp"

namespace jobshim {

// What lies there cannot be executed, whatever its mode.
bool is_mounted_noexec(const std::string& path);

// One that only this kernel writes to, so that an earlier boot's record proves the boot is over:
// ext4, xfs, btrfs, f2fs, zfs, tmpfs, overlay. False for all others, network ones among them, and
// where it cannot be told.
bool is_local_file_system(const std::string& path);

// How long yet to wait for a file that was read as torn, for its writer may be about to go on:
// `patience` from its last change, or all of it where it is another by now than the one of `stamp`,
// which was read, and where this machine's clock may not be the one that stamped it.
std::chrono::milliseconds rest_of_patience(const std::string& path, const FileStamp& stamp,
                                           std::chrono::milliseconds patience);

}  // namespace jobshim
