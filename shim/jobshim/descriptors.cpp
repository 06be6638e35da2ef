#include "shim/jobshim/descriptors.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/system_calls.hpp"

namespace jobshim {

UniqueFd open_stand_in() {
    UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    return null ? std::move(null) : open_inert();
}

UniqueFd open_empty_input() {
    UniqueFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    return null ? std::move(null) : make_pipe().first;  // without a writer, it is at its end
}

bool ensure_standard_streams() {
    bool has_output = true;
    for (int fd = 0; fd <= 2; ++fd)
        if (::fcntl(fd, F_GETFD) < 0 && errno == EBADF) {
            has_output = has_output && fd != STDOUT_FILENO;
            (void)open_stand_in().release();  // gets the lowest free number: fd
        }
    return has_output;
}

void close_inherited_descriptors(std::vector<int> ours) {
    struct stat info {};
    if (::fstat(STDERR_FILENO, &info) == 0 &&
        (S_ISREG(info.st_mode) || (S_ISCHR(info.st_mode) && ::isatty(STDERR_FILENO) == 1)))
        ours.push_back(STDERR_FILENO);
    std::sort(ours.begin(), ours.end());
    std::vector<int> kept = descriptors_with_record_locks(ours);
    kept.insert(kept.end(), ours.begin(), ours.end());
    std::sort(kept.begin(), kept.end());
    unsigned first = 3;
    for (const int fd : kept) {
        if (static_cast<unsigned>(fd) < first) continue;
        if (static_cast<unsigned>(fd) > first) close_numbers(first, static_cast<unsigned>(fd) - 1);
        first = static_cast<unsigned>(fd) + 1;
    }
    close_numbers(first, ~0U);
    // Afterwards, when there is room for one more. Without a stand-in they stay open: a record must
    // not get such a number.
    const UniqueFd stand_in = open_stand_in();
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
        if (stand_in && !std::binary_search(kept.begin(), kept.end(), fd))
            put_onto(stand_in.get(), fd);
}

}  // namespace jobshim
