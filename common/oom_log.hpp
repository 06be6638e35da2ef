// The out-of-memory killer's victims, according to the kernel's log. Pure.
//
// Caveats: pids are those of the initial pid namespace; times are those of the kernel's own clock,
// which drifts against CLOCK_MONOTONIC. Every victim has one line ("Killed process"); the rest (its
// memory cgroup, its thread group) is logged for at most ten kills in 5 s.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace jobshim {

struct OomVictim {
    int pid = 0;                      // a thread's id, if the main thread had already ended
    std::optional<int> thread_group;  // the process's pid, if the log has it
    std::string name;
    std::optional<std::string> group;  // its memory cgroup, from the root of the hierarchy
    std::int64_t at_us = 0;
};

// Takes records from /dev/kmsg, in order.
class OomLog {
public:
    void add(std::string_view record);
    // Records were lost before they could be read. What follows is as good as a log that begins
    // here, as every log does that has grown beyond the kernel's buffer.
    void note_gap();

    const std::vector<OomVictim>& victims() const { return victims_; }
    // False if a kill after that of `victim`, one of ours, may have been lost.
    bool is_complete_since(const OomVictim& victim) const;

private:
    std::vector<OomVictim> victims_;
    std::map<int, int> thread_groups_;   // from the task table that precedes a kill
    std::map<int, std::string> groups_;  // from the summary line that precedes a kill
    std::size_t before_gap_ = 0;         // how many victims precede the last gap
};

}  // namespace jobshim
