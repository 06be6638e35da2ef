#include "common/file_system.hpp"

#include <sys/statvfs.h>
#include <sys/vfs.h>

namespace jobshim {

bool is_mounted_noexec(const std::string& path) {
    struct statvfs info {};
    return ::statvfs(path.c_str(), &info) == 0 && (info.f_flag & ST_NOEXEC) != 0;
}

bool is_local_file_system(int fd) {
    struct statfs info {};
    if (::fstatfs(fd, &info) != 0) return false;
    // From linux/magic.h, which lacks zfs, and lacked f2fs before 5.x.
    switch (static_cast<unsigned long>(info.f_type) & 0xFFFFFFFFUL) {
        case 0xEF53:      // ext2, ext3, ext4
        case 0x58465342:  // xfs
        case 0x9123683E:  // btrfs
        case 0xF2F52010:  // f2fs
        case 0x2FC12FC1:  // zfs
        case 0x01021994:  // tmpfs
        case 0x794C7630:  // overlay
            return true;
        default:
            return false;
    }
}

}  // namespace jobshim
