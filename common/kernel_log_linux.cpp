#include "common/kernel_log.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace jobshim {

namespace {

UniqueFd open_kernel_log() {
    return UniqueFd(::open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC));
}

}  // namespace

OomLogReader::OomLogReader() : kernel_log_(open_kernel_log()) {}

bool OomLogReader::read_on() {
    if (!kernel_log_) return false;
    std::array<char, 8192> record{};
    // One record per call. The bound is for a log that grows as fast as it is read.
    for (int count = 0; count < 200'000; ++count) {
        const ssize_t size = ::read(kernel_log_.get(), record.data(), record.size());
        if (size > 0)
            log_.add({record.data(), static_cast<std::size_t>(size)});
        else if (size < 0 && (errno == EPIPE || errno == EINVAL))
            log_.note_gap();  // overwritten, or too long for us; the next read goes on
        else if (size == 0 || errno != EINTR)
            return size == 0 || errno == EAGAIN;
    }
    log_.note_gap();
    return true;
}

bool kernel_log_is_readable() { return bool(open_kernel_log()); }

}  // namespace jobshim
