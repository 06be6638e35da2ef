// Signals, process groups, timeouts, and jobshim as pid 1.

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "integration/support.hpp"

using namespace harness;

namespace {

/// Starts a sleeper. Until its exec it is a copy of the shell, whose trap would take a signal.
const std::string sleep_behind =
    "sleep 600 & until grep -q sleep /proc/$!/comm; do sleep 0.01; done; ";

/// Two processes in a group: a shell and a sleeper that it started, whose pid is in the file
/// "sleeper".
const std::string with_a_child =
    sleep_behind + "echo $! > sleeper.tmp; mv sleeper.tmp sleeper; wait; wait";

pid_t sleeper_of(const fs::path& dir) {
    REQUIRE(wait_until([&] { return fs::exists(dir / "sleeper"); }));
    return static_cast<pid_t>(std::stol(slurp(dir / "sleeper")));
}

void check_requested_by_us(const Json& exit) {
    CHECK(at(exit, "/requestedBy/how") == "signal to the shim");
    CHECK(at(exit, "/requestedBy/pid") == getpid());
    CHECK(at(exit, "/requestedBy/uid") == getuid());
    CHECK(at(exit, "/requestedBy/command").is_string());
}

}  // namespace

TEST_CASE_METHOD(
    Sandbox, "TERM to the shim reaches the worker's whole group and the record says who sent it",
    "[quick]") {
    auto shim = start_job(job, with_a_child);
    const auto worker = worker_of(job);
    const auto sleeper = sleeper_of(dir);
    CHECK(process_stat(worker).group == worker);
    CHECK(process_stat(worker).session == process_stat(shim.pid()).session);
    CHECK(process_stat(sleeper).group == worker);
    CHECK(at(read_json(job), "/jobshim/worker/group") == "own");

    shim.kill(SIGTERM);
    CHECK(shim.wait().ended() == "SIGTERM");
    CHECK(wait_until([&] { return !alive(sleeper); }));
    const auto exit = exit_of(job);
    CHECK(at(exit, "/reason") == "signal");
    CHECK(at(exit, "/signalName") == "SIGTERM");
    check_requested_by_us(exit);
    CHECK(at(read_json(job), "/status") == "failed");
}

TEST_CASE_METHOD(Sandbox, "the exit code of a worker that handles TERM and exits is mirrored",
                 "[quick]") {
    auto shim = start_job(job, "trap 'exit 7' TERM; touch ready; " + for_ever_in_shell);
    REQUIRE(wait_until([&] { return fs::exists(dir / "ready"); }));
    shim.kill(SIGTERM);
    CHECK(shim.wait().ended() == "exit 7");
    CHECK(at(exit_of(job), "/reason") == "exit-code");
    CHECK(at(exit_of(job), "/code") == 7);
    check_requested_by_us(exit_of(job));
}

TEST_CASE_METHOD(Sandbox, "every catchable signal is forwarded to the worker", "[libc]") {
    const std::vector<int> kept{SIGKILL, SIGSTOP, SIGCHLD,  // not for the shim to forward
                                SIGILL,  SIGTRAP, SIGABRT, SIGBUS,
                                SIGFPE,  SIGSEGV, SIGSYS};  // the shim's own faults
    std::vector<int> forwarded;
    for (int number = 1; number <= SIGRTMAX; ++number)
        if ((number < 32 || number >= SIGRTMIN) &&
            std::find(kept.begin(), kept.end(), number) == kept.end())
            forwarded.push_back(number);
    std::string script;
    for (int number : forwarded)
        script += "trap 'echo got " + std::to_string(number) + ". >> log' " +
                  std::to_string(number) + "; ";
    // No child in the worker's group: TSTP would stop it, and the shell would wait for it instead
    // of running its traps.
    REQUIRE(mkfifo((dir / "fifo").c_str(), 0600) == 0);
    auto shim = start_job(
        job, script + "exec 3<>fifo; touch ready; until read line <&3; do :; done; exit 3");
    REQUIRE(wait_until([&] { return fs::exists(dir / "ready"); }));
    for (int number : forwarded) {
        CAPTURE(number);
        shim.kill(number);
        CHECK(wait_until(
            [&] { return contains(slurp(dir / "log"), "got " + std::to_string(number) + "."); },
            3s));
        CHECK(process_state(shim.pid()) != 'T');
    }
    put(dir / "fifo", "go\n");
    CHECK(shim.wait().ended() == "exit 3");
}

TEST_CASE_METHOD(Sandbox,
                 "with a shared group the worker is in the shim's group and only it is signalled",
                 "[quick]") {
    auto shim =
        start_job(job, "trap 'kill $!; exit 9' TERM; " + with_a_child, {"--group", "share"});
    const auto worker = worker_of(job);
    const auto sleeper = sleeper_of(dir);
    CHECK(process_stat(worker).group == process_stat(shim.pid()).group);
    CHECK(at(read_json(job), "/jobshim/worker/group") != "own");
    shim.kill(SIGTERM);
    CHECK(shim.wait().ended() == "exit 9");
    CHECK(wait_until([&] { return !alive(sleeper); }));
}

TEST_CASE_METHOD(
    Sandbox,
    "a timeout ends the worker with the requested signal and with KILL after the grace period",
    "[quick][libc]") {
    struct Row {
        const char* what;
        std::string script;
        Words options;
        Json code, signal;
    };
    const std::string stubborn = "trap '' TERM; " + for_ever;
    const Row rows[] = {
        {"plain", for_ever, {"--timeout", "200ms"}, nullptr, SIGTERM},
        {"fractions of a second", for_ever, {"--timeout", "0.2"}, nullptr, SIGTERM},
        {"a minute is one", for_ever, {"--timeout", "0.003m"}, nullptr, SIGTERM},
        {"another signal",
         for_ever,
         {"--timeout", "200ms", "--signal", "SIGUSR1"},
         nullptr,
         SIGUSR1},
        {"a signal by number",
         for_ever,
         {"--timeout", "200ms", "--signal", "10"},
         nullptr,
         SIGUSR1},
        {"a real-time signal by name",
         for_ever,
         {"--timeout", "200ms", "--signal", "RTMIN+1"},
         nullptr,
         SIGRTMIN + 1},
        {"it ends by itself then",
         "trap 'exit 0' TERM; " + for_ever_in_shell,
         {"--timeout", "200ms"},
         0,
         nullptr},
        {"it ignores TERM",
         stubborn,
         {"--timeout", "200ms", "--kill-after", "200ms"},
         nullptr,
         SIGKILL},
        {"it is stopped",
         "kill -STOP $$",
         {"--timeout", "200ms", "--kill-after", "200ms"},
         nullptr,
         Json()},
    };
    for (const auto& [what, script, options, code, signal] : rows) {
        CAPTURE(what);
        const auto result = run_job(job, script, options);
        CHECK(result.ended() == "exit 124");
        CHECK(result.wall < stretched(5s));
        const auto record = read_json(job), exit = exit_of(job);
        CHECK(at(record, "/status") == "failed");
        CHECK(at(record, "/errorMessage").is_string());
        CHECK(at(exit, "/reason") == "timeout");
        CHECK(at(exit, "/code") == code);
        if (std::string_view(what) != "it is stopped")  // TERM with CONT, or KILL: either ends it
            CHECK(at(exit, "/signal") == signal);
        CHECK(at(exit, "/requestedBy/how") == "timeout");
    }
    CHECK(run_job(job, "exit 3", {"--timeout", "1h", "--kill-after", "0"}).ended() == "exit 3");
    CHECK(run_job(job, "sleep 0.3; exit 3", {"--timeout", "0"}).ended() == "exit 3");
    CHECK(at(exit_of(job), "/reason") == "exit-code");
}

TEST_CASE_METHOD(
    Sandbox, "leftovers of the worker's group are named in the record and killed only on request",
    "[quick]") {
    for (const std::string choice : {"keep", "kill"}) {
        CAPTURE(choice);
        fs::remove(dir / "sleeper");
        CHECK(run_job(job, sleep_behind + "echo $! > sleeper; exit 3", {"--leftovers", choice})
                  .ended() == "exit 3");
        const auto sleeper = sleeper_of(dir);
        CHECK(at(exit_of(job), "/leftovers/0/pid") == sleeper);
        CHECK(contains(at(exit_of(job), "/leftovers/0/command").dump(), "sleep"));
        if (choice == "kill") {
            CHECK(wait_until([&] { return !alive(sleeper); }));
        } else {
            CHECK(alive(sleeper));
            kill(sleeper, SIGKILL);
        }
    }
    // A process in its own session is a daemon: not a leftover.
    fs::remove(dir / "sleeper");
    CHECK(run_job(job,
                  "setsid sh -c 'echo $$ > sleeper.tmp; mv sleeper.tmp sleeper; exec sleep 600' & "
                  "until [ -e sleeper ]; do sleep 0.01; done",
                  {"--leftovers", "kill"})
              .ended() == "exit 0");
    const auto daemon = sleeper_of(dir);
    CHECK(alive(daemon));
    kill(daemon, SIGKILL);
}

TEST_CASE_METHOD(Sandbox, "as pid 1 of a namespace jobshim exits with 128 + n and reaps orphans",
                 "[libc]") {
    const Words unshare{"unshare", "-pf", "--mount-proc", "--"};
    if (!in_path("unshare") || run({"unshare", "-pf", "--mount-proc", "--", "true"}).status != 0)
        SKIP_TEST("no pid namespace of our own (needs root)");
    const auto as_init = [&](const std::string& script) {
        Words argv = unshare;
        for (const std::string& word : {jobshim, std::string("-j"), job.string(), std::string("--"),
                                        std::string("sh"), std::string("-c"), script})
            argv.push_back(word);
        return argv;
    };
    for (const auto& [script, code, signal] :
         {std::tuple{"exit 7", 7, Json()}, std::tuple{"kill -TERM $$", 143, Json(15)},
          std::tuple{"kill -KILL $$", 137, Json(9)}, std::tuple{"kill -SEGV $$", 139, Json(11)}}) {
        CAPTURE(script);
        CHECK(run(as_init(script)).ended() == "exit " + std::to_string(code));
        CHECK(at(exit_of(job), "/signal") == signal);
        CHECK(at(exit_of(job), "/certainty") == "observed");
    }

    // Ten orphans are reparented to pid 1 and end. A worker that waits until no zombie is left
    // shows that jobshim reaped them.
    const std::string orphans =
        "for i in 1 2 3 4 5 6 7 8 9 10; do (sleep 0.05 &) ; done; "
        "for try in $(seq 200); do sleep 0.02; cat /proc/[0-9]*/stat 2>/dev/null | grep -q -e ' Z "
        "' -e '(sleep) S 1 ' || exit 3; done; exit 4";
    CHECK(run(as_init(orphans)).ended() == "exit 3");
    CHECK(at(exit_of(job), "/code") == 3);

    auto outer = spawn(as_init("trap 'exit 8' TERM; touch ready; " + for_ever_in_shell));
    REQUIRE(wait_until([&] { return fs::exists(dir / "ready"); }));
    const auto inner = children_of(outer.pid());
    REQUIRE(inner.size() == 1);
    kill(inner.front(), SIGTERM);
    CHECK(outer.wait().ended() == "exit 8");
    CHECK(at(exit_of(job), "/requestedBy/how") == "signal to the shim");
}

TEST_CASE_METHOD(Sandbox, "SIGSTOP stops the shim alone", "[quick]") {
    auto shim = start_job(job, "while ! [ -e go ]; do date +%N > alive; sleep 0.02; done; exit 3");
    const auto worker = worker_of(job);
    shim.kill(SIGSTOP);
    REQUIRE(wait_until([&] { return process_state(shim.pid()) == 'T'; }));
    const auto before = slurp(dir / "alive");
    CHECK(wait_until([&] { return slurp(dir / "alive") != before; }));
    put(dir / "go", "");
    CHECK(wait_until([&] { return !alive(worker); }));  // its zombie waits for the shim
    shim.kill(SIGCONT);
    CHECK(shim.wait().ended() == "exit 3");
    CHECK(at(exit_of(job), "/code") == 3);
}

// SIGCONT right after SIGTERM made GNU make exit with 2 instead of dying of the signal.
TEST_CASE_METHOD(Sandbox, "a timeout continues a worker that is stopped and no other") {
    const std::string traps =
        "trap 'echo continued >> conts' CONT; trap 'echo asked > asked; exit 3' TERM; ";
    CHECK(run_job(job, traps + "while :; do sleep 0.01; done", {"--timeout", "100ms"}).ended() ==
          "exit 124");
    CHECK(fs::exists(dir / "asked"));
    CHECK_FALSE(fs::exists(dir / "conts"));
    fs::remove(dir / "asked");
    CHECK(
        run_job(job, traps + "kill -STOP $$; while :; do sleep 0.01; done", {"--timeout", "100ms"})
            .ended() == "exit 124");
    CHECK(fs::exists(dir / "asked"));
    CHECK(at(exit_of(job), "/code") == 3);
}

// A worker was told to reload and an hour later killed by another sender. The record blamed the
// sender of the HUP.
TEST_CASE_METHOD(Sandbox, "the sender of one signal is not blamed for another", "[quick]") {
    auto shim = start_job(job, "trap 'touch reloaded' HUP; touch ready; " + for_ever_in_shell);
    REQUIRE(wait_until([&] { return fs::exists(dir / "ready"); }));
    const auto worker = worker_of(job);
    shim.kill(SIGHUP);
    REQUIRE(wait_until([&] { return fs::exists(dir / "reloaded"); }));
    kill(worker, SIGKILL);
    CHECK(shim.wait().ended() == "SIGKILL");
    CHECK(at(exit_of(job), "/requestedBy") == nullptr);
    CHECK(contains(at(read_json(job), "/errorMessage").dump(),
                   "\"Killed by SIGKILL; who sent it cannot be known"));
    CHECK(contains(at(exit_of(job), "/evidence").dump(), "SIGHUP from uid "));
}

TEST_CASE_METHOD(Sandbox, "a timeout works as in GNU timeout and the record lists its steps") {
    struct Row {
        const char* what;
        std::string script;
        Words options;
        Words evidence;  ///< how its lines begin
        Json code, signal;
    };
    const std::string stubborn = "trap '' TERM; " + for_ever;
    const std::string stops = "kill -STOP $$; " + for_ever;
    const Row rows[] = {
        {"it obeys", for_ever, {}, {"SIGTERM sent: timeout reached after "}, nullptr, 15},
        {"it ends otherwise",
         "trap 'exit 5' TERM; " + for_ever_in_shell,
         {},
         {"SIGTERM sent: "},
         5,
         nullptr},
        {"it does not obey",
         stubborn,
         {"--kill-after", "100ms"},
         {"SIGTERM sent: ", "SIGKILL sent after "},
         nullptr,
         9},
        {"KILL at once",
         stubborn,
         {"--signal", "KILL"},
         {"SIGKILL sent: timeout reached after "},
         nullptr,
         9},
        {"KILL at once and never again",
         stubborn,
         {"--signal", "9", "--kill-after", "0"},
         {"SIGKILL sent: "},
         nullptr,
         9},
        {"another signal",
         "trap 'exit 6' USR1; " + for_ever_in_shell,
         {"--signal", "usr1"},
         {"SIGUSR1 sent: "},
         6,
         nullptr},
        {"a signal that ends nothing, then KILL",
         for_ever,
         {"--signal", "WINCH", "--kill-after", "100ms"},
         {"SIGWINCH sent: ", "SIGKILL sent after "},
         nullptr,
         9},
        // It gets the signal, and CONT so that it can obey.
        {"it is stopped", stops, {"--kill-after", "0"}, {"SIGTERM sent: "}, nullptr, 15},
        {"it is stopped, and asked by another signal",
         "trap 'exit 7' INT; " + stops,
         {"--signal", "INT", "--kill-after", "0"},
         {"SIGINT sent: "},
         7,
         nullptr},
        {"it is stopped, and asked by CONT",
         "trap 'exit 8' CONT; " + stops,
         {"--signal", "CONT", "--kill-after", "0"},
         {"SIGCONT sent: "},
         8,
         nullptr},
        {"its child is stopped",
         "sh -c 'kill -STOP $$' & wait; exit 9",
         {"--kill-after", "0"},
         {"SIGTERM sent: "},
         nullptr,
         15},
        // (A shim in a shared group stops with its worker, and then its timeout does not run
        // either.)
        {"in a shared group", for_ever, {"--group", "share"}, {"SIGTERM sent: "}, nullptr, 15},
    };
    // Run them in parallel, so that each has enough time to set its traps.
    const auto time = std::to_string(stretched(2s).count()) + "ms";
    std::vector<Process> shims;
    const auto file_of = [&](std::size_t n) { return dir / (std::to_string(n) + ".json"); };
    for (const Row& row : rows) {
        Words all{"--timeout", time};
        all.insert(all.end(), row.options.begin(), row.options.end());
        shims.push_back(start_job(file_of(shims.size()), row.script, all));
    }
    for (std::size_t n = 0; n < shims.size(); ++n) {
        const Row& row = rows[n];
        CAPTURE(row.what);
        const auto result = shims[n].wait();
        const auto record = read_json(file_of(n)), end = exit_of(file_of(n));
        INFO(record.dump(2));
        CHECK(result.ended() == "exit 124");
        CHECK(at(end, "/reason") == "timeout");
        CHECK(at(end, "/certainty") == "observed");
        CHECK(at(end, "/code") == row.code);
        CHECK(at(end, "/signal") == row.signal);
        CHECK(at(end, "/requestedBy/how") == "timeout");
        CHECK(contains(at(record, "/errorMessage").dump(), " s; the worker "));
        const auto lines = at(end, "/evidence");
        REQUIRE(lines.size() == row.evidence.size());
        for (std::size_t i = 0; i < row.evidence.size(); ++i)
            CHECK(lines[i].get<std::string>().starts_with(row.evidence[i]));
    }
    // Without KILL the shim waits for as long as it takes.
    auto shim = start_job(job, "trap 'touch asked' TERM; " + until_go + "exit 3",
                          {"--timeout", time, "--kill-after", "0"});
    REQUIRE(wait_until([&] { return fs::exists(dir / "asked"); }));
    CHECK(shim.running());
    CHECK(at(read_json(job), "/status") == "running");
    put(dir / "go", "");
    CHECK(shim.wait().ended() == "exit 124");
    CHECK(at(exit_of(job), "/code") == 3);
}
