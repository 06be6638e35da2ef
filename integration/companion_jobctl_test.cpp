// jobctl --companion: jobs of codex-companion that were not wrapped in a shim.

#include <unistd.h>

#include "integration/companion.hpp"

using namespace harness;

TEST_CASE_METHOD(Sandbox, "companion: each kind of job that no shim started is judged by its pid",
                 "[quick]") {
    const Companion plugin(dir / "ws-0123456789abcdef");
    const auto sleeper = spawn({"sleep", "600"});
    const auto plugins_own = spawn({"sh", "-c", for_ever_in_shell, "codex-companion.mjs"});
    // Its parent never reaps it.
    const auto parent = spawn({"sh", "-c", "sh -c 'exit 0' & echo $!; exec sleep 600"});
    REQUIRE(wait_until([&] { return !lines_of(parent.out()).empty(); }));
    const pid_t zombie = std::stoi(parent.out());
    REQUIRE(wait_until([&] { return process_state(zombie) == 'Z'; }));

    const auto with_start = [&](const std::string& id, pid_t pid, Milliseconds ago) {
        Json record = plugin.record(id, "running", pid);
        record["startedAt"] = iso_now(ago);
        plugin.write_both(record);
    };
    with_start("live", sleeper.pid(), 0ms);
    with_start("own", plugins_own.pid(), 3600s);
    with_start("reused", sleeper.pid(), 3600s);
    with_start("gone", gone_pid(), 0ms);
    with_start("zombie", zombie, 0ms);
    plugin.write_both(plugin.record("nopid", "running"));
    plugin.write_both(plugin.record("fresh", "queued"));
    Json old = plugin.record("old", "queued");
    old["createdAt"] = iso_now(61s);
    plugin.write_both(old);
    Json odd = plugin.record("odd", "dreaming", sleeper.pid());
    plugin.write_both(odd);
    plugin.write_both(plugin.record("done", "completed"));

    const std::map<std::string, std::string> before{
        {"live", "running"}, {"own", "running"},   {"reused", "lost"},  {"gone", "lost"},
        {"zombie", "lost"},  {"nopid", "unknown"}, {"fresh", "queued"}, {"old", "lost"},
        {"odd", "unknown"},  {"done", "completed"}};
    const auto untouched = slurp(plugin.index);
    const auto looked = ctl_json({"list", "--no-reap", "--companion", plugin.dir});
    for (const auto& [id, state] : before) {
        CAPTURE(id);
        CHECK(state_of(looked, id) == state);
    }
    CHECK(slurp(plugin.index) == untouched);
    const auto dry = ctl({"reap", "--dry-run", "--companion", plugin.dir});
    CHECK(contains(dry.out, "4 jobs would be settled, 2 unknown"));
    CHECK(slurp(plugin.index) == untouched);

    const auto reaped = ctl({"reap", "--companion", plugin.dir});
    CHECK(reaped.ended() == "exit 0");
    CHECK(contains(reaped.out, "4 jobs settled, 2 unknown"));
    for (const auto& [id, state] : before) {
        CAPTURE(id);
        const auto expected = state == "lost" ? "failed failed" : "";
        if (state == "lost") {
            CHECK(plugin.statuses(id) == expected);
            CHECK(at(plugin.job(id), "/pid") == nullptr);
            CHECK(at(plugin.entry(id), "/pid") == nullptr);
            CHECK(at(plugin.job(id), "/jobshim/exit/certainty") == "inferred");
        }
    }
    CHECK(plugin.statuses("live") == "running running");
    CHECK(plugin.statuses("done") == "completed completed");
    CHECK(
        contains(at(plugin.job("reused"), "/errorMessage").get<std::string>(), "another process"));

    // A second run changes no byte.
    std::map<std::string, std::string> texts{{"index", slurp(plugin.index)}};
    for (const auto& [id, state] : before) texts[id] = slurp(plugin.job_file(id));
    CHECK(contains(ctl({"reap", "--companion", plugin.dir}).out, "0 jobs settled"));
    CHECK(texts["index"] == slurp(plugin.index));
    for (const auto& [id, state] : before) CHECK(texts[id] == slurp(plugin.job_file(id)));

    parent.kill(SIGKILL);
    sleeper.kill(SIGKILL);
    plugins_own.kill(SIGKILL);
}

TEST_CASE_METHOD(Sandbox, "companion: a worker that we have no right to signal is alive") {
    if (geteuid() != 0) SKIP_TEST("needs root, to have another user");
    const Companion plugin(dir / "state");
    const auto sleeper = spawn({"sleep", "600"});
    plugin.write_both(plugin.record("task-1", "running", sleeper.pid()));
    for (const auto& path : {dir, plugin.dir, plugin.jobs})
        fs::permissions(path, fs::perms::others_all, fs::perm_options::add);
    for (const auto& path : {plugin.index, plugin.job_file("task-1")})
        fs::permissions(path, fs::perms::others_read, fs::perm_options::add);
    const auto status = run({public_copy(jobctl), "status", "--companion", plugin.dir, "task-1"},
                            {.before_exec = become_nobody});
    INFO(status.err);
    CHECK(status.ended() == "exit 3");
    CHECK(contains(status.out, "is alive"));
    sleeper.kill(SIGKILL);
}

TEST_CASE_METHOD(Sandbox, "companion: a job that the index lost is found and put back", "[long]") {
    const Companion plugin(dir / "state");
    plugin.write_job(plugin.record("task-1", "running", gone_pid()));
    auto done = plugin.record("task-2", "completed");
    done["result"] = {{"much", "text"}};
    done["rendered"] = "much text";
    plugin.write_job(done);
    CHECK(ctl({"status", "task-1", "--companion", plugin.dir}).ended() == "exit 1");
    CHECK(plugin.statuses("task-1") == "failed failed");
    CHECK(ctl({"reap", "--companion", plugin.dir}).ended() == "exit 0");
    CHECK(plugin.statuses("task-2") == "completed completed");
    CHECK(at(plugin.entry("task-2"), "/result") == "<missing>");
    CHECK(at(plugin.entry("task-2"), "/rendered") == "<missing>");
    CHECK(at(plugin.job("task-2"), "/rendered") == "much text");
    // A job whose file is gone is settled in the index alone.
    plugin.upsert(plugin.record("task-3", "running", gone_pid()));
    CHECK(ctl({"status", "task-3", "--companion", plugin.dir}).ended() == "exit 1");
    CHECK(plugin.statuses("task-3") == "- failed");
}

TEST_CASE_METHOD(Sandbox, "companion: wait returns when the worker dies and result agrees",
                 "[quick]") {
    const Companion plugin(dir / "state");
    auto worker = spawn({"sh", "-c", for_ever});
    plugin.write_both(plugin.record("task-1", "running", worker.pid()));
    auto waiter = spawn({jobctl, "wait", "--companion", plugin.dir, "task"});
    REQUIRE(wait_until([&] { return watches(waiter.pid(), worker.pid()); }));
    CHECK(ctl({"wait", "task-1", "--timeout", "10ms", "--companion", plugin.dir}).ended() ==
          "exit 124");
    worker.kill(SIGKILL);
    const auto waited = waiter.wait();
    CHECK(waited.ended() == "exit 1");
    CHECK(contains(waited.out, "task-1  failed  The worker (pid"));
    const auto result = ctl({"result", "--companion", plugin.dir, "task-1"});
    CHECK(result.ended() == "exit 1");
    CHECK(contains(result.out, "unknown (inferred)"));
    CHECK(ctl({"wait", "nobody", "--companion", plugin.dir}).ended() == "exit 4");
}

TEST_CASE_METHOD(Sandbox, "companion: wait returns when the worker records its own end") {
    const Companion plugin(dir / "state");
    auto worker = spawn({"sh", "-c", for_ever});
    plugin.write_both(plugin.record("task-1", "running", worker.pid()));
    auto waiter = spawn({jobctl, "wait", "--companion", plugin.dir, "task-1"});
    REQUIRE(wait_until([&] { return watches(waiter.pid(), worker.pid()); }));
    auto done = plugin.job("task-1");
    done["status"] = "completed";
    plugin.write_both(done);
    CHECK(waiter.wait().ended() == "exit 0");
    worker.kill(SIGKILL);
}

TEST_CASE_METHOD(Sandbox, "companion: a workspace can be given for its state directory",
                 "[quick]") {
    fs::create_directories(dir / "my work/.git");
    fs::create_directories(dir / "my work/below");
    fs::create_symlink(dir / "my work", dir / "link");
    const Options options{.env = {{"CLAUDE_PLUGIN_DATA", (dir / "data").string()},
                                  {"TMPDIR", (dir / "tmp").string()}}};
    const auto missing = ctl({"list", "--companion", dir / "my work"}, options);
    CHECK(missing.ended() == "exit 125");
    CHECK(contains(missing.err, "not a codex-companion state directory"));
    // The message says where it would be.
    const auto at_name = missing.err.find("my-work-");
    REQUIRE(at_name != std::string::npos);
    const auto name = missing.err.substr(at_name, 24);
    const Companion here(dir / "data/state" / name);
    here.write_both(here.record("task-1", "completed"));
    for (const auto& directory : {"my work", "my work/below", "link", "link/below"})
        CHECK(contains(ctl({"list", "--companion", dir / directory}, options).out, "task-1"));

    const Companion there(dir / "tmp/codex-companion/other-0123456789abcdef");
    there.write_both(there.record("task-2", "running", gone_pid()));
    fs::create_directories(dir / "tmp/codex-companion/none");
    const auto all = ctl({"list", "--all-states"}, options);
    CHECK(contains(all.out, "task-1"));
    CHECK(contains(all.out, "task-2"));
    CHECK(there.statuses("task-2") == "failed failed");
    CHECK(ctl({"status", "task", "--all-states"}, options).ended() == "exit 2");
    CHECK(ctl({"list", "--all-states", "--dir", dir}, options).ended() == "exit 2");
}

// The name of a directory could add lines of its own.
TEST_CASE_METHOD(Sandbox, "companion: the jobs that a name may mean are listed one a line") {
    const Companion here(dir / "here"), there(dir / "there\n  task-9 in /etc \x1b[1m \u202e");
    here.write_both(here.record("task-1", "completed"));
    there.write_both(there.record("task-1", "completed"));
    const auto status = ctl({"status", "task", "--companion", here.dir, "--companion", there.dir});
    INFO(status.err);
    CHECK(status.ended() == "exit 2");
    const auto lines = lines_of(status.err);
    REQUIRE(lines.size() == 3);
    CHECK(lines[1] == "  task-1 in " + here.dir.string());
    CHECK(lines[2] ==
          "  task-1 in " + (dir / "there").string() + "\uFFFD  task-9 in /etc \uFFFD[1m <U+202E>");
}

TEST_CASE_METHOD(Sandbox, "companion: broken files are reported and left as they are", "[quick]") {
    const Companion plugin(dir / "state");
    put(plugin.index, "{\"jobs\": [");
    put(plugin.jobs / "torn.json", "{\"half");
    put(plugin.jobs / "..json", "{}");
    plugin.write_job(plugin.record("task-1", "running", gone_pid()));
    const auto listed = ctl({"list", "--companion", plugin.dir});
    CHECK(listed.ended() == "exit 0");
    CHECK(contains(listed.err, plugin.index.string() + ": empty or torn"));
    CHECK(contains(listed.out, "torn"));
    CHECK(contains(listed.out, "task-1"));
    CHECK(slurp(plugin.index) == "{\"jobs\": [");
    CHECK(slurp(plugin.jobs / "torn.json") == "{\"half");
    CHECK(plugin.job("task-1").value("status", "") == "failed");
    CHECK(ctl({"list", "--companion", dir / "nowhere"}).ended() == "exit 125");
}
