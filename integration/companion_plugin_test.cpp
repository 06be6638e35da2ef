// The real openai/codex-plugin-cc, unmodified, with its own fake codex: CODEX_PLUGIN_CC names a
// checkout. The preload puts jobshim in front of its workers, and fixtures/plugin_faults.mjs
// injects what happens to them.

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <set>
#include <thread>

#include "integration/companion.hpp"
#include "integration/memory_group.hpp"

using namespace harness;

namespace {

using Env = std::map<std::string, std::string>;

struct PluginSandbox : Sandbox {
    const std::string checkout = [] {
        const char* path = std::getenv("CODEX_PLUGIN_CC");
        return std::string(path == nullptr ? "" : path);
    }();
    fs::path scripts = fs::path(checkout) / "plugins/codex/scripts";
    const fs::path workspace = dir / "work";
    Env env{
        {"PATH", (dir / "bin").string() + ":" + std::getenv("PATH")},
        {"TMPDIR", (dir / "tmp").string()},
        {"CLAUDE_PLUGIN_DATA", (dir / "data").string()},
        {"CODEX_COMPANION_SESSION_ID", "session-1"},
        {"JOBSHIM", jobshim},
        {"NODE_OPTIONS", "--import=" + fixture("../claude-code/plugin/lib/preload.mjs").string()}};

    ~PluginSandbox() {
        // The broker outlives every command, and so does what it started: all are our descendants.
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

    /// For the environment: a broker that does not exist, so that a worker starts an app server of
    /// its own.
    std::pair<const std::string, std::string> no_broker() const {
        return {"CODEX_COMPANION_APP_SERVER_ENDPOINT", "unix:" + (dir / "nobody.sock").string()};
    }
    /// The environment with faults added (fixtures/plugin_faults.mjs).
    Env with_faults(const Env& faults) const {
        Env all = env;
        all["NODE_OPTIONS"] += " --import=" + fixture("plugin_faults.mjs").string();
        for (const auto& [name, value] : faults) all[name] = value;
        return all;
    }
    Options options(const Env& faults = {}) const {
        Options all;
        all.env = faults.empty() ? env : with_faults(faults);
        all.cwd = workspace;
        all.limit = 30s;
        return all;
    }
    Words command(const Words& words) const {
        Words argv{"node", scripts / "codex-companion.mjs"};
        argv.insert(argv.end(), words.begin(), words.end());
        return argv;
    }
    Result plugin(const Words& words, const Env& faults = {}) {
        return run(command(words), options(faults));
    }
    Result end_session(const std::string& session, const Env& faults = {}) {
        auto how = options(faults);
        how.input = Json{{"cwd", workspace.string()}, {"session_id", session}}.dump();
        return run({"node", scripts / "session-lifecycle-hook.mjs", "SessionEnd"}, how);
    }

    /// Runs a script with the plugin's own state module imported as `state`.
    Result with_state(const std::string& script) {
        return run({"node", "--input-type=module", "-e",
                    "import fs from 'node:fs';\nconst state = await import(process.argv[1]);\n"
                    "const cwd = process.cwd();\n" +
                        script,
                    scripts / "lib/state.mjs"},
                   options());
    }

    fs::path state() const {
        for (const auto& entry : fs::directory_iterator(dir / "data/state")) return entry.path();
        return {};
    }
    /// Starts a job in the background; returns its id.
    std::string begin(const Words& words = {"do it"}, const Env& faults = {}) {
        return begin_with(options(faults), words);
    }
    std::string begin_with(const Options& how, Words words = {"do it"}) {
        words.insert(words.begin(), {"task", "--background", "--json"});
        const auto started = run(command(words), how);
        INFO(started.err);
        REQUIRE(started.ended() == "exit 0");
        return at(parse_plugin_json(started.out), "/jobId").get<std::string>();
    }
    fs::path file_of(const std::string& id) const { return state() / "jobs" / (id + ".json"); }
    fs::path log_of(const std::string& id) const { return state() / "jobs" / (id + ".log"); }
    fs::path index() const { return state() / "state.json"; }
    /// {} if it is torn or gone. The plugin cuts emojis in two, which this reader rejects as JSON.
    static Json parse_plugin_json(std::string text) {
        static const std::string half = "\\ud83d...";
        for (auto at = text.find(half); at != std::string::npos; at = text.find(half, at))
            text.replace(at, half.size(), "?...");
        auto json = Json::parse(text, nullptr, false);
        return json.is_object() ? json : Json::object();
    }
    Json job_of(const std::string& id) const { return parse_plugin_json(slurp(file_of(id))); }
    Json entry_of(const std::string& id) const {
        for (const Json& entry : parse_plugin_json(slurp(index())).value("jobs", Json::array()))
            if (at(entry, "/id") == id) return entry;
        return Json::object();
    }
    std::string statuses(const std::string& id) const {
        return job_of(id).value("status", "-") + " " + entry_of(id).value("status", "-");
    }
    bool becomes(const std::string& id, const std::string& expected, Milliseconds limit = 10s) {
        return wait_until([&] { return statuses(id) == expected; }, limit);
    }
    /// Watches for all of `span`; returns the first statuses that were not as expected, or "".
    std::string first_change(const std::string& id, const std::string& expected,
                             Milliseconds span) {
        const auto until = Clock::now() + span;
        while (Clock::now() < until) {
            if (const auto now = statuses(id); now != expected) return now;
            std::this_thread::sleep_for(5ms);
        }
        return "";
    }
    /// Checks a job whose worker is dead: failed everywhere, and its message contains `words`.
    void check_is_failed(const std::string& id, const Words& words) {
        CHECK(becomes(id, "failed failed", 3s));
        for (const Json& side : {job_of(id), entry_of(id)}) {
            CHECK(at(side, "/pid") == nullptr);
            const auto message = at(side, "/errorMessage").get<std::string>();
            for (const auto& word : words) CHECK(contains(message, word));
        }
        CHECK(plugin({"status", "--wait", id}).ended() == "exit 0");
        const auto result = plugin({"result", id});
        CHECK(result.ended() == "exit 0");
        CHECK(contains(result.out, words.front()));
        CHECK(shim_is_gone(id));
        CHECK(statuses(id) == "failed failed");
    }
    /// Ends a job in the plugin's own way.
    void cancel(const std::string& id) {
        const auto cancelled = plugin({"cancel", id});
        INFO(cancelled.err);
        CHECK(cancelled.ended() == "exit 0");
    }
    void check_stays_cancelled(const std::string& id) {
        CHECK(first_change(id, "cancelled cancelled", 8s) == "");
        CHECK(shim_is_gone(id));
        CHECK(statuses(id) == "cancelled cancelled");
        CHECK(
            contains(ctl({"status", "--companion", workspace, id}, {.env = env}).out, "cancelled"));
    }
    /// Resumes the thread of a dead job; returns the new job.
    std::string resume(const Env& faults = {}) {
        // The fake codex is still counting down the dead jobs' turns; a new one knows the threads.
        kill(broker(), SIGKILL);
        const auto id = begin({"--resume-last", "go on"}, faults);
        worker_in_turn(id);
        return id;
    }
    /// The worker's pid, once its turn has begun.
    pid_t worker_in_turn(const std::string& id) {
        REQUIRE(wait_until([&] {
            return at(job_of(id), "/turnId").is_string() &&
                   at(entry_of(id), "/turnId").is_string() &&
                   at(job_of(id), "/turnId") != "<missing>" &&
                   at(entry_of(id), "/turnId") != "<missing>";
        }));
        return job_of(id)["pid"].get<pid_t>();
    }
    pid_t broker() const { return read_json(state() / "broker.json")["pid"].get<pid_t>(); }
    fs::path own_record(const std::string& id) const {
        return state() / "jobshim" / (id + ".json");
    }
    Json exit_in_own(const std::string& id) const {
        return at(read_json(own_record(id)), "/jobshim/exit");
    }
    bool shim_is_gone(const std::string& id) const {
        return wait_until(
            [&] { return !alive(at(read_json(own_record(id)), "/jobshim/shim/pid").get<pid_t>()); },
            15s);
    }
};

}  // namespace

#define NEEDS_THE_PLUGIN \
    if (!missing().empty()) SKIP_TEST(missing())

TEST_CASE_METHOD(PluginSandbox, "codex plugin: a worker dies and its thread is resumed",
                 "[serial]") {
    NEEDS_THE_PLUGIN;
    set_up("interruptible-slow-task");
    const Words thread{"Resume with thread thr_"};
    auto id = begin();
    for (const auto& [signal, words] : {std::pair<int, std::string>{SIGKILL, "SIGKILL"},
                                        {SIGSEGV, "SIGSEGV"},
                                        {SIGUSR2, "exited with status 7"}}) {
        CAPTURE(words);
        kill(worker_in_turn(id), signal);
        check_is_failed(id, {words, thread.front()});
        id = resume({{"TEST_ON_USR2", "7"}});
    }
    // A worker that cannot be started has no thread, so there is none to resume either.
    kill(worker_in_turn(id), SIGKILL);
    check_is_failed(id, {"SIGKILL"});
    put(dir / "other-node", "#!/no/such/interpreter\n");
    fs::permissions(dir / "other-node", fs::perms::owner_all);
    const auto none = begin({"do it"}, {{"TEST_NODE", (dir / "other-node").string()}});
    check_is_failed(none, {"/no/such/interpreter"});
    CHECK(at(exit_in_own(none), "/reason") == "spawn-failed");
    CHECK(at(job_of(resume()), "/threadId") == at(job_of(id), "/threadId"));
}

TEST_CASE_METHOD(PluginSandbox, "codex plugin: a worker killed by the OOM killer", "[serial]") {
    NEEDS_THE_PLUGIN;
    const MemoryCgroup group(512);
    if (!group.works()) SKIP_TEST("needs root and cgroup v1's memory controller");
    set_up("interruptible-slow-task");
    auto how = options({{"TEST_ON_USR2", "eat"}});
    how.before_exec = [&] { group.join(); };
    const auto id = begin_with(how);
    kill(worker_in_turn(id), SIGUSR2);
    REQUIRE(wait_until([&] { return statuses(id) != "running running"; }, 30s));
    check_is_failed(id, {"by the out-of-memory killer", "Resume with thread thr_"});
    CHECK(at(exit_in_own(id), "/reason") == "oom-kill");
    resume();
}

TEST_CASE_METHOD(PluginSandbox, "codex plugin: the broker is killed in the middle of a turn",
                 "[serial]") {
    NEEDS_THE_PLUGIN;
    set_up("interruptible-slow-task");
    const auto id = begin();
    worker_in_turn(id);
    kill(broker(), SIGKILL);
    CHECK(becomes(id, "failed failed"));
    CHECK(at(exit_in_own(id), "/reason") == "no-result");
    CHECK(shim_is_gone(id));
}

// What the plugin says when an app server is killed, in each of the ways in which it has one. It
// says something only if a request is pending; in the middle of a turn none is.
TEST_CASE_METHOD(PluginSandbox, "codex plugin: the app server is killed", "[serial]") {
    NEEDS_THE_PLUGIN;
    set_up("interruptible-slow-task");
    const auto stays_failed = [&](const std::string& id, const std::string& sentence) {
        CHECK(becomes(id, "failed failed"));
        const auto said = job_of(id);
        CHECK(contains(at(said, "/errorMessage").dump(), sentence));
        CHECK(first_change(id, "failed failed", 4s) == "");
        if (fs::exists(own_record(id))) CHECK(shim_is_gone(id));
        CHECK(job_of(id) == said);
        CHECK(contains(plugin({"result", id}).out, sentence));
    };
    const Env direct{no_broker()};
    SECTION("the worker's own with a request in flight") {
        Env faults = direct;
        faults["TEST_CODEX_DIES_OF"] = "turn/start";
        for (const auto& off : {"1", "0"}) {
            CAPTURE(off);
            faults["JOBSHIM_OFF"] = off;
            const auto id = begin({"do it"}, faults);
            stays_failed(id, "codex app-server exited unexpectedly (signal SIGKILL).");
        }
    }
    SECTION("the broker's with a request in flight") {
        for (const auto& off : {"1", "0"}) {
            CAPTURE(off);
            const auto id =
                begin({"do it"}, {{"JOBSHIM_OFF", off}, {"TEST_CODEX_DIES_OF", "turn/start"}});
            stays_failed(id, "codex app-server exited unexpectedly (signal SIGKILL).");
            kill(broker(), SIGKILL);
        }
    }
    SECTION("the worker's own in the middle of a turn") {
        const auto kill_server_of = [&](const std::string& id) {
            const auto servers = children_of(worker_in_turn(id));
            REQUIRE(servers.size() == 1);
            kill(servers.front(), SIGKILL);
        };
        // It notices, says nothing, and exits with 0.
        auto faults = direct;
        auto id = begin({"do it"}, faults);
        kill_server_of(id);
        check_is_failed(id, {"without recording a result", "Resume with thread thr_"});
        CHECK(at(exit_in_own(id), "/reason") == "no-result");
        faults["JOBSHIM_OFF"] = "1";
        id = begin({"do it"}, faults);
        const pid_t worker = worker_in_turn(id);
        kill_server_of(id);
        CHECK(wait_until([&] { return !alive(worker); }));
        CHECK(statuses(id) == "running running");
    }
    SECTION("the broker's in the middle of a turn") {
        // The broker does not notice, and the worker waits forever. It is alive, and is reported
        // so.
        const auto id = begin();
        const pid_t worker = worker_in_turn(id);
        const auto servers = children_of(broker());
        REQUIRE(servers.size() == 1);
        kill(servers.front(), SIGKILL);
        // Longer than the turn would have taken.
        CHECK(first_change(id, "running running", 8s) == "");
        CHECK(alive(worker));
        CHECK(alive(broker()));
        const auto seen = ctl({"status", "--companion", workspace, id}, {.env = env});
        CHECK(seen.ended() == "exit 3");
        // Ending it is up to the user.
        std::string end = "cancelled cancelled";
        SECTION("and jobctl cancels the job") {
            const auto cancelled = ctl({"cancel", own_record(id)});
            INFO(cancelled.err);
            CHECK(cancelled.ended() == "exit 0");
            CHECK(wait_until([&] { return !alive(worker); }));
        }
        SECTION("and the broker is ended") {
            kill(broker(), SIGTERM);
            end = "failed failed";
        }
        SECTION("and the plugin cancels the job") {
            // Measured: it waits for an answer from the broker, forever.
            auto cancel = spawn(command({"cancel", id}), options());
            wait_until([&] { return !cancel.running(); }, 2s);
            kill(broker(), SIGTERM);
            CHECK(cancel.wait().ended() == "exit 0");
        }
        CHECK(becomes(id, end));
        CHECK(shim_is_gone(id));
        CHECK(statuses(id) == end);
        // With that broker gone, the next task gets one that works.
        resume();
    }
}

TEST_CASE_METHOD(PluginSandbox,
                 "codex plugin: when all goes well its files are the same as without jobshim",
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
    CHECK_FALSE(fs::exists(own_record(without)));
    // Except for times and ids.
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

TEST_CASE_METHOD(PluginSandbox, "codex plugin: a running job is cancelled with the broker gone",
                 "[serial]") {
    NEEDS_THE_PLUGIN;
    set_up("interruptible-slow-task");
    const auto id = begin();
    const pid_t worker = worker_in_turn(id);
    // Stopped, so that it does not notice the broker's end before the plugin's signal comes.
    kill(worker, SIGSTOP);
    kill(broker(), SIGKILL);
    cancel(id);
    kill(worker, SIGCONT);
    check_stays_cancelled(id);
    CHECK_FALSE(alive(worker));
}

TEST_CASE_METHOD(PluginSandbox, "codex plugin: a running job is cancelled", "[serial]") {
    NEEDS_THE_PLUGIN;
    set_up("interruptible-slow-task");
    const auto id = begin();
    const pid_t worker = worker_in_turn(id);
    // The turn is interrupted first, so the worker may have a last word before it is killed.
    cancel(id);
    check_stays_cancelled(id);
    CHECK_FALSE(alive(worker));
    resume();
}

TEST_CASE_METHOD(PluginSandbox, "codex plugin: a queued job is cancelled", "[serial]") {
    NEEDS_THE_PLUGIN;
    set_up("interruptible-slow-task");
    // Stopped at the start gate, so that the plugin really sees a queued job.
    const auto id = begin({"do it"}, {{"TEST_STOPPED_AT_GATE", "1"}});
    CHECK(first_change(id, "queued queued", 1s) == "");
    CHECK(contains(plugin({"status", id}).out, "queued"));
    const pid_t shim = job_of(id)["pid"].get<pid_t>();
    REQUIRE(process_state(shim) == 'T');
    cancel(id);
    CHECK(statuses(id) == "cancelled cancelled");
    kill(shim, SIGCONT);
    check_stays_cancelled(id);
    // No worker has reported that it began.
    CHECK(at(job_of(id), "/startedAt") == "<missing>");
    CHECK_FALSE(contains(slurp(log_of(id)), "Starting Codex task"));
}

TEST_CASE_METHOD(PluginSandbox,
                 "codex plugin: a cancel recorded after the worker has ended by itself wins",
                 "[serial]") {
    NEEDS_THE_PLUGIN;
    set_up("interruptible-slow-task");
    const auto id = begin();
    const pid_t worker = worker_in_turn(id);
    // No broker to interrupt the turn, and the plugin is held up just before its kill.
    kill(worker, SIGSTOP);
    kill(broker(), SIGKILL);
    auto cancel =
        spawn(command({"cancel", id}), options({{"TEST_HELD_AT_KILL", (dir / "go").string()}}));
    REQUIRE(wait_until([&] { return fs::exists(dir / "go.held"); }));
    kill(worker, SIGSEGV);
    kill(worker, SIGCONT);
    REQUIRE(becomes(id, "failed failed"));
    put(dir / "go", "");
    CHECK(cancel.wait().ended() == "exit 0");
    check_stays_cancelled(id);
    CHECK(at(exit_in_own(id), "/signalName") == "SIGSEGV");
}

TEST_CASE_METHOD(PluginSandbox, "codex plugin: a job is cancelled before its worker has begun",
                 "[serial]") {
    NEEDS_THE_PLUGIN;
    set_up("interruptible-slow-task");
    const auto id = begin();
    cancel(id);
    CHECK(shim_is_gone(id));
    CHECK(statuses(id) == "cancelled cancelled");
    CHECK(contains(ctl({"status", "--companion", workspace, id}, {.env = env}).out, "cancelled"));
}

TEST_CASE_METHOD(PluginSandbox, "codex plugin: the session ends while a job runs", "[serial]") {
    NEEDS_THE_PLUGIN;
    set_up("interruptible-slow-task");
    const auto id = begin();
    worker_in_turn(id);
    const auto ended = end_session("session-1");
    INFO(ended.err);
    CHECK(ended.ended() == "exit 0");
    CHECK(shim_is_gone(id));
    CHECK(statuses(id) == "- -");
    CHECK(at(exit_in_own(id), "/endedAt").is_string());
}

TEST_CASE_METHOD(PluginSandbox, "codex plugin: the parent is slow or dies between spawn and write",
                 "[serial]") {
    NEEDS_THE_PLUGIN;
    set_up("slow-task");
    const auto id = begin({"do it"}, {{"TEST_QUEUED", "late"}});
    CHECK(becomes(id, "completed completed"));
    CHECK(shim_is_gone(id));

    CHECK(plugin({"task", "--background", "do it"}, {{"TEST_QUEUED", "never"}}).ended() ==
          "exit 9");
    std::string orphan;
    REQUIRE(wait_until([&] {
        for (const auto& name : names_in(state() / "jobshim", ".json"))
            if (name[0] != '.' && name != id + ".json") orphan = name.substr(0, name.size() - 5);
        return !orphan.empty();
    }));
    // Ten seconds at the gate; then the worker itself says that it has no job.
    CHECK(wait_until([&] { return exit_in_own(orphan).is_object(); }, 30s));
    CHECK(shim_is_gone(orphan));
    CHECK(statuses(orphan) == "- -");
    CHECK(contains(exit_in_own(orphan).dump(), "No stored job found"));
}

// The plugin removes the files of a session's jobs first, and then writes its index. Its hook is
// killed before its 1st, 2nd, ... step, until it gets through.
TEST_CASE_METHOD(PluginSandbox, "codex plugin: the end of a session is interrupted at every step",
                 "[sweep]") {
    NEEDS_THE_PLUGIN;
    set_up("interruptible-slow-task");
    const auto of_another_session = begin();
    kill(worker_in_turn(of_another_session), SIGKILL);
    CHECK(becomes(of_another_session, "failed failed"));
    CHECK(shim_is_gone(of_another_session));
    const auto untouched = slurp(file_of(of_another_session));
    Matrix matrix("codex plugin: a session's end cut short");
    int points = 0;
    const auto cut_short_at = [&](int step, bool has_broker) {
        const auto session = "session-" + std::to_string(++points);
        env["CODEX_COMPANION_SESSION_ID"] = session;
        Env faults{{"TEST_DIES_AT", std::to_string(step)}};
        if (!has_broker) faults.insert(no_broker());
        const auto id = begin({"do it"}, faults);
        const pid_t worker = worker_in_turn(id);
        const auto ended = end_session(session, faults);
        const bool came_through = ended.ended() == "exit 0";
        CHECK((came_through || ended.ended() == "SIGKILL"));
        const auto left = statuses(id);
        // The broker, if there is one, was told to end before all else, and the worker ends with
        // it. Otherwise the first step is the signal to the worker.
        if (!has_broker && step == 1) {
            CHECK(left == "running running");
            CHECK(alive(worker));
            kill(worker, SIGKILL);
        }
        CHECK(shim_is_gone(id));
        const auto after = statuses(id);
        const bool is_settled = after == "failed failed" || after == "- failed" || after == "- -";
        const bool was_resurrected =
            (left.starts_with('-') && !after.starts_with('-')) || (left == "- -" && after != left);
        const auto reason = at(exit_in_own(id), "/reason");
        const auto said = ctl({"status", "--companion", workspace, id}, {.env = env});
        // With a broker, the two race to end the worker.
        const bool is_reason = reason == "signal" || (has_broker && reason == "no-result");
        const bool is_true =
            is_settled && !was_resurrected && is_reason && said.ended() == "exit 1";
        CAPTURE(step, has_broker, ended.err, left, after);
        if (!is_true) FAIL_CHECK("untrue: " << reason << "; " << said.out << said.err);
        matrix.count(came_through ? "not cut short" : "killed at a step",
                     is_true ? ReportedOutcome::true_end : ReportedOutcome::lie);
        CHECK(slurp(file_of(of_another_session)) == untouched);
        std::printf("the end of a session, step %d (%s): %s, then %s, %s\n", step,
                    came_through ? "none" : ended.err.c_str(), left.c_str(), after.c_str(),
                    reason.dump().c_str());
        return came_through;
    };
    for (const bool has_broker : {true, false}) {
        int step = 1;
        while (!cut_short_at(step, has_broker)) REQUIRE(++step < 50);
        CHECK(step > 5);
    }
    std::printf("%d points swept\n", points);
    CHECK(matrix.lies() == 0);
}

TEST_CASE_METHOD(PluginSandbox, "codex plugin: a job pruned in favour of 50 newer ones stays gone",
                 "[serial]") {
    NEEDS_THE_PLUGIN;
    set_up("interruptible-slow-task");
    const auto id = begin();
    const pid_t worker = worker_in_turn(id);
    const auto pruned = with_state(
        "for (let i = 0; i < 50; i++) state.upsertJob(cwd, { id: `newer-${i}`, status: 'failed' "
        "})");
    INFO(pruned.err);
    REQUIRE(pruned.ended() == "exit 0");
    REQUIRE(statuses(id) == "- -");
    kill(worker, SIGKILL);
    CHECK(first_change(id, "- -", 5s) == "");
    CHECK(shim_is_gone(id));
    CHECK(statuses(id) == "- -");
    CHECK_FALSE(fs::exists(log_of(id)));
    CHECK(at(exit_in_own(id), "/signalName") == "SIGKILL");
    CHECK(at(read_json(index()), "/jobs").size() == 50);
    const auto result = ctl({"result", "--companion", workspace, id}, {.env = env});
    CHECK(contains(result.out, "SIGKILL"));
}

TEST_CASE_METHOD(PluginSandbox, "codex plugin: an entry lost before the kill comes back",
                 "[serial]") {
    NEEDS_THE_PLUGIN;
    set_up("interruptible-slow-task");
    const auto id = begin();
    const pid_t worker = worker_in_turn(id);
    const auto whole = entry_of(id);
    // As left by one of its writers that took a torn index for an empty one.
    const auto lost =
        with_state("fs.rmSync(state.resolveStateFile(cwd)); state.upsertJob(cwd, { id: 'other' })");
    INFO(lost.err);
    REQUIRE(lost.ended() == "exit 0");
    REQUIRE(statuses(id) == "running -");
    kill(worker, SIGKILL);
    check_is_failed(id, {"SIGKILL", "Resume with thread thr_"});
    for (const auto& key : {"title", "sessionId", "threadId", "createdAt"})
        CHECK(at(entry_of(id), "/" + std::string(key)) == at(whole, "/" + std::string(key)));
    CHECK(at(read_json(index()), "/jobs").size() == 2);
    resume();
}

TEST_CASE_METHOD(PluginSandbox, "codex plugin: a prompt cut in the middle of an emoji",
                 "[serial]") {
    NEEDS_THE_PLUGIN;
    set_up("interruptible-slow-task");
    const auto id = begin({std::string(92, 'x') + "\xf0\x9f\x98\x80" + std::string(20, 'y')});
    const pid_t worker = worker_in_turn(id);
    const std::string half = "xx\\ud83d...\"";
    for (const auto& file : {index(), file_of(id)}) REQUIRE(contains(slurp(file), half));
    kill(worker, SIGKILL);
    check_is_failed(id, {"SIGKILL", "Resume with thread thr_"});
    for (const auto& file : {index(), file_of(id)}) CHECK(contains(slurp(file), half));
    CHECK(contains(ctl({"status", "--companion", workspace, id}, {.env = env}).out, "SIGKILL"));
    resume();
}

TEST_CASE_METHOD(PluginSandbox, "codex plugin: an assistant that mentions a cancel cancels nothing",
                 "[serial]") {
    NEEDS_THE_PLUGIN;
    set_up("slow-task");
    const auto id = begin({"do it"}, {{"TEST_CODEX_SAYS",
                                       "The log says:\nCancelled by user.\n"
                                       "[soon] Cancelled by user.\nNo more."}});
    const pid_t worker = worker_in_turn(id);
    REQUIRE(wait_until([&] { return contains(slurp(log_of(id)), "\nCancelled by user.\n"); }));
    kill(worker, SIGKILL);
    check_is_failed(id, {"SIGKILL", "Resume with thread thr_"});
}

TEST_CASE_METHOD(PluginSandbox, "codex plugin: jobctl settles jobs whose end no shim saw",
                 "[serial]") {
    NEEDS_THE_PLUGIN;
    set_up("interruptible-slow-task");
    std::string id, sentence;
    SECTION("the shim is killed, and its worker with it") {
        id = begin();
        const pid_t worker = worker_in_turn(id);
        kill(at(read_json(own_record(id)), "/jobshim/shim/pid").get<pid_t>(), SIGKILL);
        CHECK(wait_until([&] { return !alive(worker); }));
        sentence = "The shim died";
    }
    SECTION("there was no shim") {
        id = begin({"do it"}, {{"JOBSHIM_OFF", "1"}});
        const pid_t worker = worker_in_turn(id);
        const auto live = ctl({"reap", "--companion", workspace}, {.env = env});
        CHECK(contains(live.out, "0 jobs settled"));
        CHECK(statuses(id) == "running running");
        kill(worker, SIGKILL);
        CHECK(wait_until([&] { return !alive(worker); }));
        sentence = "how it ended is unknown";
    }
    // The plugin's three symptoms, and the commands that cure them.
    CHECK(statuses(id) == "running running");
    CHECK(plugin({"result", id}).ended() == "exit 1");
    CHECK(plugin({"task", "--resume-last", "go on"}).ended() == "exit 1");
    const auto listed = ctl({"list", "--companion", workspace}, {.env = env});
    CHECK(listed.ended() == "exit 0");
    CHECK(contains(listed.out, "failed"));
    CHECK(statuses(id) == "failed failed");
    for (const Json& side : {job_of(id), entry_of(id)}) {
        CHECK(at(side, "/pid") == nullptr);
        CHECK(contains(at(side, "/errorMessage").dump(), sentence));
    }
    const auto index_text = slurp(index());
    const auto job_text = slurp(file_of(id));
    CHECK(contains(ctl({"reap", "--companion", workspace}, {.env = env}).out, "0 jobs settled"));
    CHECK(slurp(index()) == index_text);
    CHECK(slurp(file_of(id)) == job_text);
    CHECK(plugin({"status", "--wait", id}).ended() == "exit 0");
    const auto result = plugin({"result", id});
    CHECK(result.ended() == "exit 0");
    CHECK(contains(result.out, sentence));
    resume();
}

TEST_CASE_METHOD(PluginSandbox, "codex plugin: a foreground job is wrapped by hand", "[serial]") {
    NEEDS_THE_PLUGIN;
    set_up("interruptible-slow-task");
    // The state directory exists only once the plugin has had a job.
    const auto before = begin();
    kill(worker_in_turn(before), SIGKILL);
    CHECK(becomes(before, "failed failed"));
    kill(broker(), SIGKILL);
    Words words{jobshim, "--companion", state(), "--"};
    for (const auto& word : command({"task", "do it"})) words.push_back(word);
    auto shim = spawn(words, options());
    std::string id;
    REQUIRE(wait_until([&] {
        for (const auto& name : names_in(state() / "jobs", ".json"))
            if (name != before + ".json") id = name.substr(0, name.size() - 5);
        return !id.empty();
    }));
    kill(worker_in_turn(id), SIGKILL);
    CHECK(becomes(id, "failed failed", 3s));
    CHECK(contains(at(job_of(id), "/errorMessage").dump(), "SIGKILL"));
    CHECK(contains(at(job_of(id), "/errorMessage").dump(), "Resume with thread thr_"));
    CHECK(shim.wait().ended() == "SIGKILL");
    CHECK(statuses(id) == "failed failed");
    CHECK(plugin({"result", id}).ended() == "exit 0");
    const auto said = ctl({"result", "--companion", workspace, id}, {.env = env});
    CHECK(contains(said.out, "signal (observed)"));
    resume();
}

// As Claude Code starts most of them: the preload puts jobshim in front.
TEST_CASE_METHOD(PluginSandbox, "codex plugin: a foreground job is killed", "[serial]") {
    NEEDS_THE_PLUGIN;
    set_up("interruptible-slow-task");
    const auto only_job = [&] {
        std::string id;
        REQUIRE(wait_until(
            [&] {
                if (!fs::exists(dir / "data/state")) return false;
                const auto jobs = names_in(state() / "jobs", ".json");
                if (!jobs.empty()) id = jobs.front().substr(0, jobs.front().size() - 5);
                return !id.empty();
            },
            20s));
        return id;
    };
    // Neither the broker nor what it starts is told of the preload or of the job.
    const auto check_broker = [&] {
        REQUIRE(fs::exists(state() / "broker.json"));  // it has two seconds to start
        const auto variables = slurp("/proc/" + std::to_string(broker()) + "/environ");
        CHECK_FALSE(contains(variables, "preload.mjs"));
    };
    std::string id;
    SECTION("a task") {
        auto task = spawn(command({"task", "do it"}), options());
        id = only_job();
        const pid_t worker = worker_in_turn(id);
        CHECK(worker != task.pid());
        check_broker();
        kill(worker, SIGKILL);
        CHECK(task.wait().ended() == "SIGKILL");
    }
    SECTION("the review that the stop gate waits for") {
        CHECK(plugin({"setup", "--enable-review-gate", "--json"}).ended() == "exit 0");
        auto how = options();
        how.input = Json{{"cwd", workspace.string()}, {"session_id", "session-1"}}.dump();
        auto gate = spawn({"node", scripts / "stop-review-gate-hook.mjs"}, how);
        id = only_job();
        const pid_t worker = worker_in_turn(id);
        check_broker();
        kill(worker, SIGKILL);
        const auto ended = gate.wait();
        CHECK(ended.ended() == "exit 0");
        CHECK(at(parse_plugin_json(ended.out), "/decision") == "block");
    }
    CHECK(becomes(id, "failed failed", 3s));
    for (const Json& side : {job_of(id), entry_of(id)}) {
        const auto message = at(side, "/errorMessage").dump();
        CHECK(contains(message, "SIGKILL"));
        CHECK(contains(message, "Resume with thread thr_"));
    }
    CHECK(wait_until([&] {
        const auto records = names_in(state() / "jobshim", ".json");
        return records.size() == 1 && at(read_json(state() / "jobshim" / records.front()),
                                         "/jobshim/exit/signal") == SIGKILL;
    }));
    CHECK(contains(plugin({"result", id}).out, "SIGKILL"));
    resume();
}

// README, "Stuck codex jobs": a copy of the plugin with that edit, and no preload.
TEST_CASE_METHOD(PluginSandbox, "codex plugin: with a one-line patch it needs no preload",
                 "[serial]") {
    NEEDS_THE_PLUGIN;
    set_up("interruptible-slow-task");
    const auto copy = dir / "patched";
    fs::copy(fs::path(checkout) / "plugins/codex", copy, fs::copy_options::recursive);
    scripts = copy / "scripts";
    auto text = slurp(scripts / "codex-companion.mjs");
    const auto edit = [&](const std::string& old, const std::string& edited) {
        const auto where = text.find(old);
        REQUIRE(where != std::string::npos);
        text.replace(where, old.size(), edited);
    };
    edit("spawn(process.execPath, [scriptPath, \"task-worker\"",
         "spawn(\"jobshim\", [\"--companion\", resolveStateDir(cwd), \"--id\", jobId, \"--\", "
         "process.execPath, scriptPath, \"task-worker\"");
    edit("  setConfig,\n", "  resolveStateDir,\n  setConfig,\n");
    put(scripts / "codex-companion.mjs", text);
    fs::create_symlink(jobshim, dir / "bin/jobshim");
    env.erase("NODE_OPTIONS");
    env.erase("JOBSHIM");
    const auto id = begin();
    kill(worker_in_turn(id), SIGKILL);
    check_is_failed(id, {"SIGKILL", "Resume with thread thr_"});
    resume();
}

namespace {

// Eight processes running the plugin's own code write its state while 20 workers are killed.
struct WritersSandbox : PluginSandbox {
    static constexpr int workers = 20, others = 10, writers = 8, times = 5, pause_ms = 500;

    struct Lost {
        int entries = 0, files = 0, config = 0;
    };
    struct Round {
        std::map<std::string, int> ours;  ///< jobs by what the two files say in the end
        Lost lost;                        ///< of the others' jobs
    };

    Words script(const Words& words) const {
        Words argv{"node", fixture("plugin_writers.mjs"), checkout};
        argv.insert(argv.end(), words.begin(), words.end());
        return argv;
    }

    Round round(bool with_jobshim, unsigned seed) {
        fs::remove_all(dir / "data");
        fs::create_directories(workspace);
        Words ids;
        std::string list;
        for (int i = 0; i < workers; ++i) {
            ids.push_back("task-" + std::to_string(i));
            list += (i == 0 ? "" : ",") + ids.back();
        }
        const auto begun =
            run(script({"begin", with_jobshim ? jobshim : "", list, std::to_string(others)}),
                options());
        INFO(begun.err);
        REQUIRE(begun.ended() == "exit 0");
        std::vector<pid_t> pids;
        for (const auto& id : ids) pids.push_back(job_of(id)["pid"].get<pid_t>());
        std::vector<Process> running;
        for (int i = 0; i < writers; ++i)
            running.push_back(spawn(script({"write", "writer-" + std::to_string(i),
                                            std::to_string(times), std::to_string(pause_ms)}),
                                    options()));
        std::mt19937 random(seed);
        std::shuffle(pids.begin(), pids.end(), random);
        for (const pid_t pid : pids) {
            std::this_thread::sleep_for(Milliseconds(random() % (2U * times * pause_ms / workers)));
            kill(pid, SIGKILL);
        }
        for (auto& writer : running) {
            const auto ended = writer.wait(60s);
            INFO(ended.err);
            CHECK(ended.ended() == "exit 0");
        }
        if (with_jobshim)
            for (const auto& id : ids) CHECK(shim_is_gone(id));
        Round seen;
        for (int i = 0; i < others; ++i) {
            const auto other = "other-" + std::to_string(i);
            seen.lost.entries += entry_of(other).empty();
            seen.lost.files += job_of(other).empty();
        }
        seen.lost.config = at(parse_plugin_json(slurp(index())), "/config/stopReviewGate") != true;
        // An entry that a writer dropped from the index after the shim's last look comes back when
        // we look.
        if (with_jobshim) CHECK(ctl({"reap", "--companion", state()}).ended() == "exit 0");
        for (const auto& id : ids) ++seen.ours[statuses(id)];
        return seen;
    }
};

std::string mean_and_spread(const std::vector<double>& values) {
    double sum = 0, squares = 0;
    for (const double value : values) sum += value, squares += value * value;
    const auto n = static_cast<double>(values.size());
    const double mean = sum / n;
    const double variance = n > 1 ? (squares - n * mean * mean) / (n - 1) : 0;
    char text[64];
    std::snprintf(text, sizeof text, "%.1f +- %.1f", mean, std::sqrt(std::max(0.0, variance)));
    return text;
}

}  // namespace

// What the plugin's writers lose of each other's work, with jobshim and without, is only reported:
// JOBSHIM_PLUGIN_ROUNDS rounds of each, alternately.
TEST_CASE_METHOD(WritersSandbox, "codex plugin: eight writers and twenty kills", "[sweep]") {
    NEEDS_THE_PLUGIN;
    set_up("slow-task");
    const char* setting = std::getenv("JOBSHIM_PLUGIN_ROUNDS");
    const int rounds = setting == nullptr ? 2 : std::stoi(setting);
    std::map<bool, std::vector<double>> entries, files, config;
    Matrix matrix("codex plugin: eight writers and twenty kills");
    for (int i = 0; i < 2 * rounds; ++i) {
        const bool with_jobshim = i % 2 == 0;
        const Round seen = round(with_jobshim, static_cast<unsigned>(4711 + i / 2));
        entries[with_jobshim].push_back(seen.lost.entries);
        files[with_jobshim].push_back(seen.lost.files);
        config[with_jobshim].push_back(seen.lost.config);
        std::string ours;
        for (const auto& [words, count] : seen.ours) {
            ours += "  " + std::to_string(count) + " " + words;
            if (!with_jobshim) continue;
            CAPTURE(i, words, count);
            // An entry without a file is one that a writer brought back after another removed the
            // file.
            const bool is_settled =
                words == "failed failed" || words == "- -" || words == "- failed";
            CHECK(is_settled);
            for (int k = 0; k < count; ++k)
                matrix.count("killed worker",
                             is_settled ? ReportedOutcome::true_end : ReportedOutcome::lie);
        }
        std::printf("round %d %s: lost of %d others %d entries, %d files, config %d; ours:%s\n", i,
                    with_jobshim ? "with   " : "without", others, seen.lost.entries,
                    seen.lost.files, seen.lost.config, ours.c_str());
        std::fflush(stdout);
    }
    for (const bool with_jobshim : {true, false})
        std::printf("%s: lost entries %s, files %s of %d, config %s\n",
                    with_jobshim ? "with jobshim   " : "without jobshim",
                    mean_and_spread(entries[with_jobshim]).c_str(),
                    mean_and_spread(files[with_jobshim]).c_str(), others,
                    mean_and_spread(config[with_jobshim]).c_str());
    CHECK(matrix.lies() == 0);
}
