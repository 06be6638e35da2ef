// jobshim combined with other prefix commands, above and below them, and under another jobshim.

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>

#include "integration/support.hpp"

using namespace harness;

namespace {

/// The ancestor of a process, `depth` generations up.
pid_t ancestor(pid_t pid, int depth) {
    for (; depth > 0; --depth) pid = process_stat(pid).parent;
    return pid;
}

}  // namespace

TEST_CASE_METHOD(Sandbox,
                 "a prefix command above or below jobshim changes neither status nor output") {
    struct Row {
        Words prefix;
        bool needs_trial = false;  ///< may be installed but not work: no rights, no daemon
    };
    const Row rows[] = {
        {{"timeout", "60"}},
        {{"timeout", "--foreground", "60"}},
        {{"nohup"}},
        {{"setsid", "-w"}},
        {{"nice", "-n", "2"}},
        {{"env", "-i", "PATH=/usr/bin:/bin"}},
        {{"stdbuf", "-oL"}, true},  // preloads a library, which a sanitizer objects to
        {{"flock", "lock"}},
        {{"xargs", "-a", "/dev/null"}},
        {{"strace", "-f", "-o", "trace"}, true},
        {{"sudo", "-n"}, true},
        {{"setpriv", "--no-new-privs"}, true},
        {{"systemd-run", "--quiet", "--scope"}, true},
        {{"systemd-run", "--quiet", "--wait", "--pipe"}, true}};
    const Words script{"sh", "-c", "echo out; echo err >&2; exit 3"};
    const Words dies{"sh", "-c", "kill -TERM $$"};
    const Options options{.env = no_leak_check};
    for (const auto& [prefix, needs_trial] : rows) {
        CAPTURE(Json(prefix).dump());
        if (!in_path(prefix[0]) ||
            (needs_trial && run(joined({prefix, {jobshim, "--version"}}), options).status != 0)) {
            std::cout << prefix[0] << ": not in PATH, or does not work here; left out\n";
            continue;
        }
        for (const Words& worker : {script, dies}) {
            const auto bare = run(joined({prefix, worker}), options);
            const Words shim{jobshim, "-j", job, "--"};
            const auto under = run(joined({prefix, shim, worker}), options);
            CHECK(under.ended() == bare.ended());
            CHECK(under.out == bare.out);
            if (worker == script) CHECK(under.err == bare.err);  // a death message has pid or name
            CHECK(at(exit_of(job), "/reason") == (worker == dies ? "signal" : "exit-code"));
            const auto over = run(joined({shim, prefix, worker}), options);
            CHECK(over.ended() == bare.ended());
            CHECK(over.out == bare.out);
            if (worker == script) CHECK(over.err == bare.err);
            const auto record = exit_of(job);
            CHECK(at(record, "/code") == (bare.code() < 0 ? Json() : Json(bare.code())));
        }
    }
}

TEST_CASE_METHOD(Sandbox, "jobshim under jobshim: each keeps its own record of the same end",
                 "[quick]") {
    const auto file = [&](int n) { return dir / (std::to_string(n) + ".json"); };
    constexpr int depth = 4;
    Words chain;
    for (int n = 0; n < depth; ++n) {
        const Words shim{n == 0 ? "-j" : jobshim, n == 0 ? file(0) : fs::path("-j")};
        chain.insert(chain.end(), shim.begin(), shim.end());
        if (n > 0) chain.push_back(file(n));
        chain.push_back("--");
    }
    const auto end_of_all = [&](const std::string& key, const Json& value) {
        for (int n = 0; n < depth; ++n) {
            CAPTURE(n);
            CHECK(at(exit_of(file(n)), key) == value);
            CHECK(at(exit_of(file(n)), "/leftovers") == Json::array());
        }
    };
    // The worker knows only the innermost job file.
    const auto result =
        run_shim(joined({chain, {"sh", "-c", "printf %s \"$JOBSHIM_JOB_FILE\"; exit 6"}}));
    CHECK(result.ended() == "exit 6");
    CHECK(result.out == file(depth - 1).string());
    end_of_all("/code", 6);

    // A signal to the outermost shim passes through all of them.
    for (const std::string group : {"own", "share"}) {
        CAPTURE(group);
        auto outer = start_shim(joined({{"--group", group}, chain, {"sleep", "600"}}));
        const auto worker = worker_of(file(depth - 1));
        CHECK(ancestor(worker, depth) == outer.pid());
        outer.kill(SIGUSR1);
        CHECK(outer.wait().ended() == "SIGUSR1");
        CHECK_FALSE(alive(worker));
        end_of_all("/signalName", "SIGUSR1");
    }

    // KILL to the outermost shim: the kernel takes the others down one by one.
    auto outer = start_shim(joined({chain, {"sleep", "600"}}));
    const auto worker = worker_of(file(depth - 1));
    outer.kill(SIGKILL);
    outer.wait();
    CHECK(wait_until([&] { return !alive(worker); }));
    for (int n = 0; n < depth; ++n) {
        CHECK(ctl({"wait", file(n)}).ended() == "exit 1");
        CHECK(at(exit_of(file(n)), "/reason") == "shim-lost");
    }
}

TEST_CASE_METHOD(Sandbox, "timeout over jobshim ends the worker, even if it has to kill the shim") {
    struct Row {
        Words options;
        std::string end, reason;
    };
    const Row rows[] = {{{}, "exit 124", "signal"},
                        {{"-s", "INT"}, "exit 124", "signal"},
                        {{"-s", "KILL"}, "SIGKILL", "shim-lost"}};
    for (const Row& row : rows) {
        CAPTURE(Json(row.options).dump());
        fs::remove(job);
        // The test sends timeout's own alarm, so the time is up once the worker runs and not
        // before.
        const auto ended = [&](const Words& prefix) {
            auto timeout =
                spawn(joined({{"timeout"}, row.options, {"600"}, prefix, {"sleep", "600"}}));
            const auto worker = [&] {
                if (!prefix.empty()) return worker_of(job);
                // Once it has executed sleep: until then it is a copy of timeout, which may
                // still ignore or handle the signal.
                REQUIRE(wait_until([&] {
                    const auto children = children_of(timeout.pid());
                    return children.size() == 1 &&
                           slurp(fs::path("/proc") / std::to_string(children.front()) / "comm") ==
                               "sleep\n";
                }));
                return children_of(timeout.pid()).front();
            }();
            timeout.kill(SIGALRM);
            const auto result = timeout.wait();
            CHECK(wait_until([&] { return !alive(worker); }));
            return result.ended();
        };
        CHECK(ended({jobshim, "-j", job, "--"}) == row.end);
        CHECK(ended({}) == row.end);
        CHECK(ctl({"wait", job}).ended() == "exit 1");
        CHECK(at(exit_of(job), "/reason") == row.reason);
    }
}

TEST_CASE_METHOD(Sandbox, "under nohup a hangup ends neither the worker nor the shim") {
    auto shim = spawn({"nohup", jobshim, "-j", job, "--", "sh", "-c", until_go + "exit 3"});
    const auto worker = worker_of(job);
    CHECK(kill(shim.pid(), SIGHUP) == 0);
    CHECK(kill(worker, SIGHUP) == 0);
    // Signals are taken in order: once the later one is handled, the earlier was taken and ignored.
    CHECK(kill(shim.pid(), SIGWINCH) == 0);
    put(dir / "go", "");
    CHECK(shim.wait().ended() == "exit 3");
    CHECK(at(exit_of(job), "/code") == 3);
}

TEST_CASE_METHOD(Sandbox, "xargs -P runs many jobs, each with a record of its own") {
    const std::string script =
        "seq 40 | xargs -P 4 -I{} \"$JOBSHIM\" -j {}.json -- sh -c 'exit $(({} % 7))'";
    const auto result = run({"sh", "-c", script}, {.env = {{"JOBSHIM", jobshim}}});
    CHECK(result.ended() == "exit 123");
    CHECK(result.err.empty());
    for (int n = 1; n <= 40; ++n)
        CHECK(at(exit_of(dir / (std::to_string(n) + ".json")), "/code") == n % 7);
    // 255 and a signal stop xargs, so they must come through.
    CHECK(run({"sh", "-c", "seq 9 | xargs -n1 \"$JOBSHIM\" -j x.json -- sh -c 'exit 255'"},
              {.env = {{"JOBSHIM", jobshim}}})
              .ended() == "exit 124");
    CHECK(run({"sh", "-c", "seq 9 | xargs -n1 \"$JOBSHIM\" -j x.json -- sh -c 'kill -9 $$'"},
              {.env = {{"JOBSHIM", jobshim}}})
              .ended() == "exit 125");
}

// The two targets wait for each other: with the single job of a make without its jobserver, they
// would wait forever.
TEST_CASE_METHOD(Sandbox, "a make under jobshim shares the jobserver of the make above it") {
    if (!in_path("make")) SKIP_TEST("no make in PATH");
    put(dir / "Makefile", "all: ; +$(JOBSHIM) -j below.json -- $(MAKE) -f below.mk\n");
    put(dir / "below.mk",
        "both: one two\n"
        "one: ; @touch one.here; until [ -e two.here ]; do sleep 0.02; done; echo one\n"
        "two: ; @touch two.here; until [ -e one.here ]; do sleep 0.02; done; echo two\n");
    const auto result = run({"make", "-s", "-j2", "JOBSHIM=" + jobshim});
    CHECK(result.ended() == "exit 0");
    CHECK(result.err.empty());  // "warning: jobserver unavailable"
    CHECK((result.out == "one\ntwo\n" || result.out == "two\none\n"));
    CHECK(at(exit_of(dir / "below.json"), "/reason") == "success");
}

TEST_CASE_METHOD(Sandbox,
                 "the daemon of a worker that forks twice is reparented as without the shim") {
    // The daemon keeps none of the launcher's descriptors, so the substitution ends with the
    // worker.
    const std::string daemon =
        "(setsid sh -c 'echo $$ > tmp; mv tmp daemon; exec sleep 600' > /dev/null 2>&1 < /dev/null "
        "&); until [ -e daemon ]; do sleep 0.01; done; echo up; exit 4";
    for (const std::string prefix : {"", "\"$JOBSHIM\" -j job.json --"}) {
        CAPTURE(prefix);
        fs::remove(dir / "daemon");
        put(dir / "daemon.sh", daemon);
        const auto result = run({"sh", "-c", "x=$(" + prefix + " sh daemon.sh); echo \"<$x> $?\""},
                                {.env = {{"JOBSHIM", jobshim}}});
        CHECK(result.out == "<up> 4\n");
        const auto pid = static_cast<pid_t>(std::stol(slurp(dir / "daemon")));
        CHECK(alive(pid));
        CHECK(process_stat(pid).parent == getpid());  // ours, because the test is the subreaper
        kill(pid, SIGKILL);
    }
    CHECK(at(exit_of(job), "/code") == 4);
    CHECK(at(exit_of(job), "/leftovers") == Json::array());
}

// The kernel clears the parent-death signal when a process changes its user.
TEST_CASE_METHOD(Sandbox, "a worker that becomes another user outlives its shim and is orphaned") {
    if (geteuid() != 0) SKIP_TEST("needs root, to make a set-uid program");
    auto sleep = run({"sh", "-c", "command -v sleep"}).out;
    sleep.pop_back();  // the newline
    const auto sleeper = public_copy(sleep);
    must(chown(sleeper.c_str(), 65534, 65534), "chown");
    fs::permissions(sleeper, fs::perms(04755));
    struct Row {
        const char* what;
        Words worker;
    };
    for (const auto& [what, worker] :
         {Row{"a set-uid program", {sleeper, "600"}},
          Row{"setpriv", {"setpriv", "--reuid", "65534", "--clear-groups", "sleep", "600"}}}) {
        CAPTURE(what);
        if (!in_path(worker[0]) && !fs::exists(worker[0])) continue;
        auto shim = start_shim(joined({{"-j", job, "--"}, worker}));
        const auto pid = worker_of(job);
        const auto is_nobody = [&] {
            return contains(slurp("/proc/" + std::to_string(pid) + "/status"), "\t65534\t65534");
        };
        if (!wait_until(is_nobody, 5s)) {
            kill(pid, SIGKILL);
            shim.wait();
            SKIP_TEST("set-uid programs do not work here (nosuid?)");
        }
        shim.kill(SIGKILL);
        shim.wait();
        CHECK(ctl({"status", job}).ended() == "exit 3");
        CHECK(contains(ctl({"status", job}).out, "orphaned"));
        CHECK(alive(pid));
        kill(pid, SIGKILL);
        CHECK(ctl({"wait", job}).ended() == "exit 1");
    }
    CHECK(contains(ctl({"doctor"}).out, "set-uid"));
}
