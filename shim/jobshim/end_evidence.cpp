#include "shim/jobshim/end_evidence.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "common/core_pattern.hpp"
#include "common/kernel_log.hpp"
#include "common/oom_daemons.hpp"
#include "common/oom_evidence.hpp"
#include "common/posix_error.hpp"
#include "common/process_identity.hpp"
#include "common/send_signal.hpp"
#include "common/units.hpp"
#include "shim/jobshim/journal.hpp"

namespace jobshim {

namespace {

// False if the worker certainly started no process, because nothing in its pid namespace has
// started since. Then there is no need to scan all processes, which takes a fifth of what a short
// job costs.
bool may_have_descendants(const WorkerIdentity& worker, const Ending& ending, bool kill) {
    return ending.survivor || kill || !is_newest_process(worker.pid);
}

// Says what came of it. The worker is not reaped yet, so its pid still names its process group.
std::string kill_group(int group, const std::vector<ProcessStat>& members) {
    std::vector<ProcessHandle> handles;
    for (const ProcessStat& member : members)
        handles.push_back(open_process(member.pid, member.start_time));
    const int error = signal_group(group, SIGKILL);
    if (error != 0 && error != EPERM)
        return "SIGKILL could not be sent to what the worker left behind: " + errno_text(error);
    std::string spared;
    for (const ProcessHandle& handle : handles)
        if (handle && signal_process(handle, 0) == EPERM)
            spared += (spared.empty() ? "" : ", ") + std::to_string(handle.pid());
    return "SIGKILL sent to what the worker left behind" +
           (spared.empty() ? "" : ", but not permitted for pid " + spared);
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

void look_for_killer(const MemoryBefore& before, const WorkerIdentity& worker,
                     std::int64_t began_ms, Ending& ending) {
    if (ending.survivor || ending.timed_out || ending.cancelled || !WIFSIGNALED(ending.wait_status))
        return;
    const int signal = WTERMSIG(ending.wait_status);
    const bool was_passed_on =
        std::any_of(ending.passed_on.begin(), ending.passed_on.end(),
                    [&](const PassedOn& passed) { return passed.signal == signal; });
    if (was_passed_on || (signal != SIGKILL && signal != SIGTERM)) return;
    // What the OOM killer did to others is told elsewhere.
    if (signal == SIGKILL && before.oom && !ending.oom) {
        if (is_readable(*before.oom)) ending.looked_at.emplace_back("the OOM killer's counter");
        if (kernel_log_is_readable()) ending.looked_at.emplace_back("the kernel's log");
    }
    const auto journal = read_journal(journal_query(began_ms));
    if (!journal) return;
    ending.oom_daemon =
        find_oom_daemon(*journal, worker.pid, before.oom ? before.oom->group : std::string());
    // Others may be shown only a part of it, without a word.
    if (::geteuid() == 0) ending.looked_at.emplace_back("the journal of earlyoom and systemd-oomd");
}

std::optional<std::int64_t> group_peak_since(const MemoryBefore& before) {
    if (!before.peak) return std::nullopt;
    const auto peak = group_memory_peak(*before.oom);
    if (!peak || *peak <= *before.peak) return std::nullopt;
    return static_cast<std::int64_t>(*peak >> 10U);
}

FoundLeftovers find_leftovers(const WorkerIdentity& worker, const Ending& ending, bool kill) {
    FoundLeftovers found;
    if (worker.group != Group::own || !may_have_descendants(worker, ending, kill)) return found;
    const auto members = members_of_group(worker.pid, ending.survivor ? 0 : worker.pid);
    for (const ProcessStat& member : members)
        found.list.push_back({member.pid, printable(member.command)});
    if (kill && !members.empty()) found.evidence = kill_group(worker.pid, members);
    return found;
}

std::string find_core(const Ending& ending, const std::string& directory) {
    const bool dumped = WIFSIGNALED(ending.wait_status) && WCOREDUMP(ending.wait_status);
    if (ending.survivor || !dumped) return "";
    return printable(describe_core(read_core_pattern(), directory));
}

}  // namespace jobshim
