// The real Claude Code, its API played by fixtures/messages_api.mjs, with the real codex plugin and
// that plugin's fake codex. CLAUDE_CODE names the program, CODEX_PLUGIN_CC a checkout of the
// plugin. Each fault is tried twice: without our plugin, which shows what users suffer from, and
// with it.

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "integration/support.hpp"

using namespace harness;

namespace {

std::string variable(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
}

/// What users find after a fault, once they have typed something else.
struct Aftermath {
    std::string files;    ///< statuses in the job file and in the index, before the next prompt
    std::string settled;  ///< and after it
    std::string because;  ///< the error message in the job file
    std::string shown;    ///< the job's status in the answer to /codex:status
    bool is_waited_for = false, has_result = false, is_resumed = false;
    bool is_resumable = true;  ///< no review is
};

class ClaudeSandbox : public Sandbox {
public:
    static constexpr auto wide = 60s;  // Claude Code may take seconds to start

    const fs::path claude = variable("CLAUDE_CODE"), checkout = variable("CODEX_PLUGIN_CC");
    /// JOBSHIM_CLAUDE_PACKAGE names another one than `./dev package claude` makes.
    const fs::path package = variable("JOBSHIM_CLAUDE_PACKAGE").empty()
                                 ? fixture("../../build/package/claude-code").lexically_normal()
                                 : fs::path(variable("JOBSHIM_CLAUDE_PACKAGE"));
    const fs::path scripts = checkout / "plugins/codex/scripts", bin = dir / "bin",
                   hold = dir / "hold";
    // Of the round: without our plugin, or with it.
    fs::path home, workspace, config, data;
    bool with_ours = false;

    ~ClaudeSandbox() { end_all(); }

    std::string missing() const {
        if (claude.empty())
            return "CLAUDE_CODE names no Claude Code (npm install @anthropic-ai/claude-code)";
        if (checkout.empty())
            return "CODEX_PLUGIN_CC names no checkout of the plugin "
                   "(git clone https://github.com/openai/codex-plugin-cc)";
        for (const auto& program : {"node", "git"})
            if (!in_path(program)) return std::string("no ") + program + " in PATH";
        return "";
    }
    std::string package_missing() const {
        if (fs::exists(package / ".claude-plugin/marketplace.json")) return "";
        return "no " + package.filename().string() + " package (./dev package claude)";
    }

    /// A new home, workspace and configuration, with the codex plugin installed; with ours too, if
    /// so asked.
    void set_up(bool ours) {
        with_ours = ours;
        home = dir / (ours ? "with" : "bare");
        workspace = home / "work";
        config = home / "config";
        data = config / "plugins/data/codex-openai-codex";
        fs::remove_all(home);
        for (const auto& path : {workspace, config / "plugins", bin, home / "tmp"})
            fs::create_directories(path);
        for (const Words& words : {Words{"init", "-q", "-b", "main"},
                                   Words{"commit", "-q", "--allow-empty", "-m", "first"}}) {
            Words argv{"git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", workspace};
            argv.insert(argv.end(), words.begin(), words.end());
            const auto ready = run(argv);
            INFO(ready.err);
            REQUIRE(ready.ended() == "exit 0");
        }
        put(workspace / "new.txt", "to be reviewed\n");
        install_fake_codex();
        settings_ = {{"extraKnownMarketplaces", Json::object()},
                     {"enabledPlugins", Json::object()}};
        installed_ = {{"version", 2}, {"plugins", Json::object()}};
        known_ = Json::object();
        add_plugin(checkout);
        if (ours) add_plugin(package);
        put(config / "settings.json", settings_.dump());
        put(config / "plugins/installed_plugins.json", installed_.dump());
        put(config / "plugins/known_marketplaces.json", known_.dump());
    }

    /// `env -i` and what Claude Code needs: nothing of the surrounding environment reaches it.
    Words environment() const {
        return {"env",
                "-i",
                "PATH=" + bin.string() + ":" + variable("PATH"),
                "HOME=" + home.string(),
                "CLAUDE_CONFIG_DIR=" + config.string(),
                "TMPDIR=" + (home / "tmp").string(),
                "LANG=C.UTF-8",
                "TERM=dumb",
                "ANTHROPIC_API_KEY=dummy",
                "ANTHROPIC_BASE_URL=http://127.0.0.1:" + (port_.empty() ? "9" : port_),
                "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1",
                "DISABLE_AUTOUPDATER=1",
                "DISABLE_TELEMETRY=1",
                "DISABLE_ERROR_REPORTING=1"};
    }
    Result claude_command(const Words& words) {
        return run(joined({environment(), {claude}, words}), {.cwd = workspace, .limit = wide});
    }

    /// A session that goes on until its stdin is closed, with these turns for its API to play.
    void begin_session(const std::vector<Json>& turns = {}) {
        const auto scenario = home / "scenario.json", log = api_log();
        put(scenario, Json(turns).dump());
        put(log, "");
        Pipe to_api, to_claude;
        api_ = spawn({"node", fixture("messages_api.mjs"), scenario, log},
                     {.fds = {{0, to_api.read.get()}}});
        REQUIRE(wait_until([&] { return contains(api_.out(), "\n"); }, wide));
        port_ = lines_of(api_.out()).front();
        claude_ = spawn(joined({environment(),
                                {claude, "-p", "--input-format", "stream-json", "--output-format",
                                 "stream-json", "--verbose", "--allowedTools", "Bash"}}),
                        {.cwd = workspace, .fds = {{0, to_claude.read.get()}}});
        api_in_ = std::move(to_api.write);
        claude_in_ = std::move(to_claude.write);
    }
    void type(const std::string& text) {
        const Json line{{"type", "user"}, {"message", {{"role", "user"}, {"content", text}}}};
        const auto bytes = line.dump() + "\n";
        REQUIRE(write(claude_in_.get(), bytes.data(), bytes.size()) ==
                static_cast<ssize_t>(bytes.size()));
    }
    /// How often Claude has finished its turn.
    int answers() const {
        int count = 0;
        for (const auto& line : lines_of(claude_.out()))
            count += line.starts_with(R"({"type":"result")");
        return count;
    }
    bool answers_after(int before) const {
        return wait_until([&] { return answers() > before; }, wide);
    }
    void prompt(const std::string& text) {
        const int before = answers();
        type(text);
        INFO(claude_.err());
        REQUIRE(answers_after(before));
    }
    void end_session() {
        claude_in_.close();
        CHECK(wait_until([&] { return !claude_.running(); }, wide));
    }
    void end_api() {
        api_in_.close();
        CHECK(wait_until([&] { return !api_.running(); }));
    }
    const Process& claude_process() const { return claude_; }

    /// Kills whatever is left: brokers outlive every command, and so does what they started.
    void end_all() {
        (void)wait_until([&] {
            const auto left = living_descendants();
            for (const pid_t pid : left) ::kill(pid, SIGKILL);
            return left.empty();
        });
    }

    std::string companion() const {
        return "node \"" + (scripts / "codex-companion.mjs").string() + "\" ";
    }
    static Json bash(const std::string& command, bool in_background = false) {
        return {{"tool", "Bash"},
                {"input",
                 {{"command", command},
                  {"description", "run it"},
                  {"run_in_background", in_background}}}};
    }
    /// The plugin's command in a user's own terminal.
    Result plugin(const Words& words) {
        Options how;
        how.cwd = workspace;
        how.limit = wide;
        const Words plain{"env",
                          "-i",
                          "PATH=" + bin.string() + ":" + variable("PATH"),
                          "HOME=" + home.string(),
                          "TMPDIR=" + (home / "tmp").string(),
                          "CLAUDE_PLUGIN_DATA=" + data.string()};
        return run(joined({plain, {"node", scripts / "codex-companion.mjs"}, words}), how);
    }

    fs::path state() const {
        std::error_code none;
        for (const auto& entry : fs::directory_iterator(data / "state", none)) return entry.path();
        return home / "no-state-yet";
    }
    Json job_of(const std::string& id) const { return parsed(state() / "jobs" / (id + ".json")); }
    Json entry_of(const std::string& id) const {
        for (const Json& entry : parsed(state() / "state.json").value("jobs", Json::array()))
            if (at(entry, "/id") == id) return entry;
        return Json::object();
    }
    std::string statuses(const std::string& id) const {
        return job_of(id).value("status", "-") + " " + entry_of(id).value("status", "-");
    }
    /// The job whose turn has begun and that is none of `old`.
    std::string job_in_turn(const std::vector<std::string>& old = {}) {
        std::string id;
        const bool is_there = wait_until(
            [&] {
                for (const Json& entry :
                     parsed(state() / "state.json").value("jobs", Json::array())) {
                    id = entry.value("id", "");
                    const bool is_old = std::find(old.begin(), old.end(), id) != old.end();
                    if (!is_old && at(entry, "/turnId").is_string() &&
                        at(job_of(id), "/turnId").is_string() &&
                        at(entry, "/turnId") != "<missing>" &&
                        at(job_of(id), "/turnId") != "<missing>")
                        return true;
                }
                return false;
            },
            wide);
        INFO(claude_.out() << claude_.err());
        REQUIRE(is_there);
        return id;
    }
    pid_t worker_of(const std::string& id) const {
        const auto pid = at(job_of(id), "/pid");
        INFO(job_of(id).dump(2));
        REQUIRE(pid.is_number());
        return pid.get<pid_t>();
    }
    Json own_record(const std::string& id) const {
        // A job that was begun in the foreground has a record under an id of our own.
        const auto records = state() / "jobshim";
        if (const auto own = parsed(records / (id + ".json")); !own.empty()) return own;
        for (const auto& name : names_in(records, ".json")) {
            const auto own = parsed(records / name);
            if (at(own, "/jobshim/worker/pid") == at(job_of(id), "/pid")) return own;
        }
        return Json::object();
    }

    /// What /codex:status answered: what Claude sent to its API.
    std::string status_answer() const {
        const auto lines = lines_of(slurp(api_log()));
        for (auto line = lines.rbegin(); line != lines.rend(); ++line) {
            const auto begin = line->rfind("# Codex Status");
            if (begin != std::string::npos)
                return line->substr(begin, line->find("If the user did not", begin) - begin);
        }
        return "";
    }
    /// "running" if the answer lists the job as active, else the word after its id.
    std::string shown_status(const std::string& id) const {
        const auto answer = status_answer();
        const auto where = answer.find(id);
        if (where == std::string::npos) return "-";
        const auto line = answer.substr(where, answer.find("\\n", where) - where);
        for (const auto& word : {"running", "queued", "failed", "cancelled", "completed"})
            if (contains(line, word)) return word;
        return "?";
    }

    /// The next prompt, and then everything that a user would try.
    Aftermath look_at(const std::string& id, bool session_goes_on = true) {
        Aftermath seen;
        seen.files = statuses(id);
        if (!session_goes_on) begin_session();
        prompt("/codex:status");
        seen.shown = shown_status(id);
        seen.settled = statuses(id);
        const auto message = at(job_of(id), "/errorMessage");
        seen.because = message.is_string() ? message.get<std::string>() : message.dump();
        seen.is_resumable = at(job_of(id), "/jobClass") != "review";
        fs::remove(hold);
        const auto waited = plugin({"status", id, "--wait", "--timeout-ms", "1500", "--json"});
        seen.is_waited_for = !contains(waited.out, "\"waitTimedOut\": true");
        seen.has_result = plugin({"result", id}).ended() == "exit 0";
        const auto resumed = plugin({"task", "--resume-last", "go on"});
        seen.is_resumed = resumed.ended() == "exit 0";
        return seen;
    }
    void report(const std::string& fault, const Aftermath& seen) const {
        std::printf("%-38s %-13s %-20s -> %-20s status: %-9s --wait %s, result %s, resume %s; %s\n",
                    fault.c_str(), with_ours ? "with jobshim" : "bare", seen.files.c_str(),
                    seen.settled.c_str(), seen.shown.c_str(), seen.is_waited_for ? "ok" : "HANGS",
                    seen.has_result         ? "ok"
                    : seen.settled == "- -" ? "-"
                                            : "REFUSED",
                    seen.is_resumed     ? "ok"
                    : seen.is_resumable ? "REFUSED"
                                        : "-",
                    seen.because.c_str());
        std::fflush(stdout);
    }

private:
    static Json parsed(const fs::path& file) {
        auto json = Json::parse(slurp(file), nullptr, false);
        return json.is_object() ? json : Json::object();
    }
    fs::path api_log() const { return home / "api.log"; }

    /// What `claude plugin marketplace add` and `claude plugin install` write, without starting
    /// Claude Code four times for each round.
    void add_plugin(const fs::path& marketplace) {
        const Json about = read_json(marketplace / ".claude-plugin/marketplace.json");
        const std::string market = about["name"];
        const Json source{{"source", "directory"}, {"path", marketplace.string()}};
        const std::string time = "2026-01-01T00:00:00.000Z";
        settings_["extraKnownMarketplaces"][market]["source"] = source;
        known_[market] = {
            {"source", source}, {"installLocation", marketplace.string()}, {"lastUpdated", time}};
        for (const Json& plugin : about["plugins"]) {
            const std::string name = plugin["name"];
            const std::string version = plugin.value("version", "0.0.0");
            const auto copy = config / "plugins/cache" / market / name / version;
            fs::create_directories(copy.parent_path());
            fs::copy(marketplace / plugin["source"].get<std::string>(), copy,
                     fs::copy_options::recursive);
            settings_["enabledPlugins"][name + "@" + market] = true;
            installed_["plugins"][name + "@" + market] =
                Json::array({{{"scope", "user"},
                              {"installPath", copy.string()},
                              {"version", version},
                              {"installedAt", time},
                              {"lastUpdated", time}}});
        }
    }

    /// Its turns and reviews end when the file `hold` is gone, so that no test depends on a timer.
    void install_fake_codex() {
        put(hold, "");
        const std::string install =
            "import(process.argv[1]).then((m) => m.installFakeCodex(process.argv[2], 'review-ok'))";
        const auto installed =
            run({"node", "-e", install, checkout / "tests/fake-codex-fixture.mjs", bin});
        INFO(installed.err);
        REQUIRE(installed.ended() == "exit 0");
        auto script = slurp(bin / "codex");
        const auto edit = [&](const std::string& old, const std::string& edited) {
            const auto where = script.find(old);
            REQUIRE(where != std::string::npos);
            script.replace(where, old.size(), edited);
        };
        edit("function emitTurnCompleted(threadId, turnId, item) {",
             "function emitTurnCompleted(threadId, turnId, item, isHeld) {");
        const std::string started =
            "  send({ method: \"turn/started\", params: { threadId, turn: buildTurn(turnId) } "
            "});\n";
        edit(started, "  if (!isHeld)" + started + "  if (fs.existsSync(" +
                          Json(hold.string()).dump() +
                          ")) return setTimeout(emitTurnCompleted, 20, threadId, turnId, item, "
                          "true);\n");
        put(bin / "codex", script);
    }

    Json settings_, installed_, known_;
    std::string port_;
    Process api_, claude_;
    Fd api_in_, claude_in_;
};

}  // namespace

#define NEEDS_CLAUDE_CODE \
    if (!missing().empty()) SKIP_TEST(missing())

namespace {

/// One fault, without our plugin and with it.
struct FaultSandbox : ClaudeSandbox {
    /// `fault` begins the job and ends it; it returns the job's id.
    void try_both(const std::string& name, const std::function<std::string()>& fault,
                  const Words& because, bool session_goes_on = true) {
        for (const bool ours : {false, true}) {
            CAPTURE(ours);
            if (ours && !package_missing().empty()) SKIP_TEST(package_missing());
            set_up(ours);
            const auto id = fault();
            const auto seen = look_at(id, session_goes_on);
            report(name, seen);
            end_session();
            end_api();
            end_all();
            if (ours) check(seen, because, session_goes_on);
        }
    }
    void check(const Aftermath& seen, const Words& because, bool session_goes_on = true) const {
        CHECK(seen.settled == "failed failed");
        // The plugin shows only the jobs of the session.
        CHECK(seen.shown == (session_goes_on ? "failed" : "-"));
        for (const auto& word : because) CHECK(contains(seen.because, word));
        CHECK(seen.is_waited_for);
        CHECK(seen.has_result);
        CHECK(seen.is_resumed == seen.is_resumable);
    }
    /// After a session that may have removed its jobs: either they are gone, or they have ended.
    void next_session(const std::string& id, const std::string& fault) {
        const auto worker = at(job_of(id), "/pid");
        const auto seen = look_at(id, false);
        report(fault, seen);
        if (with_ours) {
            const bool is_over = seen.settled == "- -" || seen.settled == "failed failed" ||
                                 seen.settled == "cancelled cancelled";
            CHECK(is_over);
            CHECK(seen.is_waited_for);
            CHECK(seen.is_resumed);
            if (worker.is_number()) CHECK(!alive(worker.get<pid_t>()));
        }
        end_session();
        end_api();
        end_all();
    }
};

}  // namespace

TEST_CASE_METHOD(FaultSandbox, "claude code: a foreground task is killed", "[serial][claude]") {
    NEEDS_CLAUDE_CODE;
    try_both("foreground task, worker SIGKILL",
             [&] {
                 begin_session({bash(companion() + "task 'do it'")});
                 type("let codex do it");
                 const auto id = job_in_turn();
                 kill(worker_of(id), SIGKILL);
                 CHECK(answers_after(0));
                 return id;
             },
             {"SIGKILL", "Resume with thread thr_"});
}

TEST_CASE_METHOD(FaultSandbox, "claude code: a background task is killed", "[serial][claude]") {
    NEEDS_CLAUDE_CODE;
    try_both("task --background, worker SIGKILL",
             [&] {
                 begin_session({bash(companion() + "task --background 'do it'")});
                 prompt("let codex do it meanwhile");
                 const auto id = job_in_turn();
                 kill(worker_of(id), SIGKILL);
                 return id;
             },
             {"SIGKILL", "Resume with thread thr_"});
}

TEST_CASE_METHOD(FaultSandbox, "claude code: a review is killed", "[serial][claude]") {
    NEEDS_CLAUDE_CODE;
    try_both("review, worker SIGKILL",
             [&] {
                 begin_session({bash(companion() + "review")});
                 type("review it");
                 const auto id = job_in_turn();
                 kill(worker_of(id), SIGKILL);
                 CHECK(answers_after(0));
                 return id;
             },
             {"SIGKILL"});
}

TEST_CASE_METHOD(FaultSandbox, "claude code: a task is stopped", "[serial][claude]") {
    NEEDS_CLAUDE_CODE;
    try_both("task in a background Bash, TaskStop",
             [&] {
                 const auto begun = home / "begun";
                 begin_session({bash(companion() + "task 'do it'", true),
                                {{"after", begun.string()},
                                 {"tool", "TaskStop"},
                                 {"input", {{"task_id", "{{with ID: (\\w+)}}"}}}}});
                 type("let codex do it, then stop it");
                 const auto id = job_in_turn();
                 put(begun, "");
                 CHECK(answers_after(0));
                 return id;
             },
             {"SIGTERM"});
}

TEST_CASE_METHOD(FaultSandbox, "claude code: the stop gate's task is killed", "[serial][claude]") {
    NEEDS_CLAUDE_CODE;
    try_both("stop gate, worker SIGKILL",
             [&] {
                 CHECK(plugin({"setup", "--enable-review-gate"}).ended() == "exit 0");
                 begin_session();
                 type("hello");
                 const auto id = job_in_turn();
                 // Otherwise it would block, and be asked again.
                 CHECK(plugin({"setup", "--disable-review-gate"}).ended() == "exit 0");
                 kill(worker_of(id), SIGKILL);
                 CHECK(answers_after(0));
                 return id;
             },
             {});
}

TEST_CASE_METHOD(FaultSandbox, "claude code: Claude and the worker are killed",
                 "[serial][claude]") {
    NEEDS_CLAUDE_CODE;
    try_both(
        "Claude SIGKILL, then the worker",
        [&] {
            begin_session({bash(companion() + "task 'do it'")});
            type("let codex do it");
            const auto id = job_in_turn();
            claude_process().kill(SIGKILL);
            CHECK(wait_until([&] { return !claude_process().running(); }));
            // It goes on in a session of its own, and its record says so.
            CHECK(alive(worker_of(id)));
            CHECK(statuses(id) == "running running");
            kill(worker_of(id), SIGKILL);
            end_api();
            return id;
        },
        {"SIGKILL", "Resume with thread thr_"}, false);
}

TEST_CASE_METHOD(FaultSandbox, "claude code: Claude is told to end", "[serial][claude]") {
    NEEDS_CLAUDE_CODE;
    for (const int signal : {SIGTERM, SIGHUP}) {
        for (const bool ours : {false, true}) {
            CAPTURE(signal, ours);
            if (ours && !package_missing().empty()) SKIP_TEST(package_missing());
            set_up(ours);
            begin_session({bash(companion() + "task 'do it'")});
            type("let codex do it");
            const auto id = job_in_turn();
            const pid_t worker = worker_of(id);
            claude_process().kill(signal);
            CHECK(wait_until([&] { return !claude_process().running(); }, wide));
            // Claude ends its commands; the plugin then removes the session's jobs, if there is
            // time.
            CHECK(wait_until([&] { return !alive(worker); }, wide));
            end_api();
            next_session(id, signal == SIGTERM ? "foreground task, Claude SIGTERM"
                                               : "foreground task, Claude SIGHUP");
        }
    }
}

TEST_CASE_METHOD(FaultSandbox, "claude code: the session ends", "[serial][claude]") {
    NEEDS_CLAUDE_CODE;
    for (const bool ours : {false, true}) {
        CAPTURE(ours);
        if (ours && !package_missing().empty()) SKIP_TEST(package_missing());
        set_up(ours);
        begin_session({bash(companion() + "task --background 'do it'")});
        prompt("let codex do it meanwhile");
        const auto id = job_in_turn();
        end_session();
        end_api();
        next_session(id, "task --background, session ended");
    }
}

TEST_CASE_METHOD(FaultSandbox, "claude code: the shim is killed", "[serial][claude]") {
    NEEDS_CLAUDE_CODE;
    if (!package_missing().empty()) SKIP_TEST(package_missing());
    for (const std::string where : {"", "--background "}) {
        CAPTURE(where);
        set_up(true);
        begin_session({bash(companion() + "task " + where + "'do it'")});
        type("let codex do it");
        const auto id = job_in_turn();
        const pid_t worker = worker_of(id);
        const auto shim = at(own_record(id), "/jobshim/shim/pid");
        REQUIRE(shim.is_number());
        kill(shim.get<pid_t>(), SIGKILL);
        CHECK(wait_until([&] { return !alive(worker); }));
        CHECK(answers_after(0));
        const auto seen = look_at(id);
        report(where.empty() ? "foreground task, shim SIGKILL" : "task --background, shim SIGKILL",
               seen);
        check(seen, {"shim died"});
        end_session();
        end_api();
        end_all();
    }
}

TEST_CASE_METHOD(ClaudeSandbox, "claude code: plugins are installed, and leave nothing behind",
                 "[serial][claude]") {
    NEEDS_CLAUDE_CODE;
    if (!package_missing().empty()) SKIP_TEST(package_missing());
    home = dir / "home";
    workspace = home / "work";
    config = home / "config";
    for (const auto& path : {workspace, config, home / "tmp"}) fs::create_directories(path);
    const auto claude_says = [&](const Words& words, const std::string& expected) {
        const auto result = claude_command(joined({{"plugin"}, words}));
        INFO(result.out << result.err);
        CHECK(result.ended() == "exit 0");
        CHECK(contains(result.out, expected));
    };
    for (const auto& marketplace : {checkout, package}) {
        const Json about = read_json(marketplace / ".claude-plugin/marketplace.json");
        const std::string market = about["name"], name = about["plugins"][0]["name"];
        const auto plugin = name + "@" + market;
        claude_says({"marketplace", "add", marketplace}, market);
        claude_says({"install", plugin}, name);
        claude_says({"list"}, "enabled");
        CHECK(at(read_json(config / "settings.json"), "/enabledPlugins")[plugin] == true);
        claude_says({"uninstall", plugin}, name);
        claude_says({"marketplace", "remove", market}, market);
        const auto settings = slurp(config / "settings.json");
        CHECK_FALSE(contains(settings, market));
        CHECK_FALSE(contains(slurp(config / "plugins/installed_plugins.json"), name));
        CHECK_FALSE(fs::exists(config / "plugins/data" / (name + "-" + market)));
    }
}
