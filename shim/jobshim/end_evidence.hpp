// What is known of an end besides what the supervisor saw of it: what the worker left behind,
// whether the OOM killer struck, how much memory was needed, where a core went.
//
// Caveats: to be asked before the worker is reaped. Until then its number, and its group's, are its
// own.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/exit_reason.hpp"
#include "common/run_record.hpp"

namespace jobshim {

// The memory group as it was before the worker began.
struct MemoryBefore {
    std::optional<OomBaseline> oom;
    std::optional<std::uint64_t> peak;  // in bytes
};
MemoryBefore read_memory_before();

// Whether the OOM killer struck, and whom.
std::optional<OomFinding> find_oom(const MemoryBefore& before, const ShimIdentity& here,
                                   const WorkerIdentity& worker, const Ending& ending);

// What the memory group needed at most, in KiB, if that was in this run.
std::optional<std::int64_t> group_peak_since(const MemoryBefore& before);

// The members of the worker's own group that are still there. With `kill` they are sent SIGKILL.
std::vector<Leftover> find_leftovers(const WorkerIdentity& worker, const Ending& ending, bool kill);

// Where the core of a worker went that was started in `directory`; "" if it left none.
std::string find_core(const Ending& ending, const std::string& directory);

}  // namespace jobshim
