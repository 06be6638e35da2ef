// Whether the out-of-memory killer struck in this process's own memory cgroup, according to the
// kernel's counters, read before and after; and which process it hit, according to the kernel's
// log. This header reads them; oom_judgement.hpp interprets them.
//
// Caveats: a counter shows that some process in the cgroup was hit, not which one, and only root
// (or a user with access) can read the log. The worker is in the shim's cgroup unless it moves
// itself out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/exit_reason.hpp"
#include "common/oom_judgement.hpp"
#include "common/run_record.hpp"

namespace jobshim {

// The current counters. If no memory controller can be read, those of the whole machine (`group` is
// then empty); nothing if there are none either. `root` is prepended to every path.
std::optional<OomBaseline> read_oom_baseline(const std::string& root = "");

// False if the counters can no longer be read: the cgroup was removed, or access is denied.
bool is_readable(const OomBaseline& before);

// Nothing if no counter rose, or if the counters can no longer be read. Which process was hit is
// proven only if the kernel's log can be read and its pids are those of `here`. Call this before a
// suspect's zombie is reaped; afterwards its pid may have been reused.
std::optional<OomFinding> look_for_oom(const OomBaseline& before, const ShimIdentity& here,
                                       const std::vector<OomSuspect>& suspects,
                                       OomDisclosure disclosure = OomDisclosure::of_all);

// For when no counter can tell: the cgroup may be gone, or the worker may have moved to another.
// Reads the whole log, so it is only for the few deaths that need it. Nothing if the log names no
// suspect. With `only_group` the log must also name that cgroup, for a suspect that was reaped long
// ago.
std::optional<OomFinding> look_for_oom_in_log(const OomBaseline& before, const ShimIdentity& here,
                                              const std::vector<OomSuspect>& suspects,
                                              const std::optional<std::string>& only_group = {});

// The cgroup's peak memory use, in bytes. Nothing if it is unknown.
std::optional<std::uint64_t> group_memory_peak(const OomBaseline& baseline);

// True if the path may be one of our counters: a heartbeat file can be forged.
bool is_oom_counter(std::string_view path);

}  // namespace jobshim
