// Whether the out-of-memory killer struck in this process's own memory group, by the kernel's own
// counters, read before and after.
//
// Caveats: a counter tells that somebody in the group was hit, not who. The worker is in the same
// group as the shim unless it moves itself away.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "common/exit_reason.hpp"

namespace jobshim {

// The counter at one time. Nothing where there is no memory controller to be read.
struct OomBaseline {
    std::string group;    // as /proc/self/cgroup names it
    std::string counter;  // the file that holds `oom_kill N`
    std::uint64_t kills = 0;
};
std::optional<OomBaseline> read_oom_baseline();

// Nothing if the counter did not rise (or cannot be read any more).
std::optional<OomFinding> compare_oom_counter(const OomBaseline& before);

// True if /dev/kmsg can be read, which names the victims.
bool kernel_log_is_readable();

// The pure part: N of a line "oom_kill N".
std::optional<std::uint64_t> oom_kill_count(std::string_view text);

}  // namespace jobshim
