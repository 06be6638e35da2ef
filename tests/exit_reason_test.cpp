// Every exit reason of docs/record.md: from the wait status and the evidence to the record and the
// sentence.
#include "common/exit_reason.hpp"

#include <sys/wait.h>

#include <csignal>

#include <set>
#include <vector>

#include "tests/catch.hpp"

using namespace jobshim;

namespace {

constexpr int exited(int code) { return code << 8; }
constexpr int dumped(int signal) { return signal | 0x80; }

Ending end_by(int wait_status) {
    Ending end;
    end.wait_status = wait_status;
    return end;
}

template <class Change>
Ending end_by(int wait_status, Change change) {
    Ending end = end_by(wait_status);
    change(end);
    return end;
}

const Requester bash{"signal to the shim", 77, 1000, "bash"};

void time_out(Ending& end) {
    end.timed_out = true;
    end.timeout = std::chrono::seconds(90);
}
void cancel(Ending& end) {
    end.cancelled =
        CancelRequest{{{"jobctl cancel", 7, 1000, "jobctl"}, "no longer needed"}, "", {}, {}};
}
const Requester nobody{"signal to the shim", {}, {}, ""};  // the kernel

using std::chrono::seconds;

void signalled(Ending& end) { end.passed_on = {{SIGTERM, bash, seconds(1)}}; }
void hung_up(Ending& end) { end.passed_on = {{SIGHUP, nobody, seconds(1)}}; }
void expect_result(Ending& end) { end.result_expected = true; }
OomFinding oom(bool proven) {
    return {true,
            proven,
            "/jobs/x",
            std::uint64_t{512} << 20U,
            {"memory.oom_control oom_kill 0 -> 1 in /jobs/x"}};
}

struct ReasonRow {
    Ending end;
    ExitReason reason;
    Certainty certainty;
    Status status;
    std::string sentence;
};

std::vector<ReasonRow> rows() {
    using R = ExitReason;
    constexpr auto seen = Certainty::observed;
    return {
        {end_by(exited(0)), R::success, seen, Status::completed, ""},
        {end_by(exited(3)), R::exit_code, seen, Status::failed, "Exited with status 3."},
        {end_by(exited(137)), R::exit_code, seen, Status::failed, "Exited with status 137."},
        {end_by(exited(125)), R::exit_code, seen, Status::failed, "Exited with status 125."},
        {end_by(SIGKILL), R::signal, seen, Status::failed,
         "Killed by SIGKILL; who sent it cannot be known."},
        {end_by(SIGSEGV), R::signal, seen, Status::failed, "Killed by SIGSEGV."},
        {end_by(dumped(SIGABRT)), R::core_dump, seen, Status::failed,
         "Killed by SIGABRT (core dumped)."},
        {end_by(dumped(SIGTERM), signalled), R::core_dump, seen, Status::failed,
         "Killed by SIGTERM (core dumped), sent by uid 1000 (pid 77, bash)."},
        {end_by(SIGTERM, signalled), R::signal, seen, Status::failed,
         "Killed by SIGTERM, sent by uid 1000 (pid 77, bash)."},
        {end_by(exited(143), signalled), R::exit_code, seen, Status::failed,
         "Exited with status 143 after SIGTERM from uid 1000 (pid 77, bash)."},
        {end_by(SIGHUP, hung_up), R::signal, seen, Status::failed,
         "Killed by SIGHUP, sent by the kernel."},
        {end_by(exited(1), hung_up), R::exit_code, seen, Status::failed,
         "Exited with status 1 after SIGHUP from the kernel."},
        // Killed by a signal other than the one that was passed on.
        {end_by(SIGKILL, hung_up), R::signal, seen, Status::failed,
         "Killed by SIGKILL; who sent it cannot be known."},
        {end_by(SIGSEGV, signalled), R::signal, seen, Status::failed, "Killed by SIGSEGV."},
        {end_by(SIGTERM,
                [](Ending& end) {
                    signalled(end);
                    end.passed_on.front().by = Requester{"signal to the shim", 0, 0, ""};
                }),
         R::signal, seen, Status::failed, "Killed by SIGTERM, sent by uid 0."},
        {end_by(exited(0), signalled), R::success, seen, Status::completed, ""},
        {end_by(SIGTERM, time_out), R::timeout, seen, Status::failed,
         "Timed out after 1 min 30 s; the worker was killed by SIGTERM."},
        {end_by(SIGKILL, time_out), R::timeout, seen, Status::failed,
         "Timed out after 1 min 30 s; the worker was killed by SIGKILL."},
        {end_by(dumped(SIGQUIT), time_out), R::timeout, seen, Status::failed,
         "Timed out after 1 min 30 s; the worker was killed by SIGQUIT (core dumped)."},
        {end_by(exited(0), time_out), R::timeout, seen, Status::failed,
         "Timed out after 1 min 30 s; the worker exited with status 0."},
        {end_by(SIGTERM, cancel), R::cancelled, seen, Status::cancelled,
         "Cancelled, requested by uid 1000 (pid 7, jobctl): no longer needed; the worker was "
         "killed by SIGTERM."},
        {end_by(SIGTERM,
                [](Ending& end) {
                    end.cancelled = CancelRequest{{{"jobctl cancel", {}, {}, ""}, ""}, "", {}, {}};
                }),
         R::cancelled, seen, Status::cancelled,
         "Cancelled, requested by an unknown user; the worker was killed by SIGTERM."},
        {end_by(SIGTERM,
                [](Ending& end) {
                    cancel(end);
                    end.cancelled->what.reason = "It hung.\nAgain. ";
                }),
         R::cancelled, seen, Status::cancelled,
         "Cancelled, requested by uid 1000 (pid 7, jobctl): It hung.\uFFFDAgain; the worker was "
         "killed by SIGTERM."},
        {end_by(exited(0), cancel), R::cancelled, seen, Status::cancelled,
         "Cancelled, requested by uid 1000 (pid 7, jobctl): no longer needed; the worker exited "
         "with status 0."},
        // Ended because of both a timeout and a cancel request: jobshim exits with 124, so the
        // record says timeout.
        {end_by(SIGTERM,
                [](Ending& end) {
                    time_out(end);
                    cancel(end);
                }),
         R::timeout, seen, Status::failed,
         "Timed out after 1 min 30 s; the worker was killed by SIGTERM."},
        {end_by(exited(0), expect_result), R::no_result, seen, Status::failed,
         "Exited with status 0 without recording a result."},
        {end_by(exited(4), expect_result), R::exit_code, seen, Status::failed,
         "Exited with status 4."},
        {end_by(exited(0),
                [](Ending& end) {
                    end.result_expected = true;
                    end.worker_wrote_final_status = true;
                }),
         R::success, seen, Status::completed, ""},
        {end_by(SIGKILL, [](Ending& end) { end.oom = oom(true); }), R::oom_kill, seen,
         Status::failed, "Killed by the out-of-memory killer (cgroup /jobs/x, limit 512 MiB)."},
        {end_by(SIGKILL, [](Ending& end) { end.oom = oom(false); }), R::oom_kill,
         Certainty::inferred, Status::failed,
         "Killed by the out-of-memory killer (cgroup /jobs/x, limit 512 MiB); inferred: the victim "
         "may have been another process in the same cgroup."},
        // The OOM killer hit a neighbour; the worker was killed by somebody else.
        {end_by(SIGKILL,
                [](Ending& end) {
                    end.oom = oom(false);
                    end.oom->others_were_the_victims = true;
                }),
         R::signal, seen, Status::failed, "Killed by SIGKILL; who sent it cannot be known."},
        // It was looked for in vain.
        {end_by(SIGKILL, [](Ending& end) { end.looked_at = {"the kernel's log"}; }), R::signal,
         seen, Status::failed,
         "Killed by SIGKILL; who sent it cannot be known (not through jobshim; the kernel's log "
         "shows nothing)."},
        {end_by(SIGKILL,
                [](Ending& end) {
                    end.looked_at = {"a", "b", "c"};
                }),
         R::signal, seen, Status::failed,
         "Killed by SIGKILL; who sent it cannot be known (not through jobshim; a, b and c show "
         "nothing)."},
        {end_by(SIGTERM,
                [](Ending& end) {
                    end.oom_daemon = OomDaemon{"earlyoom", "..."};
                }),
         R::oom_kill, seen, Status::failed,
         "Killed by SIGTERM, sent by earlyoom: memory was short."},
        // The machine's counter proves nothing by itself.
        {end_by(SIGKILL,
                [](Ending& end) {
                    end.oom = oom(false);
                    end.oom->counter_rose = false;
                }),
         R::signal, seen, Status::failed, "Killed by SIGKILL; who sent it cannot be known."},
        // A child of the worker was hit; the worker itself ended on its own.
        {end_by(exited(4), [](Ending& end) { end.oom = oom(false); }), R::exit_code, seen,
         Status::failed, "Exited with status 4."},
        {end_by(exited(0), [](Ending& end) { end.oom = oom(false); }), R::success, seen,
         Status::completed, ""},
    };
}

}  // namespace

TEST_CASE("exit reason: every witnessed end") {
    for (const ReasonRow& row : rows()) {
        const Conclusion last = judge_witnessed(row.end);
        INFO("wait status " << row.end.wait_status << ": " << last.sentence);
        CHECK(word(last.exit.reason) == word(row.reason));
        CHECK(word(last.exit.certainty) == word(row.certainty));
        CHECK(last.status == row.status);
        CHECK(last.sentence == row.sentence);
        CHECK(last.exit.wait_status == row.end.wait_status);
        // Exactly one of the two is known; the other is absent, never 0 or -1.
        CHECK(last.exit.code.has_value() != last.exit.signal.has_value());
        if (row.end.oom) CHECK(last.exit.evidence == row.end.oom->evidence);
        if (!row.end.passed_on.empty())
            CHECK(last.exit.evidence.size() == row.end.passed_on.size());
    }
}

TEST_CASE("exit reason: the sentence for every end that nobody witnessed") {
    using R = ExitReason;
    const Requester root{"jobctl settle", 7, 0, "jobctl"};
    struct Unseen {
        Conclusion last;
        ExitReason reason;
        Certainty certainty;
        Status status;
        std::string sentence;
    };
    std::vector<Unseen> all{
        {judge_spawn_failure("ENOENT", "node: not found in PATH"), R::spawn_failed,
         Certainty::observed, Status::failed, "Could not be started: node: not found in PATH."},
        {judge_never_started(bash), R::cancelled, Certainty::observed, Status::cancelled,
         "Cancelled before it started, requested by uid 1000 (pid 77, bash)."},
        {judge_never_started(bash, "no longer needed."), R::cancelled, Certainty::observed,
         Status::cancelled,
         "Cancelled before it started, requested by uid 1000 (pid 77, bash): no longer needed."},
        {judge_never_started(std::nullopt), R::cancelled, Certainty::observed, Status::cancelled,
         "Cancelled before it started."},
        {judge_cancelled_unseen({bash, "no longer needed"}), R::cancelled, Certainty::inferred,
         Status::cancelled,
         "Cancelled, requested by uid 1000 (pid 77, bash): no longer needed; nobody saw how the "
         "worker ended."},
        {judge_told(Status::failed, root, "the host has burnt down"), R::unknown, Certainty::told,
         Status::failed, "Settled as failed by uid 0 (pid 7, jobctl): the host has burnt down."},
        {judge_told(Status::cancelled, root, "nobody wants it."), R::cancelled, Certainty::told,
         Status::cancelled, "Settled as cancelled by uid 0 (pid 7, jobctl): nobody wants it."},
        {judge_presumed(std::chrono::minutes(3), root, "Its shim runs on another host"),
         R::shim_lost, Certainty::presumed, Status::failed,
         "Presumed dead by uid 0 (pid 7, jobctl): no heartbeat for 3 min."},
        {judge_lost(R::shim_lost, true, {}), R::shim_lost, Certainty::inferred, Status::failed,
         "The shim died and the worker is gone; how it ended is unknown."},
        {judge_lost(R::shim_lost, false, {}), R::shim_lost, Certainty::inferred, Status::failed,
         "The shim died before the worker started."},
        {judge_lost(R::host_rebooted, true, {}), R::host_rebooted, Certainty::inferred,
         Status::failed, "The host was rebooted while the job ran; how it ended is unknown."},
    };
    OomFinding both;
    both.worker_was_the_victim = both.shim_was_the_victim = true;
    OomFinding shim_only;
    shim_only.shim_was_the_victim = true;
    OomFinding worker_only;
    worker_only.worker_was_the_victim = true;
    for (const auto& [oom, sentence] : std::vector<std::pair<OomFinding, std::string>>{
             {both, "The shim was killed by the out-of-memory killer, and so was the worker."},
             {shim_only,
              "The shim was killed by the out-of-memory killer and the worker is gone; how it "
              "ended is unknown."},
             {worker_only, "The shim died; the worker was killed by the out-of-memory killer."}})
        all.push_back({judge_lost(R::shim_lost, true, {}, oom), R::shim_lost, Certainty::inferred,
                       Status::failed, sentence});
    std::set<ExitReason> reached;
    for (const Unseen& row : all) {
        CHECK(row.last.sentence == row.sentence);
        CHECK(row.last.exit.reason == row.reason);
        CHECK(row.last.exit.certainty == row.certainty);
        CHECK(row.last.status == row.status);
        CHECK_FALSE(row.last.exit.code);
        CHECK_FALSE(row.last.exit.signal);
        CHECK_FALSE(row.last.exit.wait_status);
        reached.insert(row.reason);
    }
    for (const ReasonRow& row : rows()) reached.insert(row.reason);
    CHECK(reached.size() == 12);
}

TEST_CASE("exit reason: the record says exactly what wait reports") {
    std::vector<int> statuses;
    for (int code = 0; code < 256; ++code) statuses.push_back(exited(code));
    for (int signal = 1; signal <= SIGRTMAX; ++signal)
        statuses.insert(statuses.end(), {signal, dumped(signal)});
    for (const int status : statuses) {
        for (unsigned choice = 0; choice < 32; ++choice) {
            Ending end = end_by(status);
            if ((choice & 1U) != 0) time_out(end);
            if ((choice & 2U) != 0) cancel(end);
            if ((choice & 4U) != 0) signalled(end);
            if ((choice & 8U) != 0) expect_result(end);
            if ((choice & 16U) != 0) end.oom = oom(false);
            const Conclusion last = judge_witnessed(end);
            const ExitReason reason = last.exit.reason;
            const bool timed_out = end.timed_out;
            const bool called_off = end.cancelled && !timed_out;
            const bool good =
                last.status == status_of(reason) && last.exit.wait_status == status &&
                last.exit.code ==
                    (WIFEXITED(status) ? std::optional(WEXITSTATUS(status)) : std::nullopt) &&
                last.exit.signal ==
                    (WIFSIGNALED(status) ? std::optional(WTERMSIG(status)) : std::nullopt) &&
                (reason == ExitReason::timeout) == timed_out &&
                (reason == ExitReason::cancelled) == called_off &&
                (reason != ExitReason::success || (status == 0 && !end.result_expected)) &&
                (reason != ExitReason::oom_kill || (WTERMSIG(status) == SIGKILL && end.oom)) &&
                last.sentence.empty() == (reason == ExitReason::success);
            if (!good) FAIL("wait status " << status << ", choice " << choice);
        }
    }
}

TEST_CASE("exit reason: notes made while the worker ran come first in the evidence") {
    Ending end = end_by(SIGKILL);
    CHECK_FALSE(judge_witnessed(end).exit.resources);
    end.evidence = {"SIGTERM sent: cancelled after 1 s", "SIGKILL sent after 11 s"};
    end.oom = oom(false);
    end.resources = Resources{12, 34, 56};
    signalled(end);
    const ExitRecord exit = judge_witnessed(end).exit;
    CHECK(exit.evidence ==
          std::vector<std::string>{"SIGTERM sent: cancelled after 1 s", "SIGKILL sent after 11 s",
                                   "memory.oom_control oom_kill 0 -> 1 in /jobs/x",
                                   "SIGTERM from uid 1000 (pid 77, bash) was passed on 1 s before "
                                   "the end"});
    REQUIRE(exit.resources);
    CHECK(exit.resources->user_ms == 12);
    CHECK(exit.resources->max_rss_kib == 56);
    // A survivor has not ended, but what was done to it is known all the same.
    end.survivor = Survivor{42, 'D', "", std::chrono::seconds(10), ""};
    end.resources.reset();
    time_out(end);
    const ExitRecord survived = judge_witnessed(end).exit;
    REQUIRE(survived.evidence.size() == 5);
    CHECK(survived.evidence.front() == "SIGTERM sent: cancelled after 1 s");
    CHECK_FALSE(survived.resources);
}

// A worker that read its settings again on SIGHUP, and exited for a reason of its own much later,
// had a stranger named as the one who requested its end.
TEST_CASE("exit reason: only a signal that may have caused the end has a requester") {
    const Requester other{"signal to the shim", 88, 1001, "sh"};
    struct Row {
        int status;
        std::vector<PassedOn> passed_on;
        std::optional<Requester> by;
    };
    const auto later = seconds(20);
    for (const Row& row : {
             // Handled, and then an exit of the worker's own.
             Row{exited(0), {{SIGHUP, bash, seconds(1)}}, {}},
             Row{exited(1), {{SIGUSR1, bash, seconds(1)}}, {}},
             Row{exited(1), {{SIGTERM, bash, later}}, {}},
             Row{exited(0), {{SIGINT, bash, later}}, {}},
             Row{SIGSEGV, {{SIGTERM, bash, seconds(1)}}, {}},
             // Obeyed, by the default action, as a shell reports it, or soon.
             Row{SIGHUP, {{SIGHUP, bash, seconds(1)}}, bash},
             Row{SIGUSR1, {{SIGUSR1, bash, seconds(1)}}, bash},
             Row{exited(128 + SIGUSR1), {{SIGUSR1, bash, seconds(1)}}, bash},
             Row{exited(128 + SIGTERM), {{SIGTERM, bash, seconds(1)}}, bash},
             // It was ignored, or survived, and somebody else sent another.
             Row{SIGTERM, {{SIGTERM, bash, seconds(1), true}}, {}},
             Row{exited(5), {{SIGTERM, bash, seconds(1), true}}, {}},
             Row{SIGTERM, {{SIGTERM, bash, later}}, {}},
             Row{exited(128 + SIGTERM), {{SIGTERM, bash, later}}, {}},
             Row{exited(0), {{SIGTERM, bash, seconds(1)}}, bash},
             Row{exited(3), {{SIGQUIT, bash, seconds(1)}}, bash},
             Row{exited(1), {{SIGHUP, nobody, seconds(1)}}, nobody},  // its terminal is gone
             Row{exited(1), {{SIGHUP, nobody, later}}, {}},
             // Of several, the one that explains it.
             Row{SIGTERM, {{SIGTERM, bash, seconds(2)}, {SIGUSR1, other, seconds(1)}}, bash},
             Row{exited(1), {{SIGTERM, bash, seconds(2)}, {SIGINT, other, seconds(1)}}, other},
         }) {
        Ending end = end_by(row.status, [&](Ending& it) { it.passed_on = row.passed_on; });
        const Conclusion last = judge_witnessed(end);
        INFO("wait status " << row.status << ": " << last.sentence);
        const auto pid_of = [](const std::optional<Requester>& by) {
            return by ? by->pid.value_or(-1) : -2;
        };
        CHECK(pid_of(last.exit.requested_by) == pid_of(row.by));
        const bool names_somebody = last.sentence.find("uid") != std::string::npos;
        CHECK(names_somebody <= (row.by && row.by->uid));
        // What was passed on is told all the same.
        CHECK(last.exit.evidence.size() == row.passed_on.size());
    }
}

TEST_CASE("exit reason: a worker that SIGKILL did not end is only reported as stuck") {
    Ending end;
    end.survivor = Survivor{42, 'D', "percpu_rwsem_wait", std::chrono::seconds(10), ""};
    end.oom = oom(false);
    const auto check = [&](ExitReason reason, const std::string& sentence) {
        const Conclusion last = judge_witnessed(end);
        CHECK(last.exit.reason == reason);
        CHECK(last.status == status_of(reason));
        CHECK(last.sentence == sentence);
        CHECK(last.exit.certainty == Certainty::observed);
        CHECK_FALSE(last.exit.code);
        CHECK_FALSE(last.exit.signal);
        CHECK_FALSE(last.exit.wait_status);
        CHECK_FALSE(last.exit.core_dumped);
        CHECK(last.exit.evidence ==
              std::vector<std::string>{"memory.oom_control oom_kill 0 -> 1 in /jobs/x",
                                       "the worker (pid 42, state D) was still there 10 s after "
                                       "SIGKILL, in kernel function percpu_rwsem_wait"});
    };
    cancel(end);
    check(ExitReason::cancelled,
          "Cancelled, requested by uid 1000 (pid 7, jobctl): no longer needed; SIGKILL did not end "
          "the worker (pid 42, state D): it is stuck in the kernel.");
    time_out(end);
    check(ExitReason::timeout,
          "Timed out after 1 min 30 s; SIGKILL did not end the worker (pid 42, state D): it is "
          "stuck in the kernel.");
}

// What the shim may not signal was recorded as killed and stuck in the kernel.
TEST_CASE("exit reason: a worker that cannot be killed lives on and its end is unknown") {
    Ending end;
    time_out(end);
    end.survivor = Survivor{42, 'S', "", seconds(10), "not permitted (it runs as root)"};
    Conclusion last = judge_witnessed(end);
    CHECK(last.exit.reason == ExitReason::timeout);
    CHECK(last.exit.certainty == Certainty::unknown);
    CHECK_FALSE(last.exit.code);
    CHECK_FALSE(last.exit.signal);
    CHECK_FALSE(last.exit.wait_status);
    CHECK(last.sentence ==
          "Timed out after 1 min 30 s; SIGKILL could not be sent to the worker (pid 42), which "
          "lives on: not permitted (it runs as root).");
    CHECK(last.exit.evidence ==
          std::vector<std::string>{"the worker (pid 42, state S) was still there 10 s after the "
                                   "first attempt to kill it"});
    // Killed, but held by a debugger.
    end.survivor = Survivor{42, 't', "", seconds(10), ""};
    last = judge_witnessed(end);
    CHECK(last.exit.certainty == Certainty::unknown);
    CHECK(last.sentence ==
          "Timed out after 1 min 30 s; SIGKILL did not end the worker (pid 42, state t), which "
          "lives on.");
    // State D alone is not enough: it was not killed.
    end.survivor = Survivor{42, 'D', "", seconds(10), "not permitted"};
    CHECK(judge_witnessed(end).exit.certainty == Certainty::unknown);
}

TEST_CASE("exit reason: a failure to start has no code or signal or wait status") {
    const Conclusion last = judge_spawn_failure("ENOENT", "node: not found in PATH");
    CHECK(last.exit.reason == ExitReason::spawn_failed);
    CHECK(last.status == Status::failed);
    CHECK_FALSE(last.exit.code);
    CHECK_FALSE(last.exit.signal);
    CHECK_FALSE(last.exit.wait_status);
    CHECK_FALSE(last.exit.core_dumped);
    CHECK(last.sentence == "Could not be started: node: not found in PATH.");
}

TEST_CASE("exit reason: an end that nobody saw is inferred and its details are unknown") {
    for (const ExitReason reason : {ExitReason::shim_lost, ExitReason::host_rebooted}) {
        const Conclusion last = judge_lost(reason, true, {"seen"});
        CHECK(last.exit.reason == reason);
        CHECK(last.exit.certainty == Certainty::inferred);
        CHECK(last.status == Status::failed);
        CHECK_FALSE(last.exit.code);
        CHECK_FALSE(last.exit.signal);
        CHECK(last.sentence.find("unknown") != std::string::npos);
    }
    CHECK(judge_lost(ExitReason::shim_lost, false, {}).sentence ==
          "The shim died before the worker started.");
}

TEST_CASE("exit reason: a job that is called off before it starts is cancelled") {
    const Conclusion last = judge_never_started(bash);
    CHECK(last.exit.reason == ExitReason::cancelled);
    CHECK(last.status == Status::cancelled);
    CHECK_FALSE(last.exit.code);
    CHECK(last.exit.requested_by->pid == 77);
}

TEST_CASE("exit reason: who called off a queued job and why") {
    const Conclusion last =
        judge_never_started(Requester{"jobctl cancel", 7, 1000, "jobctl"}, "changed my mind");
    CHECK(last.sentence ==
          "Cancelled before it started, requested by uid 1000 (pid 7, jobctl): changed my mind.");
    CHECK(last.exit.certainty == Certainty::observed);
    CHECK(judge_never_started(std::nullopt).sentence == "Cancelled before it started.");
}

TEST_CASE("exit reason: a cancelled job whose end nobody saw") {
    const Conclusion last =
        judge_cancelled_unseen({{"jobctl cancel", 7, 1000, "jobctl"}, "no longer needed"});
    CHECK(last.exit.reason == ExitReason::cancelled);
    CHECK(last.exit.certainty == Certainty::inferred);
    CHECK(last.status == Status::cancelled);
    CHECK(last.exit.requested_by->how == "jobctl cancel");
    for (const bool known : {last.exit.code.has_value(), last.exit.signal.has_value(),
                             last.exit.wait_status.has_value(), last.exit.core_dumped.has_value()})
        CHECK_FALSE(known);
    CHECK(last.sentence ==
          "Cancelled, requested by uid 1000 (pid 7, jobctl): no longer needed; nobody saw how the "
          "worker ended.");
}

TEST_CASE("exit reason: an end that a person reports") {
    const Requester by{"jobctl settle", 7, 1000, "jobctl"};
    const Conclusion failed = judge_told(Status::failed, by, "the host burnt down");
    CHECK(failed.exit.reason == ExitReason::unknown);
    CHECK(failed.exit.certainty == Certainty::told);
    CHECK(failed.status == Status::failed);
    CHECK(failed.exit.requested_by->pid == 7);
    CHECK_FALSE(failed.exit.code);
    CHECK_FALSE(failed.exit.signal);
    CHECK(failed.sentence == "Settled as failed by uid 1000 (pid 7, jobctl): the host burnt down.");
    const Conclusion cancelled = judge_told(Status::cancelled, by, "Gone.");
    CHECK(cancelled.exit.reason == ExitReason::cancelled);
    CHECK(cancelled.status == Status::cancelled);
    CHECK(cancelled.sentence.ends_with(": Gone."));
}

TEST_CASE("exit reason: an end that is presumed") {
    const Conclusion last =
        judge_presumed(std::chrono::hours(2), {"jobctl reap", 7, 1000, "jobctl"},
                       "Its shim runs on another host (box)");
    CHECK(last.exit.reason == ExitReason::shim_lost);
    CHECK(last.exit.certainty == Certainty::presumed);
    CHECK(last.status == Status::failed);
    CHECK_FALSE(last.exit.code);
    CHECK_FALSE(last.exit.signal);
    CHECK(last.exit.evidence == std::vector<std::string>{"Its shim runs on another host (box)"});
    CHECK(last.sentence == "Presumed dead by uid 1000 (pid 7, jobctl): no heartbeat for 2 h.");
}

TEST_CASE("exit reason: words and values convert both ways") {
    for (const char* text :
         {"success", "exit-code", "signal", "core-dump", "oom-kill", "timeout", "cancelled",
          "spawn-failed", "no-result", "shim-lost", "host-rebooted", "unknown"}) {
        const auto reason = exit_reason_from(text);
        REQUIRE(reason);
        CHECK(word(*reason) == text);
        const Status expected = std::string(text) == "success"     ? Status::completed
                                : std::string(text) == "cancelled" ? Status::cancelled
                                                                   : Status::failed;
        CHECK(status_of(*reason) == expected);
    }
    CHECK_FALSE(exit_reason_from("killed"));
    for (const char* text : {"observed", "inferred", "told", "presumed", "unknown"})
        CHECK(word(*certainty_from(text)) == text);
    for (const char* text : {"queued", "running", "completed", "failed", "cancelled"})
        CHECK(word(status_from(text)) == text);
    CHECK(status_from("paused") == Status::other);
}
