// Tells that files have changed, as far as this host's kernel sees it, and sleeps until it does.
//
// Caveats: what other hosts do to a network file system is not seen. The kernel gives a user only
// so many watches; without one (`nothing`) the caller has to look again by itself.
#pragma once

#include <poll.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/unique_fd.hpp"

namespace jobshim {

class FileWatch {
public:
    using WatchId = int;

    // Files that come, go, are replaced or closed by one who could write. Not each write: a busy
    // log beside the job file shall wake nobody; nor touches: a beat is no news. The same directory
    // gives the same place.
    std::optional<WatchId> watch_directory(const std::string& path);
    // Each write to a file.
    std::optional<WatchId> watch_file(const std::string& path);

    // To be polled for POLLIN; -1 (which poll ignores) while there is none.
    int descriptor() const { return fd_.get(); }

    struct Change {
        WatchId watch;
        std::string name;  // in a directory; "": the place itself
    };
    struct News {
        std::vector<Change> changes;
        bool some_were_lost = false;  // anything may have changed
    };
    News read();

private:
    std::optional<WatchId> add(const std::string& path, std::uint32_t events);

    UniqueFd fd_;
};

// Sleeps until one of the descriptors has something, or until then (monotonic clock).
void sleep_until(std::chrono::nanoseconds then, std::vector<pollfd>& descriptors);

// Never, for sleep_until.
constexpr std::chrono::nanoseconds end_of_time = std::chrono::nanoseconds::max();

}  // namespace jobshim
