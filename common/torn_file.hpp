// How long to wait for a file that is not a JSON object (yet): other programs truncate and write,
// and a reader may look in between.
//
// A process that only looks counts from the file's last change, so it does not wait for a file that
// nobody has touched for that long. A process about to move the file aside counts from its own
// first look: the machine may have slept since the change, and the writer may just be resuming. No
// process waits longer than the patience in total, because a file that is rewritten again and again
// may be torn at every look.
//
// Caveats: a file server stamps files by its own clock, and a clock may have been set back. If a
// file's age is not known for certain, it gets the full patience.
//
// Who waits, and what happens to a file that stays torn: job_file.cpp (the shim and settlers move
// it aside), observation.cpp and shim/jobctl/look.cpp (`unknown`), companion/look.cpp and
// companion/mirror.cpp (the plugin's files).
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "common/directory.hpp"

namespace jobshim {

// For a job file, and for one of codex-companion's.
constexpr std::chrono::milliseconds torn_job_patience{1000};
constexpr std::chrono::milliseconds torn_companion_patience{2000};

// Pure: what is left of the patience for a file that last changed `age` ago.
std::chrono::milliseconds remaining_patience(std::chrono::milliseconds patience,
                                             std::optional<std::chrono::milliseconds> age);

// Patience with one file, or with several at once.
class TornPatience {
public:
    explicit TornPatience(std::chrono::milliseconds patience) : patience_(patience) {}

    // True if the patience, counted from the first pause, has run out.
    bool is_over() const;
    // Likewise, or counted from the last change of a file that was read as torn and had this
    // `stamp`.
    bool is_over_for(const Directory& directory, const std::string& name,
                     const FileStamp& stamp) const;
    // Waits until the next look.
    void pause();

private:
    std::chrono::milliseconds patience_;
    std::optional<std::chrono::nanoseconds> deadline_;  // monotonic
};

}  // namespace jobshim
