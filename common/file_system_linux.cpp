#include "common/file_system.hpp"

#include <sys/statvfs.h>
#include <sys/vfs.h>

#include <algorithm>

#include "common/clocks.hpp"

namespace jobshim {

bool is_mounted_noexec(const std::string& path) {
    struct statvfs info {};
    return ::statvfs(path.c_str(), &info) == 0 && (info.f_flag & ST_NOEXEC) != 0;
}

bool is_local_file_system(const std::string& path) {
    struct statfs info {};
    if (::statfs(path.c_str(), &info) != 0) return false;
    // linux/magic.h; the header has no zfs, and f2fs only since 5.x.
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

std::chrono::milliseconds rest_of_patience(const std::string& path, const FileStamp& stamp,
                                           std::chrono::milliseconds patience) {
    // It may have been cut between the look at its times and the reading.
    const auto now = stamp_at(path);
    if (!now || !stamp.unchanged(*now)) return patience;
    const std::chrono::milliseconds age(wall_now_ms() - stamp.modified_ns / 1'000'000);
    const bool is_known = age.count() >= 0 && is_local_file_system(path);
    return is_known ? std::max(patience - age, std::chrono::milliseconds(0)) : patience;
}

}  // namespace jobshim
