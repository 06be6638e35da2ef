// Where jobctl finds the state directories of companions, and what it does as a hook of Claude
// Code.

#include <unistd.h>

#include "integration/companion.hpp"
#include "integration/strace.hpp"

using namespace harness;

namespace {

// A user who has a workspace, and plugins of Claude Code.
struct User : Sandbox {
    const fs::path home = dir / "home", workspace = home / "my work";
    const fs::path data = home / ".claude/plugins/data";
    std::string name;  // of the workspace's state directory

    User() {
        fs::create_directories(workspace / ".git");
        const auto missing = ctl({"list", "--companion", "."}, terminal());
        name = missing.err.substr(missing.err.find("my-work-"), 24);
    }

    // As in a terminal of the user's own: nothing of Claude Code's is set.
    Options terminal(const fs::path& cwd = {}) const {
        return {.env = {{"HOME", home.string()},
                        {"CLAUDE_CONFIG_DIR", ""},
                        {"CLAUDE_PLUGIN_DATA", ""},
                        {"TMPDIR", (dir / "tmp").string()}},
                .cwd = cwd.empty() ? workspace : cwd};
    }
    Result hook(const std::string& event, const std::string& input = "{}",
                const std::string& program = jobctl) {
        Options options = terminal();
        options.input = input;
        return run({program, "hook", "claude", event}, options);
    }
};

// jobctl in a plugin's directory, beside the preload.
struct Packaged : User {
    const fs::path plugin = dir / "a plugin #1";
    const std::string program = plugin / "bin/jobctl";
    const std::string url = "file://" + dir.string() + "/a%20plugin%20%231/lib/preload.mjs";

    Packaged() {
        for (const char* part : {"bin", "lib"}) fs::create_directories(plugin / part);
        fs::copy_file(jobctl, program);
        put(plugin / "lib/preload.mjs", "");
    }
    static Json bash(const std::string& command) {
        return {{"hook_event_name", "PreToolUse"},
                {"tool_name", "Bash"},
                {"tool_input",
                 {{"command", command}, {"timeout", 600'000}, {"run_in_background", true}}}};
    }
    Result use(const Json& input) { return hook("PreToolUse", input.dump(), program); }
};

}  // namespace

TEST_CASE_METHOD(User, "companion: a terminal of the user's own finds and settles the job",
                 "[quick]") {
    const Companion codex(data / "codex-openai-codex/state" / name);
    codex.write_both(codex.record("task-1", "running", gone_pid()));
    // One of the kin has no slug, and less of the hash; its directory is elsewhere.
    const auto hash = name.substr(name.size() - 16);
    const Companion gemini(dir / "tmp/gemini-companion" / hash.substr(0, 12));
    gemini.write_both(gemini.record("task-2", "running", gone_pid()));
    const Companion other(data / "codex-openai-codex/state/other-0123456789abcdef");
    other.write_both(other.record("task-3", "running", gone_pid()));
    put(data / "not-a-directory", "");

    fs::create_directories(workspace / "below");
    const auto listed = ctl({"list", "--companion", "."}, terminal(workspace / "below"));
    INFO(listed.out << listed.err);
    CHECK(listed.ended() == "exit 0");
    CHECK(listed.err.empty());
    for (const char* id : {"task-1", "task-2"}) CHECK(contains(listed.out, id));
    CHECK_FALSE(contains(listed.out, "task-3"));
    CHECK(codex.statuses("task-1") == "failed failed");
    CHECK(gemini.statuses("task-2") == "failed failed");
    CHECK(other.statuses("task-3") == "running running");

    CHECK(contains(ctl({"list", "--all-states"}, terminal(dir)).out, "task-3"));
    CHECK(other.statuses("task-3") == "failed failed");
}

TEST_CASE_METHOD(User, "companion: if there is no state directory, it says where it looked",
                 "[quick]") {
    Options options = terminal();
    options.env["CLAUDE_PLUGIN_DATA"] = (dir / "own").string();
    const Words places{(dir / "own/state").string(), (data / "*/state").string(),
                       (dir / "tmp/codex-companion").string()};
    for (const Words& words : {Words{"list", "--companion", "."}, Words{"reap", "--all-states"}}) {
        const auto result = ctl(words, options);
        CAPTURE(words[1], result.err);
        CHECK(result.ended() == (words[1] == "--companion" ? "exit 125" : "exit 0"));
        std::size_t at = 0;
        for (const auto& place : places) {
            at = result.err.find(place, at);
            CHECK(at != std::string::npos);
        }
        CHECK(lines_of(result.err).size() == 1);
    }
    options.env["CLAUDE_CONFIG_DIR"] = (dir / "config").string();
    CHECK(contains(ctl({"list", "--companion", "."}, options).err,
                   (dir / "config/plugins/data/*/state").string()));
}

TEST_CASE_METHOD(User, "companion: another user's directory is not taken for the workspace's") {
    if (geteuid() != 0) SKIP_TEST("needs root, to have another user");
    const Companion theirs(dir / "tmp/codex-companion" / name);
    theirs.write_both(theirs.record("task-1", "running", gone_pid()));
    for (const auto& entry : fs::recursive_directory_iterator(theirs.dir.parent_path()))
        REQUIRE(lchown(entry.path().c_str(), 65534, 65534) == 0);
    const auto result = ctl({"list", "--companion", "."}, terminal());
    CHECK(result.ended() == "exit 125");
    CHECK(contains(ctl({"list", "--all-states"}, terminal()).err, "no codex-companion state"));
    CHECK(hook("SessionStart").ended() == "exit 0");
    CHECK(theirs.statuses("task-1") == "running running");
}

TEST_CASE_METHOD(User, "hook: each event of a session settles what has died", "[quick][libc]") {
    int n = 0;
    for (const std::string event :
         {"SessionStart", "UserPromptExpansion", "UserPromptSubmit", "Stop", "SessionEnd"}) {
        CAPTURE(event);
        const auto id = "task-" + std::to_string(++n);
        const Companion codex(data / "codex-openai-codex/state" / name);
        const Companion kimi(data / "kimi-kimi/state/w-0123456789abcdef");
        const auto sleeper = spawn({"sleep", "600"});
        for (const Companion* plugin : {&codex, &kimi}) {
            plugin->write_both(plugin->record(id, "running", gone_pid()));
            plugin->write_both(plugin->record(id + "-alive", "running", sleeper.pid()));
            // One whose entry the plugin had no time to write.
            plugin->write_job(plugin->record(id + "-new", "running", gone_pid()));
        }
        const auto answer = hook(event, Json{{"prompt", std::string(200'000, 'x')}}.dump());
        CHECK(answer.ended() == "exit 0");
        CHECK(answer.out.empty());
        CHECK(answer.err.empty());
        for (const Companion* plugin : {&codex, &kimi}) {
            CHECK(plugin->statuses(id) == "failed failed");
            CHECK(plugin->statuses(id + "-new") == "failed failed");
            CHECK(plugin->statuses(id + "-alive") == "running running");
        }
        sleeper.kill(SIGKILL);
    }
}

TEST_CASE_METHOD(User, "hook: a job whose shim died is settled by what the shim left", "[quick]") {
    const Companion plugin(data / "codex-openai-codex/state" / name);
    plugin.write_both(plugin.record("task-1", "queued"));
    auto shim = spawn({jobshim, "--companion", plugin.dir, "--id", "task-1", "--", "sh", "-c",
                       plugin.worker("task-1", for_ever_in_shell)});
    REQUIRE(wait_until([&] { return plugin.job("task-1").value("status", "") == "running"; }));
    const auto worker = at(plugin.job("task-1"), "/pid").get<pid_t>();
    shim.kill(SIGKILL);
    shim.wait();
    REQUIRE(wait_until([&] { return !alive(worker); }));
    CHECK(hook("UserPromptSubmit").ended() == "exit 0");
    CHECK(plugin.statuses("task-1") == "failed failed");
    CHECK(at(read_json(plugin.own_record("task-1")), "/jobshim/exit/reason") == "shim-lost");
}

// It runs before each prompt: it must not read what has long ended.
TEST_CASE_METHOD(User, "hook: idle state directories cost one small file each") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    for (int n = 0; n < 50; ++n) {
        const Companion plugin(data / "codex-openai-codex/state" /
                               ("w" + std::to_string(n) + "-0123456789abcdef"));
        for (int k = 0; k < 4; ++k)
            plugin.write_both(plugin.record("task-" + std::to_string(k), "completed"));
    }
    const auto trace = dir / "trace";
    REQUIRE(run(under_strace(trace, {"-e", "trace=openat,open"},
                             {jobctl, "hook", "claude", "UserPromptSubmit"}),
                terminal())
                .ended() == "exit 0");
    const auto opened = slurp(trace);
    CHECK(contains(opened, "state.json"));
    CHECK_FALSE(contains(opened, "task-"));
}

TEST_CASE_METHOD(Packaged, "hook: a command that starts a companion gets the preload", "[quick]") {
    const auto answer = use(bash("cd /x && node '/p q/codex-companion.mjs' task \"do it\""));
    CHECK(answer.ended() == "exit 0");
    CHECK(answer.err.empty());
    const auto output = Json::parse(answer.out).at("hookSpecificOutput");
    CHECK(at(output, "/hookEventName") == "PreToolUse");
    CHECK(output.count("permissionDecision") == 0);
    CHECK(at(output, "/updatedInput/command") ==
          "cd /x && node --import=" + url + " '/p q/codex-companion.mjs' task \"do it\"");
    // It replaces the whole input.
    CHECK(at(output, "/updatedInput/timeout") == 600'000);
    CHECK(at(output, "/updatedInput/run_in_background") == true);
}

TEST_CASE_METHOD(Packaged, "hook: whatever it cannot use it leaves alone, in silence", "[quick]") {
    const auto command = "node /p/codex-companion.mjs task";
    auto other_tool = bash(command);
    other_tool["tool_name"] = "Read";
    auto no_command = bash(command);
    no_command["tool_input"] = Json::object();
    auto odd_command = bash(command);
    odd_command["tool_input"]["command"] = 7;
    const auto text = [](const Json& json) { return json.dump(); };
    for (const auto& input :
         {text(bash("ls")), text(other_tool), text(no_command), text(odd_command), std::string(),
          std::string("{"), std::string("[]"), std::string("{\"tool_name\": \"Bash\"}"),
          std::string(100'000, '['), std::string("\xff\xfe")}) {
        CAPTURE(input.substr(0, 100));
        const auto answer = hook("PreToolUse", input, program);
        CHECK(answer.ended() == "exit 0");
        CHECK(answer.out.empty());
        CHECK(answer.err.empty());
    }
    for (const std::string event : {"PostToolUse", "", "NoSuchEvent"})
        CHECK(hook(event, text(bash(command)), program).ended() == "exit 0");
    fs::remove(plugin / "lib/preload.mjs");
    CHECK(use(bash(command)).out.empty());
    // A person's mistake is told.
    CHECK(ctl({"hook", "claude"}).ended() == "exit 2");
    CHECK(contains(ctl({"hook", "nobody", "Stop"}).err, "unknown agent 'nobody'"));
}
