// Judges a death by the OOM killer's counters, read before and after, and by the kernel's log:
// whether the OOM killer struck, and which process it hit. Pure.
//
// Caveats: a counter shows that some process in the cgroup was hit, not which one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/exit_reason.hpp"
#include "common/oom_log.hpp"
#include "common/run_record.hpp"

namespace jobshim {

// Files of cgroup v2: memory.events counts events in the cgroup and its descendants;
// memory.events.local, which is newer (Linux 5.2), only those in the cgroup itself.
constexpr std::string_view own_events = "memory.events.local";
constexpr std::string_view events_below = "memory.events";

// The file that also counts descendants, if `counter` counts only the cgroup itself; else "".
std::string oom_counter_below(const std::string& counter);

// The N in a line "KEY N".
std::optional<std::uint64_t> counter_in(std::string_view text, std::string_view key);

struct OomCounters {
    std::optional<std::uint64_t> kills;
    std::optional<std::uint64_t> group_kills;  // kills of the whole cgroup (memory.oom.group)
    std::optional<std::uint64_t> kills_below;  // in the cgroup and its descendants
};
// `text_below` is the text of the file that oom_counter_below names.
OomCounters oom_counters_in(std::string_view text, std::string_view text_below);

struct OomRise {
    std::uint64_t kills = 0;  // rise of the cgroup's own counter
    OomFinding finding;
};
// Nothing if no counter rose. Leaves the limit to the caller.
std::optional<OomRise> judge_oom_counters(const OomBaseline& before, const OomCounters& now);

// One of our processes that the OOM killer may have hit.
struct OomSuspect {
    enum Who { worker, shim };
    int pid = 0;
    Who who = worker;
};

// Which victims may be named: a caller that can read the log may not disclose all of it to
// everybody.
enum class OomDisclosure { of_all, of_suspects };

// Adds what the log says to a finding. `rise` is the rise of the cgroup's own counter. Without
// `groups_agree`, the log's cgroup names cannot be compared with `before`'s (a cgroup namespace).
void name_victims(OomFinding& finding, const OomBaseline& before, std::uint64_t rise,
                  const OomLog& log, const std::vector<OomSuspect>& suspects, bool groups_agree,
                  OomDisclosure disclosure = OomDisclosure::of_all);

// What the log shows by itself. Nothing if it names no suspect. With `only_group` it must also name
// that cgroup, for a suspect that was reaped long ago.
std::optional<OomFinding> victims_among(const std::vector<OomSuspect>& suspects,
                                        const OomBaseline& before, const OomLog& log,
                                        bool groups_agree,
                                        const std::optional<std::string>& only_group = {});

// True if the log has at least `wanted` kills since `before`.
bool has_victims_since(const OomLog& log, const OomBaseline& before, std::uint64_t wanted);

}  // namespace jobshim
