// What kind of file system a path lies on.
#pragma once

#include <string>

namespace jobshim {

// What lies there cannot be executed, whatever its mode.
bool is_mounted_noexec(const std::string& path);

// One that only this kernel writes to, so that an earlier boot's record proves the boot is over:
// ext4, xfs, btrfs, f2fs, zfs, tmpfs, overlay. False for all others, network ones among them, and
// where it cannot be told.
bool is_local_file_system(const std::string& path);

}  // namespace jobshim
