// What the kernel's log tells of the out-of-memory killer: whom it hit. Pure.
//
// Caveats: pids are those of the initial pid namespace, times those of the kernel's own clock,
// which drifts against CLOCK_MONOTONIC. One line a victim is always there ("Killed process"); what
// is told besides (its memory group, its thread group) is left out for all but ten kills in 5 s.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace jobshim {

struct OomVictim {
    int pid = 0;                      // of a thread of it, if its first thread had ended before
    std::optional<int> thread_group;  // the process's pid, where the log tells
    std::string name;
    std::optional<std::string> group;  // its memory group, from the root of the hierarchy
    std::int64_t at_us = 0;
};

// Takes records as /dev/kmsg gives them, in their order.
class OomLog {
public:
    void add(std::string_view record);
    // Records were overwritten before they could be read.
    void note_gap() { complete_ = false; }

    const std::vector<OomVictim>& victims() const { return victims_; }
    bool is_complete() const { return complete_; }

private:
    std::vector<OomVictim> victims_;
    std::map<int, int> thread_groups_;   // of the table that comes before a kill
    std::map<int, std::string> groups_;  // likewise
    bool complete_ = true;
};

}  // namespace jobshim
