#include "shim/jobshim/descriptors.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

namespace jobshim {

namespace {

// The numbers from `first` to `last`.
void close_range_of(unsigned first, unsigned last) {
    if (first > last || ::syscall(SYS_close_range, first, last, 0U) == 0) return;
    // Before Linux 5.9: one by one, as /proc lists them. Closing changes the list, so it is read
    // to its end first.
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

}  // namespace

void occupy_low_descriptors() {
    for (int fd = 0; fd <= 2; ++fd)
        if (::fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void)::open("/dev/null", O_RDWR | O_CLOEXEC);  // takes the lowest free number: fd
}

void let_go_of_inherited(std::vector<int> ours) {
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0)
        return;  // out of descriptors: better held open than a number free for a record to get
    struct stat info {};
    const bool keep_stderr = ::isatty(STDERR_FILENO) == 1 ||
                             (::fstat(STDERR_FILENO, &info) == 0 && S_ISREG(info.st_mode));
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
        if (fd != STDERR_FILENO || !keep_stderr) ::dup3(null, fd, O_CLOEXEC);
    std::sort(ours.begin(), ours.end());
    unsigned first = 3;
    for (const int fd : ours) {
        if (static_cast<unsigned>(fd) < first) continue;
        if (static_cast<unsigned>(fd) > first) close_range_of(first, static_cast<unsigned>(fd) - 1);
        first = static_cast<unsigned>(fd) + 1;
    }
    close_range_of(first, ~0U);
}

}  // namespace jobshim
