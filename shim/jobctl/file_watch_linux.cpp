#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "common/clocks.hpp"
#include "common/posix_error.hpp"
#include "common/system_calls.hpp"
#include "shim/jobctl/file_watch.hpp"

namespace jobshim {

namespace {

constexpr std::uint32_t directory_events = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO |
                                           IN_CLOSE_WRITE | IN_DELETE_SELF | IN_MOVE_SELF;

}  // namespace

// Creates the inotify descriptor on first use. Without inotify (this user has none left),
// everything still works, but more slowly.
std::optional<FileWatch::WatchId> FileWatch::add(const std::string& path, std::uint32_t events) {
    if (!fd_) fd_.reset(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    const int watch = fd_ ? ::inotify_add_watch(fd_.get(), path.c_str(), events) : -1;
    return watch < 0 ? std::nullopt : std::optional(watch);
}

std::optional<FileWatch::WatchId> FileWatch::watch_directory(const Directory& directory) {
    return add(path_of_descriptor(directory.descriptor()), directory_events | IN_ONLYDIR);
}

std::optional<FileWatch::WatchId> FileWatch::watch_file(int fd) {
    return add(path_of_descriptor(fd), IN_MODIFY);
}

FileWatch::News FileWatch::read() {
    News news;
    alignas(inotify_event) std::array<char, 16384> buffer;
    for (;;) {
        const ssize_t got = fd_ ? ::read(fd_.get(), buffer.data(), buffer.size()) : 0;
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return news;
        for (std::size_t at = 0; at < static_cast<std::size_t>(got);) {
            inotify_event event;
            std::memcpy(&event, buffer.data() + at, sizeof event);
            // The name is padded with null bytes.
            const char* name = buffer.data() + at + sizeof event;
            at += sizeof event + event.len;
            if ((event.mask & IN_Q_OVERFLOW) != 0)
                news.some_were_lost = true;
            else
                news.changes.push_back({event.wd, event.len > 0 ? name : ""});
        }
    }
}

void poll_until(std::chrono::nanoseconds then, std::vector<pollfd>& descriptors) {
    const auto now = monotonic_now();
    const timespec time = to_timespec(then > now ? then - now : std::chrono::nanoseconds(0));
    const timespec* limit = then == end_of_time ? nullptr : &time;
    if (::ppoll(descriptors.data(), descriptors.size(), limit, nullptr) < 0 && errno != EINTR)
        throw_errno("poll");
}

}  // namespace jobshim
