#include "common/verdict.hpp"

#include "common/units.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;

std::string describe_beat(const Sighting& seen) {
    if (!seen.beat_age) return "no heartbeat has been seen";
    if (*seen.beat_age < milliseconds(0)) return "its last heartbeat is dated in the future";
    return "its last heartbeat was " + describe_duration(*seen.beat_age) + " ago";
}

std::string describe_pid(const char* who, int pid) {
    return pid > 0 ? std::string(who) + " (pid " + std::to_string(pid) + ")" : std::string(who);
}

State state_of(Status status) {
    switch (status) {
        case Status::completed:
            return State::completed;
        case Status::failed:
            return State::failed;
        case Status::cancelled:
            return State::cancelled;
        case Status::queued:
            return State::queued;
        case Status::running:
            return State::running;
        case Status::none:
        case Status::other:
            return State::unknown;
    }
    return State::unknown;
}

// Whether the shim is alive, judged by its lock and its process together.
Liveness shim_of(const Sighting& seen) {
    switch (seen.lock) {
        case LivenessLock::held:
            return Liveness::alive;
        case LivenessLock::free:
        case LivenessLock::no_file:
        case LivenessLock::unavailable:
            return seen.shim;
    }
    return seen.shim;
}

Verdict judge_final(const Sighting& seen) {
    Verdict verdict;
    verdict.state = state_of(seen.status);
    verdict.because = seen.end_sentence;
    verdict.ended = shim_of(seen) != Liveness::alive;
    // The worker wrote its status, but the shim died before it could add how the worker ended.
    verdict.settle = shim_of(seen) == Liveness::dead && seen.end_is_known;
    if (!verdict.ended)
        verdict.because += (verdict.because.empty() ? "" : " ") +
                           describe_pid("Its shim", seen.shim_pid) + " is still running.";
    return verdict;
}

bool is_without_sign_of_work(const Sighting& seen) {
    if (!seen.stall_after || !seen.activity) return false;
    const Activity& activity = *seen.activity;
    return milliseconds(activity.no_cpu_ms) >= *seen.stall_after &&
           milliseconds(activity.silent_ms.value_or(activity.no_cpu_ms)) >= *seen.stall_after;
}

// Its shim is well, and watches it.
Verdict judge_idle(const Sighting& seen) {
    const Activity& activity = *seen.activity;
    std::string because = describe_pid("The worker", seen.worker_pid) + " is alive, but has ";
    if (activity.silent_ms)
        because +=
            "been silent for " + describe_duration(milliseconds(*activity.silent_ms)) + " and has ";
    because += "used no CPU for " + describe_duration(milliseconds(activity.no_cpu_ms)) + ".";
    return {State::stalled, because};
}

Verdict judge_alive(const Sighting& seen) {
    const bool overdue = seen.beat_age && *seen.beat_age > overdue_after(seen.interval);
    if (overdue)
        return {State::stalled, describe_pid("The shim", seen.shim_pid) + " is alive, but " +
                                    describe_beat(seen) +
                                    "; it may be stopped, starved of CPU or suspended."};
    if (is_without_sign_of_work(seen)) return judge_idle(seen);
    return {State::running,
            describe_pid("The shim", seen.shim_pid) + " is alive; " + describe_beat(seen) + "."};
}

Verdict judge_dead(const Sighting& seen) {
    if (seen.end_is_known)
        return {State::lost, "The shim recorded the end, but not in the job file.", false, true};
    const bool is_over = seen.worker == Liveness::dead || seen.worker == Liveness::none;
    if (is_over && seen.may_be_old_copy)
        return {
            State::unknown,
            "It is over, but its heartbeat file is gone and somebody has written to the job file "
            "since: how it ended cannot be determined."};
    switch (seen.worker) {
        case Liveness::alive:
            return {State::orphaned, describe_pid("The shim", seen.shim_pid) + " is dead, but " +
                                         describe_pid("the worker", seen.worker_pid) +
                                         " is still running; nobody will record its end."};
        case Liveness::unknowable:
            return {State::unknown,
                    describe_pid("The shim", seen.shim_pid) +
                        " is dead; whether the worker is alive cannot be determined from here."};
        case Liveness::dead:
            return {State::lost,
                    describe_pid("The shim", seen.shim_pid) + " and " +
                        describe_pid("the worker", seen.worker_pid) + " are dead.",
                    false, true};
        case Liveness::none:
            return {State::lost,
                    describe_pid("The shim", seen.shim_pid) + " died before the worker started.",
                    false, true};
    }
    return {};
}

Verdict judge_unreachable(const Sighting& seen) {
    if (seen.rebooted) {
        return {State::lost, "The host has been rebooted since.", false, true};
    }
    if (seen.beat_seen_to_change) return {State::running, "Its heartbeat was seen to change."};
    return {State::unknown,
            seen.obstacle + (seen.obstacle.empty() ? "Nothing can be determined from here" : "") +
                "; " + describe_beat(seen) + "."};
}

}  // namespace

std::string_view word(State state) {
    switch (state) {
        case State::queued:
            return "queued";
        case State::running:
            return "running";
        case State::stalled:
            return "stalled";
        case State::orphaned:
            return "orphaned";
        case State::lost:
            return "lost";
        case State::unknown:
            return "unknown";
        case State::completed:
            return "completed";
        case State::failed:
            return "failed";
        case State::cancelled:
            return "cancelled";
    }
    return "unknown";
}

milliseconds overdue_after(milliseconds interval) { return 3 * interval + std::chrono::seconds(2); }

Verdict judge(const Sighting& seen) {
    if (is_final(seen.status) && seen.new_run_began)
        return {State::running,
                "A new run has begun; the record is still that of the previous run."};
    if (is_final(seen.status)) return judge_final(seen);
    if (!is_active(seen.status) && shim_of(seen) != Liveness::alive)
        return {State::unknown, seen.status == Status::none
                                    ? "The job file has no status."
                                    : "Its status is not one that jobshim knows."};
    switch (shim_of(seen)) {
        case Liveness::alive:
            return judge_alive(seen);
        case Liveness::dead:
            return judge_dead(seen);
        case Liveness::unknowable:
            // The end that the shim recorded needs no lookup, but the shim's death does.
            return judge_unreachable(seen);
        case Liveness::none:
            if (seen.status == Status::queued) return {State::queued, "Not started yet."};
            return {
                State::unknown,
                seen.has_run_before
                    ? "It was made active again after it ended; no shim has supervised it since."
                    : "No shim has supervised it."};
    }
    return {};
}

}  // namespace jobshim
