#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstdlib>

#include "shim/jobshim/descriptors.hpp"

namespace jobshim {

bool leads_to_null_device(int fd) {
    struct stat info {};
    return ::fstat(fd, &info) == 0 && S_ISCHR(info.st_mode) && info.st_rdev == makedev(1, 3);
}

void put_onto(int from, int to) { ::dup3(from, to, O_CLOEXEC); }

void close_numbers(unsigned first, unsigned last) {
    if (first > last || ::syscall(SYS_close_range, first, last, 0U) == 0) return;
    // Before Linux 5.9: one by one, as listed in /proc. Closing changes the list, so read all of it
    // first.
    std::vector<int> open;
    if (DIR* directory = ::opendir("/proc/self/fd")) {
        while (const dirent* entry = ::readdir(directory)) {
            const int fd = static_cast<int>(std::strtol(entry->d_name, nullptr, 10));
            if (entry->d_name[0] != '.' && fd != ::dirfd(directory)) open.push_back(fd);
        }
        ::closedir(directory);
    }
    for (const int fd : open)
        if (static_cast<unsigned>(fd) >= first && static_cast<unsigned>(fd) <= last) ::close(fd);
}

}  // namespace jobshim
