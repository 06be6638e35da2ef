// From the OOM killer's counters, read before and after, and from the kernel's log to what is said
// of a death: whether it struck, and whom it hit. Pure.
//
// Caveats: a counter tells that somebody in the group was hit, not who.
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

// The files of cgroup v2: memory.events counts what befell the group and those below it,
// memory.events.local, which is younger than it (Linux 5.2), the group alone.
constexpr std::string_view own_events = "memory.events.local";
constexpr std::string_view events_below = "memory.events";

// Where the groups below are counted in, too, if `counter` is of a group alone; else "".
std::string oom_counter_below(const std::string& counter);

// N of a line "KEY N".
std::optional<std::uint64_t> counter_in(std::string_view text, std::string_view key);

struct OomCounters {
    std::optional<std::uint64_t> kills;
    std::optional<std::uint64_t> group_kills;  // of the group as a whole (memory.oom.group)
    std::optional<std::uint64_t> kills_below;  // in the group and in those below it
};
// `text_below` is that of oom_counter_below.
OomCounters oom_counters_in(std::string_view text, std::string_view text_below);

struct OomRise {
    std::uint64_t kills = 0;  // of the group's own counter
    OomFinding finding;
};
// Nothing if no counter rose. Leaves the limit to the caller.
std::optional<OomRise> judge_oom_counters(const OomBaseline& before, const OomCounters& now);

// One of ours whom the OOM killer may have hit.
struct OomSuspect {
    enum Who { worker, shim };
    int pid = 0;
    Who who = worker;
};

// Of whom the log's words are told: who may read the log may not tell everybody of it.
enum class OomDisclosure { of_all, of_suspects };

// What the log adds to a finding. `rise` is by how much the group's own counter rose. Without
// `groups_agree` the log's names of memory groups are not those of `before` (a cgroup namespace).
void name_victims(OomFinding& finding, const OomBaseline& before, std::uint64_t rise,
                  const OomLog& log, const std::vector<OomSuspect>& suspects, bool groups_agree,
                  OomDisclosure told = OomDisclosure::of_all);

// What the log alone tells. Nothing if it names no suspect. With `only_group` it must name that
// group too, for a suspect who is long reaped.
std::optional<OomFinding> victims_among(const std::vector<OomSuspect>& suspects,
                                        const OomBaseline& before, const OomLog& log,
                                        bool groups_agree,
                                        const std::optional<std::string>& only_group = {});

// The log tells of as many kills since then.
bool has_victims_since(const OomLog& log, const OomBaseline& before, std::uint64_t wanted);

}  // namespace jobshim
