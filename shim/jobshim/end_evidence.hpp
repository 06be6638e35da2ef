// What is known of an end beyond what the supervisor saw: what the worker left running, whether the
// OOM killer struck, how much memory was needed, where a core dump went.
//
// Caveats: but for read_memory_before, call these before the worker is reaped. After that, its pid
// and its process group may be reused.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/exit_reason.hpp"
#include "common/run_record.hpp"

namespace jobshim {

// The memory cgroup as it was before the worker started.
struct MemoryBefore {
    std::optional<OomBaseline> oom;
    std::optional<std::uint64_t> peak;  // in bytes
};
MemoryBefore read_memory_before();

// Whether the OOM killer struck, and which process it hit.
std::optional<OomFinding> find_oom(const MemoryBefore& before, const ShimIdentity& here,
                                   const WorkerIdentity& worker, const Ending& ending);

// For a worker that was killed by nobody we know: asks whoever may know. `began_ms`: when it began,
// in ms since 1970.
void look_for_killer(const MemoryBefore& before, const WorkerIdentity& worker,
                     std::int64_t began_ms, Ending& ending);

// The cgroup's peak memory in KiB, if this run raised it.
std::optional<std::int64_t> group_peak_since(const MemoryBefore& before);

// The members of the worker's own process group that are still there. `kill` sends them SIGKILL.
struct FoundLeftovers {
    std::vector<Leftover> list;
    std::string evidence = {};  // what came of the SIGKILL, if it was sent
};
FoundLeftovers find_leftovers(const WorkerIdentity& worker, const Ending& ending, bool kill);

// Where the core dump of a worker started in `directory` went; "" if it left none.
std::string find_core(const Ending& ending, const std::string& directory);

}  // namespace jobshim
