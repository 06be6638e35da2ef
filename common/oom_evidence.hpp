// Whether the out-of-memory killer struck in this process's own memory group, by the kernel's own
// counters, read before and after; and whom it hit, by the kernel's log. Reads them; what they mean
// is oom_judgement's.
//
// Caveats: a counter tells that somebody in the group was hit, not who, and the log is root's (or
// whoever's may read it). The worker is in the same group as the shim unless it moves itself away.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/exit_reason.hpp"
#include "common/oom_judgement.hpp"
#include "common/run_record.hpp"

namespace jobshim {

// The counters as they are now. Where there is no memory controller to be read, the machine's (then
// `group` is empty); nothing where there are none either. `root` is put before every path.
std::optional<OomBaseline> read_oom_baseline(const std::string& root = "");

// False if the counters cannot be read any more: the group was removed, or may not be looked into.
bool is_readable(const OomBaseline& before);

// Nothing if no counter rose (or they cannot be read any more).
std::optional<OomFinding> compare_oom_counter(const OomBaseline& before);

// compare_oom_counter, and if they rose, whom it hit: proven only where the kernel's log can be
// read and its pids are those of `here`. To be asked before a suspect's zombie is reaped, or his
// pid may be somebody else's.
std::optional<OomFinding> look_for_oom(const OomBaseline& before, const ShimIdentity& here,
                                       const std::vector<OomSuspect>& suspects,
                                       OomDisclosure told = OomDisclosure::of_all);

// Where no counter tells: the group may be gone, or the worker may have moved to another. Reads the
// whole log, so it is for the few deaths that ask for it. Nothing if the log names no suspect. With
// `only_group` it must name that group too, for a suspect who is long reaped.
std::optional<OomFinding> look_for_oom_in_log(const OomBaseline& before, const ShimIdentity& here,
                                              const std::vector<OomSuspect>& suspects,
                                              const std::optional<std::string>& only_group = {});

// The most memory the group has ever had, in bytes. Nothing if it cannot be told.
std::optional<std::uint64_t> group_memory_peak(const OomBaseline& baseline);

// True for a file that may hold our counters: a heartbeat file may be forged.
bool is_oom_counter(std::string_view path);

}  // namespace jobshim
