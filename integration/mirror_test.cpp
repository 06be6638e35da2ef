// jobshim ends as its worker ended, and the record says how.

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "integration/support.hpp"

using namespace harness;

namespace {

bool is_sentence(const Json& text) {
    return text.is_string() && contains(text.get<std::string>(), " ") &&
           !contains(text.get<std::string>(), "\n");
}

void check_ended(const fs::path& job, const std::string& status, const std::string& reason) {
    const auto record = read_json(job);
    INFO(record.dump(2));
    CHECK(at(record, "/status") == status);
    CHECK(at(record, "/phase") == (status == "completed" ? "done" : status));
    CHECK(at(record, "/pid") == nullptr);
    for (const char* time :
         {"/createdAt", "/startedAt", "/updatedAt", "/completedAt", "/jobshim/exit/endedAt"}) {
        CAPTURE(time);
        // A worker that never started needs no start time.
        if (reason == "spawn-failed" && time == std::string_view("/startedAt")) continue;
        const auto text = at(record, time).dump();
        CHECK(text.size() == std::string_view("\"2026-01-02T03:04:05.678Z\"").size());
        CHECK(text.ends_with("Z\""));
    }
    if (status == "completed")
        CHECK(at(record, "/errorMessage") == nullptr);
    else
        CHECK(is_sentence(at(record, "/errorMessage")));
    CHECK(at(record, "/jobshim/exit/reason") == reason);
}

}  // namespace

TEST_CASE_METHOD(Sandbox, "every exit code is passed through and never mistaken for anything else",
                 "[libc]") {
    for (const int code : {0, 1, 2, 3, 42, 64, 100, 124, 125, 126, 127, 137, 143, 255}) {
        CAPTURE(code);
        const auto file = dir / (std::to_string(code) + ".json");
        CHECK(run_job(file, "exit " + std::to_string(code)).ended() ==
              "exit " + std::to_string(code));

        check_ended(file, code == 0 ? "completed" : "failed", code == 0 ? "success" : "exit-code");
        const auto exit = exit_of(file);
        CHECK(at(exit, "/code") == code);
        CHECK(at(exit, "/signal") == nullptr);
        CHECK(at(exit, "/signalName") == nullptr);
        CHECK(at(exit, "/waitStatus") == code * 256);
        CHECK(at(exit, "/coreDumped") == false);
        CHECK(at(exit, "/certainty") == "observed");
        CHECK(at(exit, "/requestedBy") == nullptr);
    }
}

TEST_CASE_METHOD(Sandbox, "jobshim dies of the same signal as its worker", "[quick][libc]") {
    for (const int number : {SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGABRT, SIGFPE, SIGKILL, SIGSEGV,
                             SIGPIPE, SIGALRM, SIGTERM, SIGUSR1, SIGUSR2, SIGRTMIN, SIGRTMIN + 1}) {
        const auto name = signal_name(number);
        CAPTURE(name);
        const auto file = dir / (name + ".json");
        const auto result = run_job(file, "kill -" + std::to_string(number) + " $$");
        CHECK(result.ended() == name);
        CHECK_FALSE(WCOREDUMP(result.status));

        check_ended(file, "failed", "signal");
        const auto exit = exit_of(file);
        CHECK(at(exit, "/code") == nullptr);
        CHECK(at(exit, "/signal") == number);
        CHECK(at(exit, "/signalName") == name);
        CHECK(at(exit, "/waitStatus") == number);
        CHECK(at(exit, "/coreDumped") == false);
        CHECK(at(exit, "/certainty") == "observed");
        CHECK(at(exit, "/requestedBy") == nullptr);
    }
}

TEST_CASE_METHOD(Sandbox, "a worker's core dump is recorded and jobshim adds no second core",
                 "[libc]") {
    const Options with_cores{.before_exec = [] {
        rlimit core{};
        getrlimit(RLIMIT_CORE, &core);
        core.rlim_cur = core.rlim_max;
        setrlimit(RLIMIT_CORE, &core);
    }};
    const Words abort_self{"sh", "-c", "kill -ABRT $$"};
    if (!WCOREDUMP(run(abort_self, with_cores).status))
        SKIP_TEST("this system writes no core dumps here");

    const auto result = run_job(job, abort_self.back(), {}, with_cores);
    CHECK(result.ended() == "SIGABRT");
    CHECK_FALSE(WCOREDUMP(result.status));
    check_ended(job, "failed", "core-dump");
    CHECK(at(exit_of(job), "/coreDumped") == true);
    CHECK(at(exit_of(job), "/signal") == SIGABRT);
    CHECK(at(exit_of(job), "/waitStatus") == (SIGABRT | 0x80));
}

TEST_CASE_METHOD(
    Sandbox,
    "a command that cannot be started fails as with env and nice and leaves nothing behind",
    "[quick][libc]") {
    fs::create_directory(dir / "directory");
    put(dir / "text", "#!/bin/sh\nexit 0\n");
    struct Row {
        std::string command;
        int code;
        const char* error;
    };
    for (const auto& [command, code, error] :
         {Row{"no-such-command-anywhere", 127, "ENOENT"}, Row{dir / "missing", 127, "ENOENT"},
          Row{dir / "text", 126, "EACCES"}, Row{dir / "directory", 126, "EACCES"}}) {
        CAPTURE(command);
        const auto file = dir / (fs::path(command).filename().string() + ".json");
        const auto result = run_shim({"-j", file, "--", command, "argument"});
        CHECK(result.ended() == "exit " + std::to_string(code));
        CHECK(result.out.empty());
        CHECK(contains(result.err, command));

        check_ended(file, "failed", "spawn-failed");
        const auto exit = exit_of(file);
        CHECK(at(exit, "/code") == nullptr);
        CHECK(at(exit, "/signal") == nullptr);
        CHECK(at(exit, "/waitStatus") == nullptr);
        CHECK(at(exit, "/errno") == error);
        CHECK(children_of(getpid()).empty());
    }
}

TEST_CASE_METHOD(Sandbox,
                 "the record distinguishes a worker's own exit status of 124 to 127 from jobshim's",
                 "[quick]") {
    CHECK(run_job(dir / "own.json", "exit 127").code() == 127);
    CHECK(run_shim({"-j", dir / "ours.json", "--", dir / "missing"}).code() == 127);
    CHECK(run_job(dir / "late.json", "sleep 600", {"--timeout", "50ms"}).code() == 124);
    CHECK(at(exit_of(dir / "own.json"), "/reason") == "exit-code");
    CHECK(at(exit_of(dir / "ours.json"), "/reason") == "spawn-failed");
    CHECK(at(exit_of(dir / "late.json"), "/reason") == "timeout");
}

TEST_CASE_METHOD(Sandbox, "the command line: help and version and usage errors", "[quick][libc]") {
    const auto help = run_shim({"--help"});
    CHECK(help.ended() == "exit 0");
    for (const char* code : {"124", "125", "126", "127"}) {
        CAPTURE(code);
        CHECK(contains(help.out, code));
    }
    CHECK(run_shim({"--version"}).ended() == "exit 0");
    CHECK(ctl({"--help"}).ended() == "exit 0");

    for (const Words& wrong :
         {Words{}, Words{"-j", job}, Words{"--no-such-option", "--", "true"},
          Words{"-j", job, "--heartbeat-interval", "1ms", "--", "true"},
          Words{"-j", job, "--timeout", "soon", "--", "true"},
          Words{"-j", job, "--signal", "NOSUCH", "--timeout", "1", "--", "true"},
          Words{"-j", job, "--tail", "65537", "--", "true"},
          Words{"-j", job, "--id", "../escape", "--", "true"},
          Words{"-j", job, "--id", "", "--", "true"},
          Words{"-j", job, "--group", "other", "--", "true"}}) {
        CAPTURE(Json(wrong).dump());
        const auto result = run_shim(wrong);
        CHECK(result.ended() == "exit 125");
        CHECK_FALSE(result.err.empty());
        CHECK_FALSE(fs::exists(job));
    }
    for (const Words& wrong :
         {Words{}, Words{"dance"}, Words{"status"}, Words{"wait", "--timeout", "soon", "x"}}) {
        CAPTURE(Json(wrong).dump());
        CHECK(ctl(wrong).ended() == "exit 2");
    }
}
