#include "shim/jobshim/end_evidence.hpp"

#include <sys/wait.h>

#include <csignal>

#include "common/core_pattern.hpp"
#include "common/oom_evidence.hpp"
#include "common/process_identity.hpp"
#include "common/units.hpp"

namespace jobshim {

namespace {

// False if the worker certainly started no process, because nothing in its pid namespace has
// started since. Then there is no need to scan all processes, which takes a fifth of what a short
// job costs.
bool may_have_descendants(const WorkerIdentity& worker, const Ending& ending, bool kill) {
    return ending.stuck || kill || !is_newest_process(worker.pid);
}

}  // namespace

MemoryBefore read_memory_before() {
    MemoryBefore before;
    before.oom = read_oom_baseline();
    if (before.oom) before.peak = group_memory_peak(*before.oom);
    return before;
}

std::optional<OomFinding> find_oom(const MemoryBefore& before, const ShimIdentity& here,
                                   const WorkerIdentity& worker, const Ending& ending) {
    if (!before.oom) return std::nullopt;
    const std::vector<OomSuspect> us{{worker.pid, OomSuspect::worker}};
    const auto finding = look_for_oom(*before.oom, here, us);
    const bool was_killed =
        WIFSIGNALED(ending.wait_status) && WTERMSIG(ending.wait_status) == SIGKILL;
    return finding || !was_killed ? finding : look_for_oom_in_log(*before.oom, here, us);
}

std::optional<std::int64_t> group_peak_since(const MemoryBefore& before) {
    if (!before.peak) return std::nullopt;
    const auto peak = group_memory_peak(*before.oom);
    if (!peak || *peak <= *before.peak) return std::nullopt;
    return static_cast<std::int64_t>(*peak >> 10U);
}

std::vector<Leftover> find_leftovers(const WorkerIdentity& worker, const Ending& ending,
                                     bool kill) {
    std::vector<Leftover> leftovers;
    if (worker.group != Group::own || !may_have_descendants(worker, ending, kill)) return leftovers;
    for (const ProcessStat& member : members_of_group(worker.pid, ending.stuck ? 0 : worker.pid))
        leftovers.push_back({member.pid, printable(member.command)});
    // The worker is not reaped yet, so its pid still names its process group.
    if (kill && !leftovers.empty()) ::kill(-worker.pid, SIGKILL);
    return leftovers;
}

std::string find_core(const Ending& ending, const std::string& directory) {
    const bool dumped = WIFSIGNALED(ending.wait_status) && WCOREDUMP(ending.wait_status);
    if (ending.stuck || !dumped) return "";
    return printable(describe_core(read_core_pattern(), directory));
}

}  // namespace jobshim
