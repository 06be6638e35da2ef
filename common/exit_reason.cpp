#include "common/exit_reason.hpp"

#include <sys/wait.h>

#include <array>
#include <csignal>

#include "common/units.hpp"

namespace jobshim {

namespace {

template <class Value>
struct Word {
    Value value;
    std::string_view text;
};

constexpr auto reasons = std::to_array<Word<ExitReason>>({
    {ExitReason::success, "success"},
    {ExitReason::exit_code, "exit-code"},
    {ExitReason::signal, "signal"},
    {ExitReason::core_dump, "core-dump"},
    {ExitReason::oom_kill, "oom-kill"},
    {ExitReason::timeout, "timeout"},
    {ExitReason::cancelled, "cancelled"},
    {ExitReason::spawn_failed, "spawn-failed"},
    {ExitReason::no_result, "no-result"},
    {ExitReason::shim_lost, "shim-lost"},
    {ExitReason::host_rebooted, "host-rebooted"},
    {ExitReason::unknown, "unknown"},
});

constexpr auto certainties = std::to_array<Word<Certainty>>({
    {Certainty::observed, "observed"},
    {Certainty::inferred, "inferred"},
    {Certainty::told, "told"},
    {Certainty::presumed, "presumed"},
    {Certainty::unknown, "unknown"},
});

constexpr auto statuses = std::to_array<Word<Status>>({
    {Status::queued, "queued"},
    {Status::running, "running"},
    {Status::completed, "completed"},
    {Status::failed, "failed"},
    {Status::cancelled, "cancelled"},
});

template <class Words, class Value>
constexpr std::string_view word_in(const Words& words, Value value) {
    for (const auto& entry : words)
        if (entry.value == value) return entry.text;
    return "";
}

template <class Value, class Words>
constexpr std::optional<Value> value_in(const Words& words, std::string_view text) {
    for (const auto& entry : words)
        if (entry.text == text) return entry.value;
    return std::nullopt;
}

// A signal without a sender came from the kernel: a terminal hangup, a resource limit.
bool is_from_kernel(const Requester& by) {
    return by.how == "signal to the shim" && !by.pid && !by.uid;
}

// "uid 1000 (pid 77, bash)"
std::string describe(const Requester& by) {
    if (is_from_kernel(by)) return "the kernel";
    std::string text = by.uid ? "uid " + std::to_string(*by.uid) : "an unknown user";
    // The pid of a sender in another pid namespace is 0.
    if (by.pid && *by.pid > 0) {
        text += " (pid " + std::to_string(*by.pid);
        if (!by.command.empty()) text += ", " + by.command;
        text += ")";
    }
    return text;
}

std::string requested_by(const Requester& by) { return "requested by " + describe(by); }
std::string sent_by(const Requester& by) { return "sent by " + describe(by); }

// A person's text, trimmed so that our own sentence can go on after it.
std::string as_clause(std::string_view words) {
    while (words.ends_with('.') || words.ends_with(' ')) words.remove_suffix(1);
    return printable(words);
}

// "was killed by SIGTERM", "exited with status 3": the end of a sentence.
std::string how_it_ended(int wait_status) {
    if (WIFSIGNALED(wait_status)) {
        const std::string name = signal_name(WTERMSIG(wait_status));
        return "was killed by " + name + (WCOREDUMP(wait_status) ? " (core dumped)" : "");
    }
    return "exited with status " + std::to_string(WEXITSTATUS(wait_status));
}

std::string timed_out_sentence(const Ending& end) {
    return "Timed out after " + describe_duration(end.timeout);
}

// Not yet a whole sentence: the caller adds the rest, such as how the worker ended.
std::string cancelled_sentence(const Cancellation& request) {
    std::string text = "Cancelled, " + requested_by(request.by);
    if (!request.reason.empty()) text += ": " + as_clause(request.reason);
    return text;
}

std::string with_state(const Survivor& survivor) {
    return "pid " + std::to_string(survivor.pid) + ", state " + survivor.state;
}

// True if a signal that was passed on may be why the worker ended. One that a worker handled does
// not explain what it did later: a daemon reads its settings again on SIGHUP, and may exit for
// reasons of its own an hour later.
bool may_have_caused(const PassedOn& passed, int wait_status) {
    if (passed.was_ignored || passed.before_end > default_grace) return false;
    if (WIFSIGNALED(wait_status)) return WTERMSIG(wait_status) == passed.signal;
    if (WEXITSTATUS(wait_status) == 128 + passed.signal) return true;  // as shells report it
    const bool is_hangup = passed.signal == SIGHUP && is_from_kernel(passed.by);
    return passed.signal == SIGTERM || passed.signal == SIGINT || passed.signal == SIGQUIT ||
           is_hangup;
}

// Null if none has.
const PassedOn* cause_of(const Ending& end) {
    for (auto passed = end.passed_on.rbegin(); passed != end.passed_on.rend(); ++passed)
        if (may_have_caused(*passed, end.wait_status)) return &*passed;
    return nullptr;
}

std::vector<std::string> evidence_of(const Ending& end) {
    std::vector<std::string> evidence = end.evidence;
    if (end.oom)
        evidence.insert(evidence.end(), end.oom->evidence.begin(), end.oom->evidence.end());
    for (const PassedOn& passed : end.passed_on)
        evidence.push_back(signal_name(passed.signal) + " from " + describe(passed.by) +
                           " was passed on " + describe_duration(passed.before_end) +
                           " before the end" +
                           (passed.was_ignored ? ", and the worker ignored it" : ""));
    return evidence;
}

Conclusion concluded(ExitReason reason, Certainty certainty) {
    Conclusion last;
    last.exit.reason = reason;
    last.exit.certainty = certainty;
    last.status = status_of(reason);
    return last;
}

// What asked the worker to end: the timeout, or a cancellation. False if neither did. The sentence
// lacks its end.
bool tell_what_asked(const Ending& end, Conclusion& last) {
    if (end.timed_out) {
        last.exit.reason = ExitReason::timeout;
        last.exit.requested_by = Requester{"timeout", std::nullopt, std::nullopt, ""};
        last.sentence = timed_out_sentence(end);
    } else if (end.cancelled) {
        last.exit.reason = ExitReason::cancelled;
        last.exit.requested_by = end.cancelled->what.by;
        last.sentence = cancelled_sentence(end.cancelled->what);
    }
    return end.timed_out || end.cancelled;
}

std::string survivor_clause(const Survivor& survivor) {
    if (!survivor.why_not_killed.empty())
        return "SIGKILL could not be sent to the worker (pid " + std::to_string(survivor.pid) +
               "), which lives on: " + survivor.why_not_killed;
    const std::string outcome = "SIGKILL did not end the worker (" + with_state(survivor) + ")";
    return outcome + (survivor.is_stuck() ? ": it is stuck in the kernel" : ", which lives on");
}

// The worker was asked to end, and then to be killed, and is still there: nobody can know how it
// will end.
Conclusion judge_survivor(const Ending& end) {
    Conclusion last;
    ExitRecord& exit = last.exit;
    const Survivor& survivor = *end.survivor;
    exit.certainty = survivor.is_stuck() ? Certainty::observed : Certainty::unknown;
    exit.evidence = evidence_of(end);
    exit.evidence.push_back(
        "the worker (" + with_state(survivor) + ") was still there " +
        describe_duration(survivor.after_kill) +
        (survivor.why_not_killed.empty() ? " after SIGKILL"
                                         : " after the first attempt to kill it") +
        (survivor.where.empty() ? "" : ", in kernel function " + survivor.where));
    tell_what_asked(end, last);
    last.sentence += "; " + survivor_clause(survivor) + ".";
    last.status = status_of(exit.reason);
    return last;
}

bool may_have_hit_the_worker(const OomFinding& oom) {
    return oom.worker_was_the_victim || (oom.counter_rose && !oom.others_were_the_victims);
}

std::string unknown_sender_sentence(const Ending& end) {
    std::string text = "Killed by SIGKILL; who sent it cannot be known";
    for (std::size_t i = 0; i < end.looked_at.size(); ++i) {
        const bool is_last = i + 1 == end.looked_at.size();
        text += (i == 0 ? " (not through jobshim; " : is_last ? " and " : ", ") + end.looked_at[i];
    }
    if (!end.looked_at.empty())
        text += std::string(end.looked_at.size() == 1 ? " shows" : " show") + " nothing)";
    return text + ".";
}

std::string oom_sentence(const OomFinding& oom) {
    std::string text = "Killed by the out-of-memory killer";
    if (!oom.group.empty()) {
        text += " (cgroup " + oom.group;
        if (oom.limit_bytes) text += ", limit " + std::to_string(*oom.limit_bytes >> 20U) + " MiB";
        text += ")";
    }
    if (!oom.worker_was_the_victim)
        text += "; inferred: the victim may have been another process in the same cgroup";
    return text + ".";
}

}  // namespace

std::string_view word(ExitReason reason) { return word_in(reasons, reason); }
std::string_view word(Certainty certainty) { return word_in(certainties, certainty); }
std::string_view word(Status status) { return word_in(statuses, status); }
std::optional<ExitReason> exit_reason_from(std::string_view word) {
    return value_in<ExitReason>(reasons, word);
}
std::optional<Certainty> certainty_from(std::string_view word) {
    return value_in<Certainty>(certainties, word);
}
Status status_from(std::string_view word) {
    return value_in<Status>(statuses, word).value_or(Status::other);
}

Status status_of(ExitReason reason) {
    switch (reason) {
        case ExitReason::success:
            return Status::completed;
        case ExitReason::cancelled:
            return Status::cancelled;
        case ExitReason::exit_code:
        case ExitReason::signal:
        case ExitReason::core_dump:
        case ExitReason::oom_kill:
        case ExitReason::timeout:
        case ExitReason::spawn_failed:
        case ExitReason::no_result:
        case ExitReason::shim_lost:
        case ExitReason::host_rebooted:
        case ExitReason::unknown:
            return Status::failed;
    }
    return Status::failed;
}

Conclusion judge_witnessed(const Ending& end) {
    if (end.survivor) return judge_survivor(end);
    Conclusion last;
    ExitRecord& exit = last.exit;
    const int status = end.wait_status;
    exit.certainty = Certainty::observed;
    exit.wait_status = status;
    exit.core_dumped = WIFSIGNALED(status) && WCOREDUMP(status);
    if (WIFSIGNALED(status))
        exit.signal = WTERMSIG(status);
    else
        exit.code = WEXITSTATUS(status);
    exit.resources = end.resources;
    exit.evidence = evidence_of(end);
    const PassedOn* const cause = cause_of(end);
    if (cause != nullptr) exit.requested_by = cause->by;

    // From the most to the least specific. A request that was on disk before the end outweighs how
    // the worker obeyed it; a timeout that was reached is always reported as one.
    if (tell_what_asked(end, last)) {
        last.sentence += "; the worker " + how_it_ended(status) + ".";
    } else if (WIFSIGNALED(status)) {
        const std::string name = signal_name(WTERMSIG(status));
        const bool killed = WTERMSIG(status) == SIGKILL;
        if (cause == nullptr && end.oom_daemon) {
            exit.reason = ExitReason::oom_kill;
            exit.evidence.push_back(end.oom_daemon->name + ": " + end.oom_daemon->message);
            last.sentence =
                "Killed by " + name + ", sent by " + end.oom_daemon->name + ": memory was short.";
        } else if (killed && end.oom && may_have_hit_the_worker(*end.oom)) {
            exit.reason = ExitReason::oom_kill;
            if (!end.oom->worker_was_the_victim) exit.certainty = Certainty::inferred;
            last.sentence = oom_sentence(*end.oom);
        } else if (WCOREDUMP(status)) {
            exit.reason = ExitReason::core_dump;
            last.sentence = "Killed by " + name + " (core dumped)";
            if (cause != nullptr) last.sentence += ", " + sent_by(cause->by);
            last.sentence += ".";
        } else {
            exit.reason = ExitReason::signal;
            if (cause != nullptr)
                last.sentence = "Killed by " + name + ", " + sent_by(cause->by) + ".";
            else if (killed)
                last.sentence = unknown_sender_sentence(end);
            else
                last.sentence = "Killed by " + name + ".";
        }
    } else if (WEXITSTATUS(status) != 0) {
        exit.reason = ExitReason::exit_code;
        last.sentence = "Exited with status " + std::to_string(WEXITSTATUS(status));
        if (cause != nullptr)
            last.sentence +=
                " after " + signal_name(cause->signal) + " from " + describe(cause->by);
        last.sentence += ".";
    } else if (end.result_expected && !end.worker_wrote_final_status) {
        exit.reason = ExitReason::no_result;
        last.sentence = "Exited with status 0 without recording a result.";
    } else {
        exit.reason = ExitReason::success;
    }
    last.status = status_of(exit.reason);
    return last;
}

Conclusion judge_spawn_failure(std::string_view errno_name, std::string_view what) {
    Conclusion last = concluded(ExitReason::spawn_failed, Certainty::observed);
    last.exit.errno_name = errno_name;
    last.sentence = "Could not be started: " + std::string(what) + ".";
    return last;
}

Conclusion judge_never_started(const std::optional<Requester>& by, std::string_view why) {
    Conclusion last = concluded(ExitReason::cancelled, Certainty::observed);
    last.exit.requested_by = by;
    last.sentence = "Cancelled before it started";
    if (by) last.sentence += ", " + requested_by(*by);
    if (!why.empty()) last.sentence += ": " + as_clause(why);
    last.sentence += ".";
    return last;
}

Conclusion judge_cancelled_unseen(const Cancellation& request) {
    Conclusion last = concluded(ExitReason::cancelled, Certainty::inferred);
    last.exit.requested_by = request.by;
    last.sentence = cancelled_sentence(request) + "; nobody saw how the worker ended.";
    return last;
}

Conclusion judge_told(Status as, const Requester& by, std::string_view because) {
    Conclusion last = concluded(
        as == Status::cancelled ? ExitReason::cancelled : ExitReason::unknown, Certainty::told);
    last.exit.requested_by = by;
    last.status = as;
    last.sentence = "Settled as " + std::string(word(as)) + " by " + describe(by) + ": " +
                    as_clause(because) + ".";
    return last;
}

Conclusion judge_presumed(std::chrono::milliseconds silence, const Requester& by,
                          std::string_view because) {
    Conclusion last = concluded(ExitReason::shim_lost, Certainty::presumed);
    last.exit.requested_by = by;
    last.exit.evidence.emplace_back(because);
    last.sentence = "Presumed dead by " + describe(by) + ": no heartbeat for " +
                    describe_duration(silence) + ".";
    return last;
}

Conclusion judge_unknown(std::string_view because) {
    Conclusion last = concluded(ExitReason::unknown, Certainty::unknown);
    last.sentence = because;
    return last;
}

Conclusion judge_lost(ExitReason reason, bool worker_was_started, std::vector<std::string> evidence,
                      const std::optional<OomFinding>& oom) {
    const std::string_view shim_died = oom && oom->shim_was_the_victim
                                           ? "The shim was killed by the out-of-memory killer"
                                           : "The shim died";
    Conclusion last = concluded(reason, Certainty::inferred);
    last.exit.evidence = std::move(evidence);
    if (reason == ExitReason::host_rebooted)
        last.sentence = "The host was rebooted while the job ran; how it ended is unknown.";
    else if (!worker_was_started)
        last.sentence = std::string(shim_died) + " before the worker started.";
    else if (oom && oom->worker_was_the_victim)
        last.sentence =
            std::string(shim_died) + (oom->shim_was_the_victim
                                          ? ", and so was the worker."
                                          : "; the worker was killed by the out-of-memory killer.");
    else
        last.sentence =
            std::string(shim_died) + " and the worker is gone; how it ended is unknown.";
    return last;
}

}  // namespace jobshim
