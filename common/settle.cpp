#include "common/settle.hpp"

#include <cerrno>
#include <csignal>
#include <exception>

#include "common/clocks.hpp"
#include "common/oom_evidence.hpp"
#include "common/posix_error.hpp"
#include "common/send_signal.hpp"
#include "common/units.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;

// True if this process was started with the environment that the shim gives to a worker of this
// job. It is the kernel that keeps it, so no file can claim it. A program that writes over its
// environment (to change what ps shows) loses this proof, and so does one started by env -i.
bool was_started_for(const JobFiles& files, int pid) {
    const auto path = initial_environment_of(pid, std::string(job_file_variable));
    if (!path || !path->starts_with('/')) return false;
    try {
        const SplitPath split = split_path(*path);
        const auto directory = Directory::open_if_there(split.directory);
        return directory && split.name == files.name && directory->is_same_as(files.directory);
    } catch (const std::exception&) {
        return false;
    }
}

// The living members of the worker's own process group, except the worker: processes with its
// process group id and session that are no older than the worker. The kernel does not reuse the id
// while the group has members; if the leader is another process, it is another group.
//
// Whoever may write to the directory can write the job file, and root in a container that shares
// the directory can write the heartbeat file as well. So we act only if the heartbeat file, which
// only its owner can write, agrees; only against that owner's processes; and only if the kernel has
// it that a process was started for this very job.
std::vector<ProcessStat> rest_of_group(const Observation& seen, const JobFiles& files) {
    const bool is_corroborated = seen.place == Place::here && seen.run && seen.heartbeat_agrees &&
                                 seen.run->worker && seen.run->worker->group == Group::own &&
                                 seen.probe.owner;
    if (!is_corroborated) return {};
    const WorkerIdentity& worker = *seen.run->worker;
    if (!worker.start_time || !worker.session || !seen.run->shim.start_time ||
        *worker.start_time < *seen.run->shim.start_time)
        return {};
    std::vector<ProcessStat> rest;
    for (ProcessStat& member : members_of_group(worker.pid, 0)) {
        if (member.pid == worker.pid) {
            if (member.start_time != *worker.start_time) return {};
            continue;
        }
        if (member.session == *worker.session && member.start_time >= *worker.start_time &&
            member.owner == *seen.probe.owner && was_started_for(files, member.pid))
            rest.push_back(std::move(member));
    }
    return rest;
}

void signal_each(const std::vector<ProcessStat>& processes, int signal,
                 const std::optional<Identity>& identity) {
    std::vector<ProcessHandle> open;
    for (const ProcessStat& each : processes) {
        ProcessHandle process = open_process(each.pid, each.start_time);
        if (process) open.push_back(std::move(process));
    }
    if (open.empty()) return;
    run_as(identity, [&] {
        for (const ProcessHandle& process : open) (void)signal_process(process, signal);
        return 0;
    });
}

// PR_SET_PDEATHSIG reaches only the worker. This is the rest of its own process group, if that was
// to die with the shim as well.
std::vector<ProcessStat> left_to_kill(const Observation& seen, const JobFiles& files) {
    const bool meant_to_die =
        seen.verdict.settle && !seen.known_end && seen.run && seen.run->kill_on_shim_death;
    return meant_to_die && files.may_act() ? rest_of_group(seen, files)
                                           : std::vector<ProcessStat>{};
}

// The post-mortem of a job whose shim was lost: compares the counters now with those that the shim
// read at the start. Somebody other than a shim may have written those, so we open no file but a
// kernel counter, and disclose nothing from the kernel's log, which may be readable by root only,
// except whether it names the shim or the worker.
std::optional<OomFinding> add_oom_evidence(std::vector<std::string>& evidence,
                                           const Observation& seen) {
    if (seen.is_late || seen.place != Place::here || !seen.run || !seen.oom ||
        !is_oom_counter(seen.oom->counter))
        return std::nullopt;
    std::vector<OomSuspect> ours{{seen.run->shim.pid, OomSuspect::shim}};
    if (seen.run->worker) ours.push_back({seen.run->worker->pid, OomSuspect::worker});
    // The shim's namespaces are ours, or its place would not be `here`.
    auto found = look_for_oom(*seen.oom, seen.run->shim, ours, OomDisclosure::of_suspects);
    const bool group_is_gone = !found && !is_readable(*seen.oom);
    if (group_is_gone)
        found = look_for_oom_in_log(*seen.oom, seen.run->shim, ours, seen.oom->group);
    if (!found) return std::nullopt;
    evidence.insert(evidence.end(), found->evidence.begin(), found->evidence.end());
    if (found->counter_rose || group_is_gone)
        evidence.emplace_back(
            "the OOM killer was active in the shim's cgroup when the shim was lost");
    return found;
}

}  // namespace

int signal_process(const ProcessHandle& process, int signal,
                   const std::optional<Identity>& identity) {
    return run_as(identity, [&] { return signal_process(process, signal); });
}

Settled show_as_settled(Settled seen, Conclusion last, const std::string& why_not) {
    // What the worker itself wrote stands.
    if (!is_final(seen.now.status())) {
        Sighting& settled = seen.now.sighting;
        settled.status = last.status;
        settled.end_sentence = (last.sentence.empty() ? "Completed." : last.sentence) +
                               " (not recorded: " + why_not + ")";
        seen.now.verdict = judge(settled);
    }
    seen.unwritable = why_not;
    seen.unwritten = std::move(last);
    return seen;
}

Conclusion conclusion_on(const Observation& seen) {
    if (seen.known_end) return *seen.known_end;
    if (seen.cancelled) return judge_cancelled_unseen(seen.cancelled->request.what);
    const ExitReason reason =
        seen.sighting.rebooted ? ExitReason::host_rebooted : ExitReason::shim_lost;
    std::vector<std::string> evidence{seen.verdict.because};
    if (seen.probe.mtime_ns)
        evidence.push_back("last heartbeat " + iso_time(*seen.probe.mtime_ns / 1'000'000));
    const auto oom = add_oom_evidence(evidence, seen);
    return judge_lost(reason, seen.worker_was_started, std::move(evidence), oom);
}

Settled look(const JobFiles& files, const Observer& observer, bool settle,
             const Judgement& judgement) {
    if (settle && files.directory.stamp_at(files.name))
        return observe_and_settle(files, observer, judgement);
    Settled looked;
    looked.now = observe(files, observer);
    looked.unwritten = judgement(looked.now);
    // A known end is known, even if we are not to record it.
    if (looked.unwritten && looked.now.known_end && !is_gone(looked.now)) {
        Conclusion known = *looked.now.known_end;
        return show_as_settled(std::move(looked), std::move(known), "looking only");
    }
    return looked;
}

bool is_gone(const Observation& seen) {
    return !seen.file_exists && seen.probe.lock != LivenessLock::held;
}

std::optional<ExitRecord> end_of(const Settled& settled) {
    const Observation& seen = settled.now;
    if (is_final(seen.status())) {
        const auto run = seen.document->run();
        return run ? run->exit : std::nullopt;
    }
    if (settled.unwritten) return settled.unwritten->exit;
    return std::nullopt;
}

std::optional<Conclusion> conclude_if_dead(const Observation& seen) {
    if (!seen.verdict.settle) return std::nullopt;
    return conclusion_on(seen);
}

Judgement with_eyewitness(const Eyewitness& eyewitness) {
    return [eyewitness](const Observation& seen) -> std::optional<Conclusion> {
        const bool is_same_worker = seen.run && seen.run->worker == eyewitness.worker;
        if (!seen.verdict.settle || seen.known_end || !is_same_worker)
            return conclude_if_dead(seen);
        Ending end;
        end.wait_status = eyewitness.wait_status;
        if (seen.cancelled) end.cancelled = seen.cancelled->request;
        end.result_expected = seen.run->expect_record;
        Conclusion last = judge_witnessed(end);
        last.exit.evidence.push_back("The shim (pid " + std::to_string(seen.run->shim.pid) +
                                     ") was lost; jobctl (pid " + std::to_string(eyewitness.pid) +
                                     ") watched the worker to its end");
        last.exit.evidence.insert(last.exit.evidence.end(), eyewitness.evidence.begin(),
                                  eyewitness.evidence.end());
        add_oom_evidence(last.exit.evidence, seen);
        return last;
    };
}

namespace {

// True if the record is of another run, which began after we looked: its shim holds a different
// lock from ours, because the heartbeat file was removed in between.
bool belongs_to_new_run(const JobDocument& document, const Observation& seen) {
    if (!is_active(document.status())) return false;
    const auto& run = document.run();
    const auto before = seen.document ? seen.document->run() : std::nullopt;
    return run && !(before && run->shim == before->shim) &&
           !(seen.run && run->shim == seen.run->shim);
}

}  // namespace

void settle(JobFile& file, const Observation& seen, Conclusion last) {
    const std::vector<ProcessStat> left = left_to_kill(seen, file.files());
    if (!left.empty())
        last.exit.evidence.push_back("SIGKILL sent to " + std::to_string(left.size()) +
                                     (left.size() == 1 ? " process" : " processes") +
                                     " left in the worker's process group");
    JobEdit edit;
    edit.run = seen.run.value_or(RunRecord{});
    if (seen.cancelled) edit.run.cancel = seen.cancelled->request;
    edit.set_end(last, iso_time(wall_now_ms()));
    file.update(
        [&](const JobDocument* document) {
            if (document == nullptr)  // just deleted: do not bring it back
                throw Refusal(file.files().path + ": has been deleted");
            if (belongs_to_new_run(*document, seen))
                throw Refusal(file.files().path + ": a new run has begun");
            // Somebody may have recorded an end since: it stands.
            return edit.applied_to(*document, is_final(document->status()));
        },
        JobFile::Write::last);
    // Only now: a verdict that cannot be recorded kills nobody.
    signal_each(left, SIGKILL, file.files().directory.identity());
}

void remove_unrecorded(const Observer& observer, const JobFiles& files,
                       const ShimIdentity& shim) noexcept {
    try {
        if (const auto copy = find_unrecorded(files, observer, shim))
            copy->directory.remove(copy->name);
    } catch (const std::exception&) {
        return;  // the job is settled all the same, and a stale copy is harmless
    }
}

void tidy(const JobFiles& files) {
    const Directory& directory = files.directory;
    if (!files.may_act() ||
        (!directory.stamp_at(files.fresh) && !directory.stamp_at(files.merged) &&
         !directory.stamp_at(files.reserve)))
        return;
    const auto lock = SettlerLock::try_take(files);
    if (!lock || lock->probe().lock != LivenessLock::free) return;
    JobFile(files, SyncPolicy::never, [](const std::string&) {}).clear_stale_files();
    lock->remove_if_empty();
}

void signal_orphan(const Observation& seen, const JobFiles& files, int signal) {
    if (!seen.run || !seen.run->worker) throw Refusal("the worker is unknown");
    const WorkerIdentity& worker = *seen.run->worker;
    const std::string name = "worker (pid " + std::to_string(worker.pid) + ")";
    const auto refuse = [&](const std::string& why) {
        throw Refusal("the " + name + " is not signalled: " + why);
    };
    if (!files.may_act()) refuse(why_only_looking(files.parties));
    if (!seen.heartbeat_agrees || !worker.start_time) refuse("the heartbeat file does not name it");
    const ProcessHandle process = open_process(worker.pid, worker.start_time);
    // As in rest_of_group.
    if (process && seen.probe.owner != 0U && owner_of_process(worker.pid) != seen.probe.owner)
        refuse("it does not belong to the owner of the heartbeat file");
    if (process && !was_started_for(files, worker.pid))
        refuse("nothing but the job's files says that it is this job's");
    const auto rest = rest_of_group(seen, files);
    const auto& identity = files.directory.identity();
    const int error = process ? signal_process(process, signal, identity) : 0;
    if (error != 0 && error != ESRCH) throw_errno("signal the " + name, error);
    signal_each(rest, signal, identity);
}

namespace {

void remove_request(const JobFiles& files, const Observation& seen) {
    if (seen.cancelled) files.directory.remove(seen.cancelled->name);
    files.directory.remove(files.cancel);  // one for an earlier run, or nobody's
}

// Nothing if the heartbeat file of that name is no longer the one that `lock` locked.
std::optional<Settled> try_to_settle(const SettlerLock& lock, const JobFiles& files,
                                     const Observer& observer, const Judgement& judgement) {
    Settled result;
    const Prober prober = [&] { return lock.probe(); };
    result.now = observe(files, observer, prober);
    std::optional<Conclusion> last = judgement(result.now);
    if (!last) return result;
    try {
        if (!lock.still_in_place()) return std::nullopt;
        JobFile file(files, SyncPolicy::final,
                     [&](const std::string& notice) { result.notices.push_back(notice); });
        file.clear_stale_files();
        settle(file, result.now, *last);
        remove_request(files, result.now);
        if (result.now.run) remove_unrecorded(observer, files, result.now.run->shim);
        lock.remove_if_empty();
        result.wrote = true;
        result.now = observe(files, observer, prober);
        return result;
    } catch (const std::exception& error) {
        return show_as_settled(std::move(result), std::move(*last), error.what());
    }
}

}  // namespace

Settled settle_under(const SettlerLock& lock, const JobFiles& files, const Observer& observer,
                     const Judgement& judgement) {
    if (auto settled = try_to_settle(lock, files, observer, judgement)) return std::move(*settled);
    // The locked file was removed: another run may have begun.
    Settled looked;
    looked.now = observe(files, observer);
    return looked;
}

Settled observe_and_settle(const JobFiles& files, const Observer& observer,
                           const Judgement& judgement) {
    const auto deadline = monotonic_now() + observer.patience(5 * death_patience);
    for (;;) {
        Settled seen;
        seen.now = observe(files, observer);
        std::optional<Conclusion> last = judgement(seen.now);
        if (!last) return seen;
        if (!files.may_act())
            return show_as_settled(std::move(seen), std::move(*last),
                                   why_only_looking(files.parties));
        try {
            // Look again under the lock: the first look may be out of date.
            if (const auto lock = SettlerLock::try_take(files))
                if (auto settled = try_to_settle(*lock, files, observer, judgement))
                    return std::move(*settled);
        } catch (const std::exception& error) {
            return show_as_settled(std::move(seen), std::move(*last), error.what());
        }
        // Another settler is at work, or a shim has just started: look again shortly.
        if (monotonic_now() >= deadline)
            return show_as_settled(std::move(seen), std::move(*last),
                                   files.path_of(files.heartbeat) + " is still locked");
        pause_for(milliseconds(5));
    }
}

}  // namespace jobshim
