// Plugins that keep the same files as codex-companion, in their own way: another script, an index
// without job files, other words for a status. First with records like theirs, then with the
// plugins' own writers, if COMPANION_KIN names checkouts of them.

#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <sstream>

#include "integration/companion.hpp"

using namespace harness;

namespace {

constexpr Milliseconds long_ago = 3600s;

/// As if the job had begun, and its record had last been written, long before its process.
Json aged(Json record) {
    for (const char* key : {"createdAt", "startedAt", "updatedAt"}) record[key] = iso_now(long_ago);
    return record;
}

/// An entry of a plugin that has no job file while the job runs, and no startedAt.
Json bare_entry(const std::string& id, const std::string& status, std::optional<pid_t> pid) {
    Json entry{{"id", id}, {"type", "task"}, {"status", status}, {"createdAt", iso_now()}};
    if (pid) entry["pid"] = *pid;
    return entry;
}

struct Kin : Sandbox {
    const Companion plugin{dir / "0123456789abcdef"};

    Json look() { return ctl_json({"list", "--no-reap", "--companion", plugin.dir}); }
    Result reap() { return ctl({"reap", "--companion", plugin.dir}); }
    Result status(const std::string& id) { return ctl({"status", "--companion", plugin.dir, id}); }
    /// The end of a job whose worker is killed while somebody waits for it.
    void check_death(const std::string& id, const Process& worker) {
        auto waiter = spawn({jobctl, "wait", "--companion", plugin.dir, id});
        wait_until_parked(waiter);
        worker.kill(SIGKILL);
        const auto waited = waiter.wait();
        INFO(waited.out << waited.err);
        CHECK(waited.ended() == "exit 1");
        CHECK(contains(waited.out, "is gone"));
    }
};

}  // namespace

TEST_CASE_METHOD(Kin, "companion kin: a worker's script may have any name that ends in -companion",
                 "[quick]") {
    std::vector<Process> workers;
    Words ids;
    for (const std::string name : {"codex", "gemini", "opencode", "kimi", "grok", "copilot"}) {
        ids.push_back(name);
        workers.push_back(spawn_companion(
            *this, fs::path("plugins") / name / "scripts" / (name + "-companion.mjs"),
            {"task-worker"}));
        plugin.write_both(aged(plugin.record(name, "running", workers.back().pid())));
    }
    const auto seen = look();
    for (const auto& id : ids) {
        CAPTURE(id);
        CHECK(state_of(seen, id) == "running");
    }
    CHECK(contains(reap().out, "0 jobs settled"));
    for (const auto& id : ids) CHECK(plugin.statuses(id) == "running running");
    for (const auto& worker : workers) worker.kill(SIGKILL);
}

TEST_CASE_METHOD(Kin, "companion kin: a process that only mentions such a script is not a worker") {
    const std::string script = dir / "plugins/gemini/scripts/gemini-companion.mjs";
    std::map<std::string, Process> others;
    others.emplace("linter", spawn_companion(*this, "lint.mjs", {script}));
    others.emplace("prompt", spawn_companion(*this, "claude.mjs", {"-p", "look at " + script}));
    for (const auto& [id, process] : others)
        plugin.write_both(aged(plugin.record(id, "running", process.pid())));
    // The pid was written while this process existed, though the job is older.
    const auto sleeper = spawn({"sleep", "600"});
    auto old = aged(plugin.record("old", "running", sleeper.pid()));
    old["updatedAt"] = iso_now();
    plugin.write_both(old);

    const auto seen = look();
    for (const auto& [id, process] : others) {
        CAPTURE(id);
        CHECK(state_of(seen, id) == "lost");
    }
    CHECK(state_of(seen, "old") == "running");
    for (const auto& [id, process] : others) process.kill(SIGKILL);
    sleeper.kill(SIGKILL);
}

TEST_CASE_METHOD(Kin, "companion kin: a job that is only in the index is settled there") {
    const auto worker = spawn_companion(*this, "opencode-companion.mjs", {"task-worker"});
    plugin.upsert(bare_entry("task-1", "running", worker.pid()));
    CHECK(state_of(look(), "task-1") == "running");
    check_death("task-1", worker);
    CHECK(plugin.statuses("task-1") == "- failed");
    CHECK(at(plugin.entry("task-1"), "/pid") == nullptr);
    CHECK(at(plugin.entry("task-1"), "/type") == "task");
    CHECK_FALSE(fs::exists(plugin.job_file("task-1")));
    CHECK(status("task-1").ended() == "exit 1");
}

TEST_CASE_METHOD(Kin, "companion kin: a job that is pending is queued") {
    const auto worker = spawn_companion(*this, "pi-companion.mjs", {"run"});
    const auto sleeper = spawn({"sleep", "600"});
    plugin.upsert(bare_entry("fresh", "pending", {}));
    plugin.upsert(bare_entry("live", "pending", worker.pid()));
    auto reused = aged(bare_entry("reused", "pending", sleeper.pid()));
    auto old = bare_entry("old", "pending", {});
    old["createdAt"] = iso_now(61s);
    plugin.upsert(old);
    plugin.write_both(reused);
    const auto seen = look();
    CHECK(state_of(seen, "fresh") == "queued");
    CHECK(state_of(seen, "live") == "queued");
    CHECK(state_of(seen, "old") == "lost");
    CHECK(state_of(seen, "reused") == "lost");
    CHECK(contains(reap().out, "2 jobs settled"));
    CHECK(plugin.statuses("fresh") == "- pending");
    CHECK(plugin.statuses("live") == "- pending");
    CHECK(plugin.statuses("old") == "- failed");
    CHECK(plugin.statuses("reused") == "failed failed");
    worker.kill(SIGKILL);
    sleeper.kill(SIGKILL);
}

TEST_CASE_METHOD(Kin, "companion kin: what the plugin calls canceled stays so") {
    auto worker = spawn_companion(*this, "grok-companion.mjs", {"task-worker"});
    plugin.write_both(plugin.record("task-1", "running", worker.pid()));
    worker.kill(SIGKILL);
    (void)worker.wait();
    // Only the index is told.
    auto entry = plugin.entry("task-1");
    entry.update({{"status", "canceled"}, {"phase", "canceled"}});
    plugin.upsert(entry);
    const auto before = plugin.entry("task-1");
    CHECK(state_of(look(), "task-1") == "cancelled");
    CHECK(contains(reap().out, "1 job settled"));
    CHECK(plugin.statuses("task-1") == "cancelled canceled");
    CHECK(plugin.entry("task-1") == before);
    CHECK(status("task-1").ended() == "exit 5");
}

TEST_CASE_METHOD(Kin, "companion kin: a result in the place of a job file is left alone") {
    const auto worker = spawn_companion(*this, "opencode-companion.mjs", {"task-worker"});
    const std::string result = R"({"rendered": "done", "summary": "done"})";
    for (const auto& [id, status] : {std::pair{"done", "completed"}, {"gone", "running"}}) {
        plugin.upsert(bare_entry(id, status, {}));
        put(plugin.job_file(id), result);
    }
    auto gone = plugin.entry("gone");
    gone["pid"] = worker.pid();
    plugin.upsert(gone);
    CHECK(state_of(look(), "done") == "completed");
    CHECK(state_of(look(), "gone") == "running");
    worker.kill(SIGKILL);
    CHECK(contains(reap().out, "1 job settled"));
    CHECK(at(plugin.entry("gone"), "/status") == "failed");
    CHECK(at(plugin.entry("done"), "/status") == "completed");
    for (const auto& id : {"done", "gone"}) CHECK(slurp(plugin.job_file(id)) == result);
}

TEST_CASE_METHOD(Kin,
                 "companion kin: a shim's worker does not wait for a job file that never comes") {
    plugin.upsert(bare_entry("task-1", "pending", {}));
    const auto ran =
        run_shim({"--companion", plugin.dir, "--id", "task-1", "--", "sh", "-c", "exit 3"});
    INFO(ran.err);
    CHECK(ran.ended() == "exit 3");
    CHECK(plugin.statuses("task-1") == "- failed");
    CHECK(at(plugin.entry("task-1"), "/errorMessage") == "Worker exited with status 3.");
    CHECK_FALSE(contains(slurp(plugin.own_record("task-1")), "started anyway"));
}

TEST_CASE_METHOD(Kin,
                 "companion kin: a worker is not started if only the index says that it is over") {
    plugin.upsert(bare_entry("task-1", "canceled", {}));
    const auto ran = run_shim({"--companion", plugin.dir, "--id", "task-1", "--", "touch", "ran"});
    CHECK(ran.ended() == "exit 125");
    CHECK_FALSE(fs::exists(dir / "ran"));
    CHECK(plugin.statuses("task-1") == "- canceled");
}

TEST_CASE_METHOD(Kin, "companion kin: a foreground job is found by its worker's pid in the index") {
    for (const std::string end : {"exit 4", "kill -KILL $$"}) {
        CAPTURE(end);
        const std::string id = "task-" + std::to_string(end.size());
        fs::remove(dir / "go");
        auto shim =
            start_shim({"--companion", plugin.dir, "--", "sh", "-c", "echo $$; " + until_go + end});
        REQUIRE(wait_until([&] { return !lines_of(shim.out()).empty(); }));
        plugin.upsert(bare_entry(id, "running", std::stoi(shim.out())));
        put(dir / "go", "");
        (void)shim.wait();
        CHECK(plugin.statuses(id) == "- failed");
        CHECK(contains(at(plugin.entry(id), "/errorMessage").get<std::string>(), "Worker "));
    }
}

// ---------------------------------------------------------------------------------------------
// The plugins themselves

namespace {

struct RealKin : Sandbox {
    std::string missing() const {
        if (checkouts().empty())
            return "COMPANION_KIN names no checkouts (DIR:DIR) of plugins such as "
                   "gemini-plugin-cc, opencode-plugin-cc, kimi-plugin-cc";
        return in_path("node") ? "" : "no node in PATH";
    }

    static std::vector<fs::path> checkouts() {
        std::vector<fs::path> found;
        const char* const names = std::getenv("COMPANION_KIN");
        std::istringstream in(names == nullptr ? "" : names);
        for (std::string name; std::getline(in, name, ':');)
            if (!name.empty()) found.emplace_back(name);
        return found;
    }

    /// Where the checkout has its record writers.
    static fs::path lib_of(const fs::path& checkout) {
        for (const auto& plugin : fs::directory_iterator(checkout / "plugins"))
            if (const auto lib = plugin.path() / "scripts/lib"; fs::exists(lib / "state.mjs"))
                return lib;
        return {};
    }

    Words command(const fs::path& lib, const Words& how) const {
        return joined({{"node", fixture("kin-companion.mjs"), lib, workspace()}, how});
    }
    fs::path workspace() const { return dir / "work"; }
    Options options(const fs::path& lib) const {
        Options all;
        const auto own = dir / std::to_string(std::hash<std::string>{}(lib.string()));
        for (const auto& path : {workspace(), own / "tmp", own / "home"})
            fs::create_directories(path);
        all.env = {
            {"CLAUDE_PLUGIN_DATA", own / "data"}, {"TMPDIR", own / "tmp"}, {"HOME", own / "home"}};
        all.cwd = workspace();
        all.limit = 30s;
        return all;
    }
};

}  // namespace

TEST_CASE_METHOD(RealKin, "companion kin: jobs that the plugins themselves record") {
    if (!missing().empty()) SKIP_TEST(missing());
    for (const auto& checkout : checkouts()) {
        CAPTURE(checkout);
        const auto lib = lib_of(checkout);
        REQUIRE_FALSE(lib.empty());
        const auto how = options(lib);
        auto worker = spawn(command(lib, {"run"}), how);
        REQUIRE(
            wait_until([&] { return lines_of(worker.out()).size() >= 2 || !worker.running(); }));
        INFO(worker.err());
        REQUIRE(lines_of(worker.out()).size() >= 2);
        const fs::path state = lines_of(worker.out())[0];
        const std::string id = lines_of(worker.out())[1];
        const Companion plugin(state, Companion::as_it_is);
        const Words where{"--companion", state};
        const auto list = [&] { return ctl_json(joined({{"list", "--no-reap"}, where})); };
        CHECK(state_of(list(), id) == "running");

        // However old the record says that the job is.
        const bool has_file = fs::exists(plugin.job_file(id));
        if (has_file) plugin.write_job(aged(plugin.job(id)));
        plugin.write_entry(aged(plugin.entry(id)));
        CHECK(state_of(list(), id) == "running");
        CHECK(contains(ctl(joined({{"reap"}, where})).out, "0 jobs settled"));
        CHECK(worker.running());

        auto waiter = spawn(joined({{jobctl, "wait"}, where, {id}}));
        wait_until_parked(waiter);
        worker.kill(SIGKILL);
        (void)worker.wait();
        const auto waited = waiter.wait();
        INFO(waited.out << waited.err);
        CHECK(waited.ended() == "exit 1");
        CHECK(plugin.statuses(id) == (has_file ? "failed failed" : "- failed"));
        const auto read = run(command(lib, {"read", id}), how);
        INFO(read.err);
        CHECK(read.out == "failed\n");

        // An end that the plugin recorded itself stands, in every byte.
        const auto finished = run(command(lib, {"finish"}), how);
        INFO(finished.err);
        REQUIRE(finished.ended() == "exit 0");
        const std::string other = lines_of(finished.out).at(1);
        CHECK(state_of(list(), other) == "completed");
        const auto index = slurp(plugin.index);
        const auto file = slurp(plugin.job_file(other));
        CHECK(contains(ctl(joined({{"reap"}, where})).out, "0 jobs settled"));
        CHECK(slurp(plugin.index) == index);
        CHECK(slurp(plugin.job_file(other)) == file);
    }
}
