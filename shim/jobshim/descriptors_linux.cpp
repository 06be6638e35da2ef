#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <string>

#include "common/kernel_file.hpp"
#include "shim/jobshim/descriptors.hpp"

namespace jobshim {

bool leads_to_null_device(int fd) {
    struct stat info {};
    return ::fstat(fd, &info) == 0 && S_ISCHR(info.st_mode) && info.st_rdev == makedev(1, 3);
}

void put_onto(int from, int to) { ::dup3(from, to, O_CLOEXEC); }

UniqueFd open_inert() { return UniqueFd(::open("/", O_PATH | O_CLOEXEC)); }

namespace {

// The numbers of all open descriptors.
std::vector<int> open_descriptors() {
    std::vector<int> open;
    DIR* const directory = ::opendir("/proc/self/fd");
    if (directory == nullptr) return open;
    while (const dirent* entry = ::readdir(directory)) {
        const int fd = static_cast<int>(std::strtol(entry->d_name, nullptr, 10));
        if (entry->d_name[0] != '.' && fd != ::dirfd(directory)) open.push_back(fd);
    }
    ::closedir(directory);
    return open;
}

// All but `ours`.
std::vector<int> inherited_descriptors(const std::vector<int>& ours) {
    std::vector<int> inherited{STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO};
    const auto is_ours = [&](int fd) { return std::binary_search(ours.begin(), ours.end(), fd); };
    inherited.erase(std::remove_if(inherited.begin(), inherited.end(), is_ours), inherited.end());
    // Since Linux 6.2 the size of this directory is the number of open descriptors. Mostly there
    // are no others.
    struct stat info {};
    if (::stat("/proc/self/fd", &info) == 0 &&
        info.st_size == static_cast<off_t>(ours.size() + inherited.size()))
        return inherited;
    for (const int fd : open_descriptors())
        if (fd > STDERR_FILENO && !is_ours(fd)) inherited.push_back(fd);
    return inherited;
}

// True if this process took a record lock through this descriptor, or through a copy of it.
bool has_record_lock(int fd) {
    // "lock:\t1: POSIX  ADVISORY  WRITE 4711 fe:00:815 0 EOF". The locks of flock(2) and those of
    // an open file description, which the worker has as well, have other names.
    const std::string info = read_kernel_line("/proc/self/fdinfo/" + std::to_string(fd));
    return info.find(": POSIX ") != std::string::npos;
}

}  // namespace

std::vector<int> descriptors_with_record_locks(const std::vector<int>& ours) {
    const std::vector<int> inherited = inherited_descriptors(ours);
    std::vector<struct stat> locked;
    for (const int fd : inherited) {
        struct stat info {};
        if (has_record_lock(fd) && ::fstat(fd, &info) == 0) locked.push_back(info);
    }
    std::vector<int> theirs;
    if (locked.empty()) return theirs;
    const auto is_locked = [&](int fd) {
        struct stat info {};
        return ::fstat(fd, &info) == 0 &&
               std::any_of(locked.begin(), locked.end(), [&](const struct stat& file) {
                   return file.st_dev == info.st_dev && file.st_ino == info.st_ino;
               });
    };
    std::copy_if(inherited.begin(), inherited.end(), std::back_inserter(theirs), is_locked);
    return theirs;
}

void close_numbers(unsigned first, unsigned last) {
    if (first > last || ::syscall(SYS_close_range, first, last, 0U) == 0) return;
    // Before Linux 5.9: one by one. Closing changes the list, so read all of it first.
    for (const int fd : open_descriptors())
        if (static_cast<unsigned>(fd) >= first && static_cast<unsigned>(fd) <= last) ::close(fd);
}

}  // namespace jobshim
