// Launchers as found in practice: Node, Python, a shell, --detach, make.

#include <signal.h>
#include <unistd.h>

#include <iostream>

#include "integration/support.hpp"

using namespace harness;

TEST_CASE_METHOD(
    Sandbox, "after a Node program detaches a job and exits the worker's death is known within 1 s",
    "[serial]") {
    if (!in_path("node")) SKIP_TEST("no node in PATH");
    const auto host = run(
        {"node", fixture("spawn.mjs"), jobshim, job, "node", fixture("worker.mjs"), dir / "ready"});
    INFO(host.err);
    REQUIRE(host.ended() == "exit 0");
    const auto worker = worker_of(job);
    REQUIRE(wait_until([&] { return fs::exists(dir / "ready"); }));
    CHECK(process_stat(worker).group == worker);
    auto waiter = spawn({jobctl, "wait", job});
    wait_until_parked(waiter);

    const auto killed = Clock::now();
    kill(worker, SIGKILL);
    CHECK(waiter.wait().ended() == "exit 1");
    CHECK(Clock::now() - killed < stretched(1s));
    const auto record = read_json(job);
    CHECK(at(record, "/status") == "failed");
    CHECK(at(record, "/pid") == nullptr);
    CHECK(at(record, "/jobshim/exit/reason") == "signal");
    CHECK(at(record, "/jobshim/exit/signalName") == "SIGKILL");
    CHECK(at(record, "/jobshim/exit/certainty") == "observed");
    CHECK(ctl({"status", job}).ended() == "exit 1");
    CHECK(ctl({"wait", job}).ended() == "exit 1");
    CHECK(ctl({"result", job}).ended() == "exit 1");
}

TEST_CASE_METHOD(Sandbox, "a Python program gets the worker's return code, negative for a signal") {
    if (!in_path("python3")) SKIP_TEST("no python3 in PATH");
    const auto launch = [&](const std::string& script) {
        return run({"python3", fixture("launch.py"), jobshim, job, "sh", "-c", script}).out;
    };
    CHECK(launch("exit 0") == "0\n");
    CHECK(launch("exit 3") == "3\n");
    CHECK(launch("kill -9 $$") == "-9\n");
    CHECK(at(exit_of(job), "/signal") == 9);
}

TEST_CASE_METHOD(Sandbox,
                 "a shell runs jobs in the background, in a pipeline, and in a substitution",
                 "[quick]") {
    const Options options{.env = {{"JOBSHIM", jobshim}, {"JOBCTL", jobctl}}};
    const auto sh = [&](const std::string& script) { return run({"sh", "-c", script}, options); };
    CHECK(sh("$JOBSHIM -j a.json -- sh -c 'exit 3' & wait $!").ended() == "exit 3");
    CHECK(sh("$JOBSHIM -j b.json -- sh -c 'kill -9 $$' & wait $!").ended() == "exit 137");
    CHECK(sh("echo text | $JOBSHIM -j c.json -- tr a-z A-Z | cat").out == "TEXT\n");
    CHECK(sh("x=$($JOBSHIM -j d.json -- echo inside); echo \"<$x>\"").out == "<inside>\n");
    // yes dies of SIGPIPE as it would without the shim.
    CHECK(sh("$JOBSHIM -j e.json -- yes | head -n 1; $JOBCTL wait e.json --appear 5s").ended() ==
          "exit 1");
    CHECK(at(exit_of(dir / "e.json"), "/signalName") == "SIGPIPE");
}

TEST_CASE_METHOD(
    Sandbox,
    "a detached start returns once the command is executed and prints only the id on stdout",
    "[quick][libc]") {
    // The substitution ends only if no process keeps its pipe open.
    const auto result = run({"sh", "-c",
                             "id=$($JOBSHIM --detach --id far -- sh -c 'cat; echo out; echo err "
                             ">&2; exec sleep 600') && echo \"<$id>\""},
                            {.env = {{"JOBSHIM", jobshim}}, .limit = 10s});
    CHECK(result.ended() == "exit 0");
    CHECK(result.out == "<far>\n");
    CHECK(result.err.empty());
    const auto file = dir / "state/jobshim/jobs/far.json";
    const auto worker = worker_of(file);
    const auto shim = at(read_json(file), "/jobshim/shim/pid").get<pid_t>();
    CHECK(process_stat(shim).session != process_stat(getpid()).session);
    CHECK(process_stat(shim).session == process_stat(worker).session);
    CHECK(process_stat(worker).group == worker);
    CHECK(descriptors_of(worker)[0] == "/dev/null");
    const auto log = dir / "state/jobshim/jobs/far.log";
    CHECK(wait_until([&] { return slurp(log) == "out\nerr\n"; }));
    CHECK(ctl({"status", "far"}).ended() == "exit 3");
    CHECK(contains(ctl({"list"}).out, "far"));
    kill(worker, SIGKILL);
    CHECK(ctl({"wait", "far"}).ended() == "exit 1");
}

TEST_CASE_METHOD(Sandbox, "a detached start that fails says why on stderr only", "[quick][libc]") {
    put(dir / "text", "no program");
    put(dir / "mine.json", R"({"id":"mine"})");
    struct Row {
        Words arguments;
        int code;
        std::string named;
    };
    for (const auto& [arguments, code, named] :
         {Row{{"--", "no-such-command-anywhere"}, 127, "no-such-command-anywhere"},
          Row{{"--", dir / "text"}, 126, "text"},
          Row{{"-j", dir / "nowhere/job.json", "--", "true"}, 125, "job.json"},
          Row{{"-j", dir / "mine.json", "--id", "yours", "--", "true"}, 125, "mine"}}) {
        CAPTURE(Json(arguments).dump());
        Words all{"--detach"};
        all.insert(all.end(), arguments.begin(), arguments.end());
        const auto result = run_shim(all);
        CHECK(result.ended() == "exit " + std::to_string(code));
        CHECK(result.out.empty());
        CHECK(contains(result.err, named));
    }
}

TEST_CASE_METHOD(Sandbox,
                 "a detached make -j2 of a source tree is listed and followed and waited for") {
    if (!in_path("make") || !in_path("cc")) SKIP_TEST("no make or no cc in PATH");
    const auto tree = dir / "tree";
    fs::create_directory(tree);
    std::string sum = "0", declared;
    for (int i = 0; i < 12; ++i) {
        const auto n = std::to_string(i);
        put(tree / ("f" + n + ".c"), "int f" + n + "(void) { return " + n + "; }\n");
        sum += " + f" + n + "()";
        declared += "int f" + n + "(void);\n";
    }
    put(tree / "main.c", declared + "int main(void) { return " + sum + "; }\n");
    put(tree / "Makefile",
        "sum: $(patsubst %.c,%.o,$(wildcard *.c))\n\t$(CC) -o $@ $^\n\t@echo linked $@\n");

    const auto started =
        run_shim({"--detach", "--title", "build", "--", "make", "-j2"}, {.cwd = tree});
    REQUIRE(started.ended() == "exit 0");
    const auto id = lines_of(started.out).at(0);
    const auto list = ctl({"list"});
    CHECK(contains(list.out, id));
    CHECK(contains(list.out, "build"));
    const auto log = ctl({"logs", "-f", id}, {.limit = 60s});
    CHECK(log.ended() == "exit 0");
    CHECK(log.out.ends_with("linked sum\n"));
    CHECK(contains(log.out, "f11.o"));
    CHECK(ctl({"wait", id}).ended() == "exit 0");
    CHECK(run({tree / "sum"}).code() == 66);
    CHECK(at(ctl_json({"result", id}), "/job/title") == "build");
}

TEST_CASE_METHOD(Sandbox,
                 "a Node program gets the same events from its child as without the shim") {
    if (!in_path("node")) SKIP_TEST("no node in PATH");
    // Each step waits for the one before, so that only one order of events is possible.
    const std::string closing =
        "echo one; exec >&-; read word; echo two >&2; exec 2>&-; read word; ";
    const std::string leaving =
        "exec 2>&-; read word; echo ask; read word; exec 3<&0; (read word <&3; echo late) & exit 4";
    const std::string killed = closing + "kill -9 $$";
    for (const std::string& script : {closing + "exit 3", killed, leaving}) {
        CAPTURE(script);
        const auto hear = [&](const Words& prefix) {
            Words argv{"node", fixture("events.mjs")};
            argv.insert(argv.end(), prefix.begin(), prefix.end());
            argv.insert(argv.end(), {"sh", "-c", script});
            const auto result = run(argv);
            CHECK(result.ended() == "exit 0");
            return result.out;
        };
        const auto bare = hear({});
        CHECK(contains(bare, "close"));
        CHECK(hear({jobshim, "-j", job, "--"}) == bare);
    }
}

TEST_CASE_METHOD(Sandbox, "Node's channel to its child works through the shim") {
    if (!in_path("node")) SKIP_TEST("no node in PATH");
    const Words worker{"node", fixture("ipc_worker.mjs")};
    const auto talk = [&](const Words& prefix) {
        Words argv{"node", fixture("ipc_host.mjs")};
        argv.insert(argv.end(), prefix.begin(), prefix.end());
        argv.insert(argv.end(), worker.begin(), worker.end());
        return run(argv).out;
    };
    const auto bare = talk({});
    CHECK(contains(bare, "exit 7"));
    CHECK(talk({jobshim, "-j", job, "--"}) == bare);
}

TEST_CASE_METHOD(Sandbox, "five thousand quick jobs leak nothing in their launcher", "[sweep]") {
    // In memory if possible: the disk is not under test here.
    const auto directory = (access("/dev/shm", W_OK) == 0 ? fs::path("/dev/shm") : dir) /
                           ("jobshim-test-" + std::to_string(getpid()));
    struct Row {
        std::string program, script;
    };
    for (const auto& [program, script] : {Row{"node", "many.mjs"}, Row{"python3", "many.py"}}) {
        if (!in_path(program)) {
            WARN("no " << program << " in PATH, left out");
            continue;
        }
        fs::create_directory(directory);
        const auto result =
            run({program, fixture(script), "2500", jobshim, directory}, {.limit = 120s});
        std::cout << program << ": " << result.out << "  in " << result.wall.count() << " ms\n";
        INFO(result.err);
        CHECK(result.ended() == "exit 0");
        CHECK(result.out == "2500 jobs, 0 wrong, 0 descriptors more, children: \"\"\n");
        // No shim or worker is left, and no files but the records.
        CHECK(children_of(getpid()).empty());
        CHECK(names_in(directory, "").size() == 2500);
        fs::remove_all(directory);
    }
}
