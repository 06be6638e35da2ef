// Reports that files have changed, as far as this host's kernel sees it, and sleeps until then.
//
// Caveats: what other hosts do on a network file system is not seen. The kernel limits a user's
// watches; without one (no WatchId) the caller has to look again by itself.
#pragma once

#include <poll.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/directory.hpp"
#include "common/unique_fd.hpp"

namespace jobshim {

class FileWatch {
public:
    using WatchId = int;

    // Reports files that appear, disappear, are replaced, or are closed after being open for
    // writing. Not every write: a busy log beside the job file must not wake anybody; nor touches:
    // a beat is not news. The same directory gives the same WatchId.
    std::optional<WatchId> watch_directory(const Directory& directory);
    // Reports every write to an open file, by whomever.
    std::optional<WatchId> watch_file(int fd);

    // To poll for POLLIN; -1 (which poll ignores) while there is none.
    int descriptor() const { return fd_.get(); }

    struct Change {
        WatchId watch;
        std::string name;  // within a directory; "": the watched file or directory itself
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

// Sleeps until one of the descriptors is ready, or until `then` (monotonic clock).
void poll_until(std::chrono::nanoseconds then, std::vector<pollfd>& descriptors);

// "Never", for poll_until.
constexpr std::chrono::nanoseconds end_of_time = std::chrono::nanoseconds::max();

}  // namespace jobshim
