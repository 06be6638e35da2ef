#include "common/settle.hpp"

#include <unistd.h>

#include <exception>

#include "common/clocks.hpp"
#include "common/posix_error.hpp"
#include "common/units.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;

// PR_SET_PDEATHSIG reaches the worker alone. The rest of its own group is ended here: what has its
// group number and session, its owner, and is no older than it was. A group's number is not given
// to a new process while the group has members; if its leader lives all the same, it is somebody
// else's.
//
// A job file is anybody's who may write the directory. What it says is acted on only if the
// heartbeat file, which is its owner's alone, agrees, and only against that owner's processes: so
// nobody can make another user's reader kill for him.
std::size_t end_rest_of_group(const Observation& seen) {
    const bool meant_to_die = seen.verdict.settle && !seen.known_end && seen.place == Place::here &&
                              seen.run && seen.heartbeat_agrees && seen.run->kill_on_shim_death &&
                              seen.run->worker && seen.run->worker->group == Group::own;
    if (!meant_to_die || seen.probe.owner != ::geteuid()) return 0;
    const WorkerIdentity& worker = *seen.run->worker;
    if (!worker.start_time || !worker.session || !seen.run->shim.start_time ||
        *worker.start_time < *seen.run->shim.start_time)
        return 0;
    std::size_t ended = 0;
    for (const ProcessStat& member : members_of_group(worker.pid, 0)) {
        if (member.pid == worker.pid) return ended;
        if (member.session != *worker.session || member.start_time < *worker.start_time ||
            member.owner != ::geteuid())
            continue;
        const UniqueFd process = open_process(member.pid, member.start_time);
        if (process && kill_process(process)) ++ended;
    }
    return ended;
}

// The verdict as it would read if it could be written.
void show_as_settled(Settled& result, FinalWord last, const std::string& why_not) {
    result.unwritable = why_not;
    result.unwritten = std::move(last);
    Sighting& settled = result.now.sighting;
    settled.status = result.unwritten->status;
    settled.end_sentence =
        (result.unwritten->sentence.empty() ? "Completed." : result.unwritten->sentence) +
        " (not recorded: " + why_not + ")";
    result.now.verdict = judge(settled);
}

}  // namespace

FinalWord final_word_on(const Observation& seen) {
    if (seen.known_end) return *seen.known_end;
    if (seen.cancelled) return judge_cancelled_unseen(seen.cancelled->what);
    const ExitReason reason =
        seen.sighting.rebooted ? ExitReason::host_rebooted : ExitReason::shim_lost;
    std::vector<std::string> evidence{seen.verdict.because};
    if (seen.probe.mtime_ns)
        evidence.push_back("last beat " + iso_time(*seen.probe.mtime_ns / 1'000'000));
    return judge_lost(reason, seen.worker_was_started, std::move(evidence));
}

std::optional<FinalWord> judge_dead(const Observation& seen) {
    if (!seen.verdict.settle) return std::nullopt;
    return final_word_on(seen);
}

Judgement with_eyewitness(const Eyewitness& eyewitness) {
    return [eyewitness](const Observation& seen) -> std::optional<FinalWord> {
        const bool is_his = seen.run && seen.run->worker == eyewitness.worker;
        if (!seen.verdict.settle || seen.known_end || !is_his) return judge_dead(seen);
        WitnessedEnd end;
        end.wait_status = eyewitness.wait_status;
        if (seen.cancelled) end.cancelled = seen.cancelled->what;
        end.result_expected = seen.run->expect_record;
        FinalWord last = judge_witnessed(end);
        last.exit.evidence.push_back("The shim (pid " + std::to_string(seen.run->shim.pid) +
                                     ") was lost; jobctl (pid " + std::to_string(eyewitness.pid) +
                                     ") watched the worker to its end");
        return last;
    };
}

void settle(JobFile& file, const Observation& seen, FinalWord last) {
    if (const std::size_t ended = end_rest_of_group(seen))
        last.exit.evidence.push_back("SIGKILL sent to " + std::to_string(ended) +
                                     " left in the worker's group");
    JobEdit edit;
    edit.run = seen.run.value_or(RunRecord{});
    if (seen.cancelled) edit.run.cancel = seen.cancelled;
    edit.set_end(last, iso_time(wall_now_ms()));
    file.update(
        [&](const JobDocument* document) {
            if (document == nullptr)  // deleted this moment: that is no reason to bring it back
                throw Refusal(file.files().job + ": is gone");
            // Somebody may have written an end since; that stands.
            return edit.applied_to(*document, is_terminal(document->status()));
        },
        JobFile::Write::last);
}

void tidy(const JobFiles& files) {
    if (!stamp_at(files.fresh) && !stamp_at(files.merged) && !stamp_at(files.reserve)) return;
    const auto lock = SettlerLock::try_take(files.heartbeat);
    if (!lock || lock->probe().lock != LifeLock::free) return;
    JobFile(files, SyncPolicy::never, [](const std::string&) {}).clear_leavings();
    lock->remove_if_empty();
}

Settled observe_and_settle(const JobFiles& files, const Observer& observer,
                           const Judgement& judgement) {
    Settled result;
    const auto deadline = monotonic_now() + 5 * death_patience;
    for (;;) {
        result.now = observe(files, observer);
        std::optional<FinalWord> last = judgement(result.now);
        if (!last) return result;
        try {
            auto lock = SettlerLock::try_take(files.heartbeat);
            if (lock) {
                // Under the lock once more: the first look may be old by now.
                const Prober prober = [&] { return lock->probe(); };
                result.now = observe(files, observer, prober);
                last = judgement(result.now);
                if (!last) return result;
                if (!lock->still_in_place()) continue;
                JobFile file(files, SyncPolicy::final,
                             [&](const std::string& notice) { result.notices.push_back(notice); });
                file.clear_leavings();
                settle(file, result.now, *last);
                ::unlink(files.cancel.c_str());
                if (result.now.run && !observer.state_directory.empty())
                    ::unlink(
                        unrecorded_file(observer.state_directory, result.now.run->shim).c_str());
                lock->remove_if_empty();
                result.wrote = true;
                result.now = observe(files, observer, prober);
                return result;
            }
        } catch (const std::exception& error) {
            // What is not to be settled any more has been shown to be alive: that is all there is.
            if (last) show_as_settled(result, std::move(*last), error.what());
            return result;
        }
        // Another settler is at it, or a shim has just begun: look again shortly.
        if (monotonic_now() >= deadline) {
            show_as_settled(result, std::move(*last), files.heartbeat + " stays locked");
            return result;
        }
        pause_for(milliseconds(5));
    }
}

}  // namespace jobshim
