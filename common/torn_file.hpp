// How long a file is waited for that is no JSON object (yet): others truncate and write, and a
// reader may come in between.
//
// Who only looks counts from the file's last change, so one that nobody has touched for so long is
// not waited for. Who is about to move it aside counts from his own first look: the machine may
// have slept since the change, and its writer is just going on. And nobody waits longer than that
// in all, for a file that is written again and again may be torn at every look.
//
// Caveats: a file server stamps a file by a clock of its own, and a clock may have been set back.
// Where its age is not known for sure, a file is given all of the patience.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "common/atomic_file.hpp"

namespace jobshim {

// Given to a job file, and to one of codex-companion's.
constexpr std::chrono::milliseconds torn_job_patience{1000};
constexpr std::chrono::milliseconds torn_companion_patience{2000};

// Pure: what is left of the patience with a file whose last change is so long ago.
std::chrono::milliseconds rest_of_patience(std::chrono::milliseconds patience,
                                           std::optional<std::chrono::milliseconds> age);

// With one file, or with many that are waited for at once.
class TornPatience {
public:
    explicit TornPatience(std::chrono::milliseconds patience) : patience_(patience) {}

    // Counted from the first pause.
    bool is_over() const;
    // Or from the last change of a file that was read as torn, as it was at `stamp`.
    bool is_over_for(const std::string& path, const FileStamp& stamp) const;
    // Until the next look.
    void pause();

private:
    std::chrono::milliseconds patience_;
    std::optional<std::chrono::nanoseconds> deadline_;  // monotonic
};

}  // namespace jobshim
