#include "shim/jobshim/descriptors.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace jobshim {

void ensure_standard_streams() {
    for (int fd = 0; fd <= 2; ++fd)
        if (::fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void)::open("/dev/null", O_RDWR | O_CLOEXEC);  // gets the lowest free number: fd
}

void close_inherited_descriptors(std::vector<int> ours) {
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0)
        return;  // out of descriptors: leave them open rather than free a number for a record
    struct stat info {};
    const bool keep_stderr = ::isatty(STDERR_FILENO) == 1 ||
                             (::fstat(STDERR_FILENO, &info) == 0 && S_ISREG(info.st_mode));
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
        if (fd != STDERR_FILENO || !keep_stderr) put_onto(null, fd);
    std::sort(ours.begin(), ours.end());
    unsigned first = 3;
    for (const int fd : ours) {
        if (static_cast<unsigned>(fd) < first) continue;
        if (static_cast<unsigned>(fd) > first) close_numbers(first, static_cast<unsigned>(fd) - 1);
        first = static_cast<unsigned>(fd) + 1;
    }
    close_numbers(first, ~0U);
}

}  // namespace jobshim
