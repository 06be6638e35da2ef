#include "common/companion/unwatched.hpp"

#include "common/units.hpp"
#include "tests/catch.hpp"
#include "tests/samples.hpp"

using namespace jobshim;

TEST_CASE("companion: the table of verdicts on a job that no shim supervises") {
    const std::int64_t now = *parse_iso_time("2026-01-01T01:00:00.000Z");
    constexpr auto alive = Liveness::alive, gone = Liveness::dead, none = Liveness::none;
    struct Row {
        std::string record;
        UnwatchedWorker worker;
        State state;
        bool settle;
        std::string sentence;  // how it begins
    };
    for (const Row& row : {
             // A status that is unknown here, whatever the process does.
             Row{R"({"pid":7})", {}, State::unknown, false, "The record's status is not one"},
             Row{R"({"status":"dreaming","pid":7})",
                 {gone, 0, false},
                 State::unknown,
                 false,
                 "The record's status is not one"},
             // No pid.
             Row{R"({"status":"running"})",
                 {},
                 State::unknown,
                 false,
                 "The record says that it is running"},
             Row{R"({"status":"running","pid":null})",
                 {},
                 State::unknown,
                 false,
                 "The record says that it is running"},
             Row{R"({"status":"queued"})", {}, State::queued, false, "Not started yet."},
             Row{R"({"status":"queued","createdAt":"2026-01-01T00:59:00.000Z"})",
                 {},
                 State::queued,
                 false,
                 "Not started yet."},
             Row{R"({"status":"queued","createdAt":"2026-01-01T00:58:59.999Z"})",
                 {},
                 State::lost,
                 true,
                 "Never started: it was queued for more than 60 s"},
             Row{R"({"status":"queued","createdAt":"yesterday"})",
                 {},
                 State::queued,
                 false,
                 "Not started yet."},
             // A pid, and what can be seen of its process.
             Row{R"({"status":"running","pid":7})",
                 {gone, 0, false},
                 State::lost,
                 true,
                 "The worker (pid 7) is gone; how it ended is unknown."},
             Row{R"({"status":"queued","pid":7})",
                 {gone, 0, false},
                 State::lost,
                 true,
                 "The worker (pid 7) is gone; how it ended is unknown."},
             Row{R"({"status":"running","pid":7})",
                 {Liveness::unknowable, 0, false},
                 State::unknown,
                 false,
                 "Whether its worker (pid 7) is alive cannot be determined from here."},
             Row{R"({"status":"running","pid":7})",
                 {none, 0, false},
                 State::unknown,
                 false,
                 "Whether its worker (pid 7) is alive cannot be determined from here."},
             Row{R"({"status":"running","pid":7})",
                 {alive, now, false},
                 State::running,
                 false,
                 "The worker (pid 7) is alive; no shim supervises it."},
             Row{R"({"status":"queued","pid":7})",
                 {alive, now, false},
                 State::queued,
                 false,
                 "The worker (pid 7) is alive; no shim supervises it."},
             // A process that started after the job did is a different one, unless it is the
             // plugin's own.
             Row{R"({"status":"running","pid":7,"startedAt":"2026-01-01T00:59:58.000Z"})",
                 {alive, now, false},
                 State::running,
                 false,
                 "The worker (pid 7) is alive"},
             Row{R"({"status":"running","pid":7,"startedAt":"2026-01-01T00:59:57.999Z"})",
                 {alive, now, false},
                 State::lost,
                 true,
                 "The worker (pid 7) is gone, and its pid now belongs to another process"},
             Row{R"({"status":"running","pid":7,"startedAt":"2026-01-01T00:00:00.000Z"})",
                 {alive, now, true},
                 State::running,
                 false,
                 "The worker (pid 7) is alive"},
             // A pid may be written long after the start of its job, but not after its own.
             Row{R"({"status":"running","pid":7,"startedAt":"2026-01-01T00:00:00.000Z",)"
                 R"("updatedAt":"2026-01-01T00:59:58.000Z"})",
                 {alive, now, false},
                 State::running,
                 false,
                 "The worker (pid 7) is alive"},
             Row{R"({"status":"running","pid":7,"createdAt":"2026-01-01T00:00:00.000Z",)"
                 R"("updatedAt":"2026-01-01T00:59:57.999Z"})",
                 {alive, now, false},
                 State::lost,
                 true,
                 "The worker (pid 7) is gone, and its pid now belongs to another process"},
             // Without a start time, the creation time counts.
             Row{R"({"status":"queued","pid":7,"createdAt":"2026-01-01T00:00:00.000Z"})",
                 {alive, now, false},
                 State::lost,
                 true,
                 "The worker (pid 7) is gone, and its pid"},
         }) {
        CAPTURE(row.record, int(row.worker.liveness), row.sentence);
        const Verdict verdict = judge_unwatched(doc(row.record), row.worker, now);
        CHECK(verdict.state == row.state);
        CHECK(verdict.settle == row.settle);
        CHECK_FALSE(verdict.ended);
        CHECK(verdict.because.starts_with(row.sentence));
    }
}

namespace {

// As the kernel has it.
std::string command_line(std::initializer_list<const char*> words) {
    std::string line;
    for (const char* word : words) line += std::string(word) + '\0';
    return line;
}

}  // namespace

TEST_CASE("companion: whose command line is a companion's and whose is not") {
    const char* const script =
        "/home/you/.claude/plugins/cache/m/gemini/1.0/scripts/gemini-companion.mjs";
    for (const auto& line :
         {command_line({"node", "codex-companion.mjs"}),
          command_line({"/usr/bin/node", script, "task-worker", "--job-id", "task-1"}),
          command_line({"/opt/node22/bin/node22", "scripts/kimi-companion.mjs", "_worker"}),
          command_line({"nodejs", "/a b/opencode-companion.js"}),
          command_line({"node", "--no-warnings", "--import=file:///p/preload.mjs", script}),
          command_line({"node", "--import", "/p/preload.mjs", "-r", "./a.cjs", script, "review"}),
          command_line({"node", "inspect", script}),
          command_line({"bun", "run", "/p/cursor-companion.ts"}),
          command_line({"deno", "run", "-A", "/p/qwen-companion.mts"}),
          command_line({"jobshim", "--companion", "/tmp/state", "--id", "task-1", "--",
                        "/usr/bin/node", script, "task-worker"}),
          std::string("node\0x-companion.cjs", 20)}) {
        CAPTURE(line);
        CHECK(runs_companion(line));
    }
    for (const auto& line :
         {command_line({"gemini-companion.mjs"}), command_line({"node"}),
          command_line({"node", "server.mjs", script}),
          command_line({"node", "/usr/bin/claude", "-p", "look at scripts/gemini-companion.mjs"}),
          command_line({"node", "--import=/p/preload.mjs", "./lint.mjs", script}),
          command_line({"node", "gemini-companion.mjs.bak"}),
          command_line({"node", "gemini-companion"}),
          command_line({"node", "companion.mjs.ts.txt"}),
          command_line({"node", "/x-companion.mjs/broker.mjs"}), command_line({""}), std::string(),
          std::string(3, '\0')}) {
        CAPTURE(line);
        CHECK_FALSE(runs_companion(line));
    }
}

TEST_CASE("companion: which command lines are about to cancel jobs") {
    for (const auto& line :
         {command_line({"node", "/p/scripts/codex-companion.mjs", "cancel", "task-1"}),
          command_line({"node", "--import=file:///x", "gemini-companion.mjs", "cancel"}),
          command_line({"node", "/p/scripts/session-lifecycle-hook.mjs", "SessionEnd"})}) {
        CAPTURE(line);
        CHECK(cancels_jobs(line));
    }
    for (const auto& line : {command_line({"node", "codex-companion.mjs", "task", "cancel"}),
                             command_line({"node", "codex-companion.mjs"}),
                             command_line({"node", "session-lifecycle-hook.mjs", "SessionStart"}),
                             command_line({"cancel"}), std::string()}) {
        CAPTURE(line);
        CHECK_FALSE(cancels_jobs(line));
    }
}

TEST_CASE("companion: what counts as a worker's pid and what does not") {
    CHECK(worker_pid_in(doc(R"({"pid":7})")) == 7);
    CHECK(worker_pid_in(doc(R"({"pid":4194304})")) == 4194304);
    for (const char* pid :
         {"0", "-7", "1.5", "7e1", "4194305", "2147483648", "null", "\"7\"", "[7]"}) {
        CAPTURE(pid);
        CHECK_FALSE(worker_pid_in(doc(std::string(R"({"pid":)") + pid + "}")));
    }
    CHECK_FALSE(worker_pid_in(doc("{}")));
}

TEST_CASE("companion: when a job began") {
    const std::string started = R"("startedAt":"2026-01-01T00:00:02.000Z")";
    const std::string created = R"("createdAt":"2026-01-01T00:00:01.000Z")";
    CHECK(begin_of(doc("{" + started + "," + created + "}")) ==
          parse_iso_time("2026-01-01T00:00:02.000Z"));
    CHECK(begin_of(doc("{" + created + R"(,"startedAt":null})")) ==
          parse_iso_time("2026-01-01T00:00:01.000Z"));
    CHECK(begin_of(doc("{}")) == 0);
}

TEST_CASE("companion: an end that nobody witnessed is inferred") {
    const Conclusion last = inferred_end({State::lost, "Gone.", false, true}, "now");
    CHECK(last.status == Status::failed);
    CHECK(last.sentence == "Gone.");
    CHECK(last.exit.reason == ExitReason::unknown);
    CHECK(last.exit.certainty == Certainty::inferred);
    CHECK(last.exit.ended_at == "now");
    CHECK_FALSE(last.exit.evidence.empty());
}
