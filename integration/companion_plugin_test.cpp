// The real openai/codex-plugin-cc, unmodified, with its own fake codex: CODEX_PLUGIN_CC names a
// checkout. The preload puts jobshim in front of its workers.

#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <set>

#include "integration/companion.hpp"

using namespace harness;

namespace {

struct PluginSandbox : Sandbox {
    const std::string checkout = [] {
        const char* path = std::getenv("CODEX_PLUGIN_CC");
        return std::string(path == nullptr ? "" : path);
    }();
    const fs::path workspace = dir / "work";
    std::map<std::string, std::string> env{
        {"PATH", (dir / "bin").string() + ":" + std::getenv("PATH")},
        {"TMPDIR", (dir / "tmp").string()},
        {"CLAUDE_PLUGIN_DATA", (dir / "data").string()},
        {"CODEX_COMPANION_SESSION_ID", "session-1"},
        {"JOBSHIM", jobshim},
        {"NODE_OPTIONS", "--import=" + fixture("../codex-companion/preload.mjs").string()}};

    ~PluginSandbox() {
        // The broker outlives every command, and what it started too: all are our descendants.
        (void)wait_until([&] {
            std::vector<pid_t> open = children_of(getpid());
            for (std::size_t i = 0; i < open.size(); ++i) {
                for (const pid_t child : children_of(open[i])) open.push_back(child);
                ::kill(open[i], SIGKILL);
            }
            return open.empty();
        });
    }

    std::string missing() const {
        if (checkout.empty()) return "CODEX_PLUGIN_CC names no checkout of the plugin";
        for (const auto& program : {"node", "git"})
            if (!in_path(program)) return std::string("no ") + program + " in PATH";
        return "";
    }

    void set_up(const std::string& behaviour) {
        for (const auto& path : {workspace, dir / "bin", dir / "tmp"}) fs::create_directories(path);
        const auto ready = run({"git", "-C", workspace, "init", "-q", "-b", "main"});
        INFO(ready.err);
        REQUIRE(ready.ended() == "exit 0");
        const std::string script =
            "import(process.argv[1]).then((m) => m.installFakeCodex(process.argv[2], "
            "process.argv[3]))";
        const auto installed =
            run({"node", "-e", script, checkout + "/tests/fake-codex-fixture.mjs", dir / "bin",
                 behaviour});
        INFO(installed.err);
        REQUIRE(installed.ended() == "exit 0");
    }

    Result plugin(const Words& words) {
        Words argv{"node", checkout + "/plugins/codex/scripts/codex-companion.mjs"};
        argv.insert(argv.end(), words.begin(), words.end());
        return run(argv, {.env = env, .cwd = workspace, .limit = 30s});
    }

    fs::path state() const {
        for (const auto& entry : fs::directory_iterator(dir / "data/state")) return entry.path();
        return {};
    }
    /// Starts a job in the background; its id.
    std::string begin(const std::string& prompt = "do it") {
        const auto started = plugin({"task", "--background", "--json", prompt});
        INFO(started.err);
        REQUIRE(started.ended() == "exit 0");
        return at(Json::parse(started.out), "/jobId").get<std::string>();
    }
    Json job_of(const std::string& id) const {
        const auto text = Json::parse(slurp(state() / "jobs" / (id + ".json")), nullptr, false);
        return text.is_object() ? text : Json::object();
    }
    Json entry_of(const std::string& id) const {
        const auto index = Json::parse(slurp(state() / "state.json"), nullptr, false);
        if (index.is_object())
            for (const Json& entry : index.at("jobs"))
                if (at(entry, "/id") == id) return entry;
        return Json::object();
    }
    std::string statuses(const std::string& id) const {
        return job_of(id).value("status", "-") + " " + entry_of(id).value("status", "-");
    }
    bool becomes(const std::string& id, const std::string& expected, Milliseconds limit = 10s) {
        return wait_until([&] { return statuses(id) == expected; }, limit);
    }
    /// The worker's pid, once its turn has begun.
    pid_t turn_of(const std::string& id) {
        REQUIRE(wait_until([&] {
            return at(job_of(id), "/turnId").is_string() &&
                   at(entry_of(id), "/turnId").is_string() &&
                   at(job_of(id), "/turnId") != "<missing>" &&
                   at(entry_of(id), "/turnId") != "<missing>";
        }));
        return job_of(id)["pid"].get<pid_t>();
    }
    pid_t broker() const { return read_json(state() / "broker.json")["pid"].get<pid_t>(); }
    Json exit_in_own(const std::string& id) const {
        return at(read_json(state() / "jobshim" / (id + ".json")), "/jobshim/exit");
    }
    bool shim_is_gone(const std::string& id) const {
        return wait_until(
            [&] {
                return !alive(
                    at(read_json(state() / "jobshim" / (id + ".json")), "/jobshim/shim/pid")
                        .get<pid_t>());
            },
            15s);
    }
};

}  // namespace

#define NEEDS_THE_PLUGIN \
    if (!missing().empty()) SKIP_TEST(missing())

TEST_CASE_METHOD(PluginSandbox, "codex plugin: a worker that is killed and what follows",
                 "[serial]") {
    NEEDS_THE_PLUGIN;
    set_up("interruptible-slow-task");
    for (const int signal : {SIGKILL, SIGSEGV}) {
        CAPTURE(signal);
        const auto id = begin();
        const pid_t worker = turn_of(id);
        kill(worker, signal);
        CHECK(becomes(id, "failed failed", 3s));
        for (const Json& side : {job_of(id), entry_of(id)}) {
            CHECK(at(side, "/pid") == nullptr);
            const auto message = at(side, "/errorMessage").get<std::string>();
            CHECK(contains(message, signal_name(signal)));
            CHECK(contains(message, "Resume with thread thr_"));
        }
        CHECK(plugin({"status", "--wait", id}).ended() == "exit 0");
        const auto result = plugin({"result", id});
        CHECK(result.ended() == "exit 0");
        CHECK(contains(result.out, signal_name(signal)));
        CHECK(shim_is_gone(id));
        CHECK(statuses(id) == "failed failed");
    }
    // The fake codex still counts down for the turns of the dead: a new one knows the threads.
    kill(broker(), SIGKILL);
    const auto resumed = plugin({"task", "--resume-last", "go on"});
    INFO(resumed.err);
    CHECK(resumed.ended() == "exit 0");
}

TEST_CASE_METHOD(PluginSandbox, "codex plugin: the broker is killed in the middle of a turn",
                 "[serial]") {
    NEEDS_THE_PLUGIN;
    set_up("interruptible-slow-task");
    const auto id = begin();
    turn_of(id);
    kill(broker(), SIGKILL);
    CHECK(becomes(id, "failed failed"));
    CHECK(at(exit_in_own(id), "/reason") == "no-result");
    CHECK(shim_is_gone(id));
}

TEST_CASE_METHOD(PluginSandbox, "codex plugin: a worker's own app server is killed", "[serial]") {
    NEEDS_THE_PLUGIN;
    set_up("interruptible-slow-task");
    // The broker serves one job at a time; the second has an app server of its own.
    const auto first = begin();
    turn_of(first);
    const auto id = begin();
    const pid_t worker = turn_of(id);
    const auto servers = children_of(worker);
    REQUIRE(servers.size() == 1);
    kill(servers.front(), SIGKILL);
    CHECK(becomes(id, "failed failed"));
    // Measured: the plugin notices, says nothing, and exits with 0. What it may say stays.
    const auto message = at(job_of(id), "/errorMessage");
    CHECK(shim_is_gone(id));
    CHECK(at(job_of(id), "/errorMessage") == message);
    const auto reason = at(exit_in_own(id), "/reason");
    CHECK((reason == "no-result" || reason == "exit-code"));
}

TEST_CASE_METHOD(PluginSandbox, "codex plugin: when all goes well its files are as without us",
                 "[serial]") {
    NEEDS_THE_PLUGIN;
    set_up("slow-task");
    const auto with = begin();
    CHECK(becomes(with, "completed completed"));
    const auto job_with = job_of(with);
    CHECK(shim_is_gone(with));
    CHECK(job_of(with) == job_with);
    env["JOBSHIM_OFF"] = "1";
    const auto without = begin();
    CHECK(becomes(without, "completed completed"));
    CHECK_FALSE(fs::exists(state() / "jobshim" / (without + ".json")));
    // But for times and ids.
    const std::set<std::string> own{"id",        "createdAt", "startedAt", "completedAt",
                                    "updatedAt", "threadId",  "turnId",    "logFile",
                                    "result",    "request"};
    for (auto [a, b] :
         {std::pair{job_of(with), job_of(without)}, std::pair{entry_of(with), entry_of(without)}}) {
        Words keys_a, keys_b;
        for (const auto& [key, value] : a.items()) keys_a.push_back(key);
        for (const auto& [key, value] : b.items()) keys_b.push_back(key);
        CHECK(keys_a == keys_b);
        for (const auto& key : own) a.erase(key), b.erase(key);
        CHECK(a == b);
    }
}

TEST_CASE_METHOD(PluginSandbox, "codex plugin: cancelled while it runs with the broker gone",
                 "[serial]") {
    NEEDS_THE_PLUGIN;
    set_up("interruptible-slow-task");
    const auto id = begin();
    const pid_t worker = turn_of(id);
    // Stopped, so that it does not see its broker's end before the plugin's signal comes.
    kill(worker, SIGSTOP);
    kill(broker(), SIGKILL);
    const auto cancelled = plugin({"cancel", id});
    INFO(cancelled.err);
    CHECK(cancelled.ended() == "exit 0");
    kill(worker, SIGCONT);
    CHECK(wait_until([&] { return !alive(worker); }));
    CHECK(becomes(id, "cancelled cancelled"));
    CHECK(shim_is_gone(id));
    CHECK(statuses(id) == "cancelled cancelled");
}

TEST_CASE_METHOD(PluginSandbox, "codex plugin: cancelled at once before its worker has begun",
                 "[serial]") {
    NEEDS_THE_PLUGIN;
    set_up("interruptible-slow-task");
    const auto id = begin();
    CHECK(plugin({"cancel", id}).ended() == "exit 0");
    CHECK(shim_is_gone(id));
    CHECK(statuses(id) == "cancelled cancelled");
    CHECK(contains(ctl({"status", "--companion", workspace, id}, {.env = env}).out, "cancelled"));
}

TEST_CASE_METHOD(PluginSandbox, "codex plugin: the session ends while a job runs", "[serial]") {
    NEEDS_THE_PLUGIN;
    set_up("interruptible-slow-task");
    const auto id = begin();
    turn_of(id);
    const auto ended =
        run({"node", checkout + "/plugins/codex/scripts/session-lifecycle-hook.mjs", "SessionEnd"},
            {.env = env,
             .cwd = workspace,
             .input = Json{{"cwd", workspace.string()}, {"session_id", "session-1"}}.dump()});
    INFO(ended.err);
    CHECK(ended.ended() == "exit 0");
    CHECK(shim_is_gone(id));
    CHECK(statuses(id) == "- -");
    CHECK(at(exit_in_own(id), "/endedAt").is_string());
}

TEST_CASE_METHOD(PluginSandbox, "codex plugin: its parent is slow or dies between spawn and write",
                 "[serial]") {
    NEEDS_THE_PLUGIN;
    set_up("slow-task");
    // The first write of a queued record comes a second late, or never.
    put(dir / "slow.mjs",
        "import fs from 'node:fs'; import { syncBuiltinESMExports } from 'node:module';\n"
        "const write = fs.writeFileSync;\n"
        "fs.writeFileSync = (file, text, ...rest) => {\n"
        "  if (String(text).includes('\"status\": \"queued\"') && String(file).includes('/jobs/')) "
        "{\n"
        "    if (process.env.DIES) process.exit(9);\n"
        "    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);\n"
        "  }\n"
        "  return write(file, text, ...rest);\n"
        "};\nsyncBuiltinESMExports();\n");
    env["NODE_OPTIONS"] += " --import=" + (dir / "slow.mjs").string();
    const auto id = begin();
    CHECK(becomes(id, "completed completed"));
    CHECK(shim_is_gone(id));

    env["DIES"] = "1";
    CHECK(plugin({"task", "--background", "do it"}).ended() == "exit 9");
    std::string orphan;
    REQUIRE(wait_until([&] {
        for (const auto& name : names_in(state() / "jobshim", ".json"))
            if (name[0] != '.' && name != id + ".json") orphan = name.substr(0, name.size() - 5);
        return !orphan.empty();
    }));
    // Ten seconds at the gate; then the worker says itself that it has no job.
    CHECK(wait_until([&] { return exit_in_own(orphan).is_object(); }, 30s));
    CHECK(shim_is_gone(orphan));
    CHECK(statuses(orphan) == "- -");
    CHECK(contains(exit_in_own(orphan).dump(), "No stored job found"));
}
