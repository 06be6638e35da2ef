// The kind of file system that a file is on.
#pragma once

#include <string>

namespace jobshim {

// True if files there cannot be executed, whatever their mode.
bool is_mounted_noexec(const std::string& path);

// True for a file system that only this kernel writes to, so that a record from an earlier boot
// proves that boot is over: ext2 to ext4, xfs, btrfs, f2fs, zfs, tmpfs, overlay. False for all
// others, including network file systems, and if the type cannot be determined.
bool is_local_file_system(int fd);

}  // namespace jobshim
