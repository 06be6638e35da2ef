// jobshim-shell, called as Claude Code calls the prefix for its shell commands (seen in 2.1.197).

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <map>

#include "integration/support.hpp"

using namespace harness;

namespace {

std::string in_quotes(const std::string& text) {
    std::string quoted = "'";
    for (const char c : text) quoted += c == '\'' ? R"('"'"')" : std::string(1, c);
    return quoted + "'";
}

class ShellPrefix : public Sandbox {
protected:
    ShellPrefix() {
        const auto bin = dir / "with spaces/bin";
        fs::create_directories(bin);
        fs::copy_file(fixture("../claude-code/plugin/bin/jobshim-shell"), prefix);
        fs::create_symlink(jobshim, bin / "jobshim");
        fs::create_symlink(jobctl, bin / "jobctl");
    }

    const fs::path prefix = dir / "with spaces/bin/jobshim-shell";
    const fs::path records = dir / "state/jobshim/claude";
    const fs::path cwd_file = dir / "cwd file";

    /// What Claude Code has its shell run for a command of the Bash tool.
    std::string wrapped(const std::string& command) const {
        return "source /no/snapshot.sh 2>/dev/null || true && { shopt -u extglob || setopt "
               "NO_EXTENDED_GLOB NO_BARE_GLOB_QUAL; } >/dev/null 2>&1 || true && eval " +
               in_quotes(command) + " < /dev/null && pwd -P >| " + in_quotes(cwd_file.string());
    }
    Words call_of(const std::string& text, const std::string& shell = "/bin/bash") const {
        return {shell, "-c", in_quotes(prefix.string()) + " " + in_quotes(text)};
    }
    static Options environment() { return {.env = {{"SHELL", "/bin/bash"}}}; }
    Result play(const std::string& command) {
        return run(call_of(wrapped(command)), environment());
    }
    Process begin(const std::string& command) {
        return spawn(call_of(wrapped(command)), environment());
    }
    Result play_without(const std::string& command) {
        return run({"/bin/bash", "-c", wrapped(command)}, environment());
    }

    std::vector<fs::path> all() const {
        std::vector<fs::path> files;
        if (!fs::exists(records)) return files;
        for (const auto& name : names_in(records, ".json"))
            if (!name.starts_with('.')) files.push_back(records / name);
        return files;
    }
    fs::path only() const {
        const auto files = all();
        REQUIRE(files.size() == 1);
        return files.front();
    }
    std::string title() const { return at(read_json(only()), "/title").get<std::string>(); }
    /// What `jobctl list --why` says below the only job.
    std::string why() {
        const auto list = ctl({"list", "--why", "--dir", records});
        INFO(list.out << list.err);
        REQUIRE(list.ended() == "exit 0");
        const auto lines = lines_of(list.out);
        REQUIRE(lines.size() == 3);
        return lines[2];
    }
    void forget() {
        fs::remove_all(records);
        fs::remove(cwd_file);
    }
};

}  // namespace

TEST_CASE_METHOD(ShellPrefix, "under jobshim-shell a command of Claude Code's is what it would be",
                 "[quick]") {
    if (!in_path("bash")) SKIP_TEST("no bash in PATH");
    for (const std::string command : {
             "true",
             "exit 3",
             "kill -9 $$",
             "kill -TERM $$",
             "echo \"it's\" | cat; echo err >&2; cd /usr",
             "cat <<'END'\na 'b' \"c\" \\ $d\nEND\n",
             "read -r line; echo \"<$line>\"",
             "ls /proc/self/fd | grep -v '^3$'",
             "set -- $(cut -d' ' -f5,6 /proc/$$/stat); [ $1 = $2 ] && echo one group",
             "env | grep -v -e ^_= -e ^SHLVL= -e ^JOBSHIM_JOB_FILE= | sort",
             "ulimit -a; umask; trap",
             "printf '%s' \"$0\" \"$@\"",
             "nonesuch",
             "if",
         }) {
        INFO(command);
        forget();
        const auto bare = play_without(command);
        const bool left = fs::exists(cwd_file);
        const auto place = slurp(cwd_file);
        forget();
        const auto with = play(command);
        CHECK(with.ended() == bare.ended());
        CHECK(with.out == bare.out);
        CHECK(with.err == bare.err);
        CHECK(fs::exists(cwd_file) == left);
        CHECK(slurp(cwd_file) == place);
        CHECK(all().size() == 1);
    }
    CHECK((fs::status(records).permissions() & fs::perms::all) == fs::perms::owner_all);
}

TEST_CASE_METHOD(ShellPrefix, "the title of a command is its own first line", "[quick]") {
    if (!in_path("bash")) SKIP_TEST("no bash in PATH");
    for (const auto& [command, expected] : std::vector<std::pair<std::string, std::string>>{
             {"exit 0", "exit 0"},
             {"echo \"it's\" 'x y' | cat", "echo \"it's\" 'x y' | cat"},
             {"\n\n  : first\nexit 0", ": first …"},
             {"cat <<'END'\nx\nEND\n", "cat <<'END' …"},
             {": " + std::string(98, 'x'), ": " + std::string(98, 'x')},
             {": " + std::string(999, 'x'), ": " + std::string(98, 'x') + " …"},
             {": && eval ':' < /dev/null && pwd -P >| /dev/null",
              ": && eval ':' < /dev/null && pwd -P >| /dev/null"},
             {"''''" + std::string(98, 'x'), "''''" + std::string(96, 'x') + " …"},
             {"", "(empty)"},
             {": -x $(echo `echo y`) \\ %s ''", ": -x $(echo `echo y`) \\ %s ''"},
         }) {
        INFO(command);
        forget();
        play(command);
        CHECK(title() == expected);
    }
    // A bare word; as older versions quote it; and after what hooks put into CLAUDE_ENV_FILE.
    for (const char* text :
         {"true && eval true < /dev/null", "true && eval 'true' \\< /dev/null", "true && eval true",
          "export A=b && eval ':'\n: && { :; } || true && eval 'true'"}) {
        INFO(text);
        forget();
        run(call_of("source x 2>/dev/null || true && " + std::string(text) + " && pwd -P >| " +
                    in_quotes(cwd_file.string())),
            environment());
        CHECK(title() == "true");
    }
}

TEST_CASE_METHOD(ShellPrefix, "jobctl list --why says who ended a command of Claude Code's",
                 "[quick]") {
    if (!in_path("bash")) SKIP_TEST("no bash in PATH");
    SECTION("itself") {
        CHECK(play("exit 3").ended() == "exit 3");
        CHECK(why() == "    Exited with status 3.");
    }
    SECTION("nobody knows") {
        auto call = begin("touch ready; " + for_ever_in_shell);
        REQUIRE(wait_until([&] { return fs::exists(dir / "ready"); }));
        kill(worker_of(only()), SIGKILL);
        CHECK(call.wait().ended() == "SIGKILL");
        CHECK(why().starts_with("    Killed by SIGKILL; who sent it cannot be known"));
    }
    SECTION("Claude Code, which signals the group") {
        auto call = begin("touch ready; " + for_ever_in_shell);
        REQUIRE(wait_until([&] { return fs::exists(dir / "ready"); }));
        kill(-call.pid(), SIGTERM);
        CHECK(call.wait().ended() == "SIGTERM");
        CHECK(why().starts_with("    Killed by SIGTERM, sent by uid "));
        CHECK(contains(why(), "pid " + std::to_string(getpid()) + ","));
    }
    SECTION("a completed one needs no reason") {
        play("true");
        const auto list = ctl({"list", "--why", "--dir", records});
        CHECK(lines_of(list.out).size() == 2);
        CHECK(list.out == ctl({"list", "--dir", records}).out);
    }
}

TEST_CASE_METHOD(ShellPrefix, "nothing survives when Claude Code kills a command's group") {
    if (!in_path("bash")) SKIP_TEST("no bash in PATH");
    // The whole of it ignores SIGTERM.
    auto call = begin("trap '' TERM; sleep 600 & touch ready; wait; " + for_ever_in_shell);
    REQUIRE(wait_until([&] { return fs::exists(dir / "ready"); }));
    const auto record = only();
    const auto worker = worker_of(record);
    kill(-call.pid(), SIGTERM);
    CHECK(alive(worker));
    kill(-call.pid(), SIGKILL);
    CHECK(call.wait().ended() == "SIGKILL");
    CHECK(wait_until([&] { return living_descendants().empty(); }));
    // The shim was in that group.
    CHECK(contains(why(), "The shim died and the worker is gone"));
    CHECK(at(read_json(record), "/status") == "failed");
}

TEST_CASE_METHOD(ShellPrefix, "hooks and MCP servers run as without jobshim-shell", "[quick]") {
    if (!in_path("bash")) SKIP_TEST("no bash in PATH");
    const std::string hook =
        "echo \"it's $CLAUDE_PROJECT_DIR\"; cat; readlink /proc/$$/exe; exit 3";
    Options options = environment();
    options.env["CLAUDE_PROJECT_DIR"] = "/project";
    options.input = "{}\n";
    const auto bare = run({"/bin/sh", "-c", hook}, options);
    const auto with = run(call_of(hook, "/bin/sh"), options);
    CHECK(with.ended() == "exit 3");
    CHECK(with.out == bare.out);
    CHECK(with.err == "");
    const auto server = run({prefix, "printf '[%s]' 'a b' \"'\" c"}, options);
    CHECK(server.out == "[a b]['][c]");
    CHECK(all().empty());
}

TEST_CASE_METHOD(ShellPrefix, "a command runs all the same where it cannot be recorded",
                 "[quick]") {
    if (!in_path("bash")) SKIP_TEST("no bash in PATH");
    Options options = environment();
    const auto bin = prefix.parent_path();
    SECTION("no jobshim") { fs::remove(bin / "jobshim"); }
    SECTION("a jobshim for another machine") {
        fs::remove(bin / "jobshim");
        put(bin / "jobshim",
            "\x7f"
            "ELF\x02\x01\x01");
        fs::permissions(bin / "jobshim", fs::perms::owner_all);
    }
    SECTION("no place for records") {
        fs::create_directories(records.parent_path());
        put(records, "in the way");
    }
    SECTION("no home") {
        options.env["XDG_STATE_HOME"] = "";
        options.env["HOME"] = "";
    }
    const auto result = run(call_of(wrapped("echo out; [[ a == a ]]; exit 3")), options);
    CHECK(result.ended() == "exit 3");
    CHECK(result.out == "out\n");
    CHECK(result.err == "");
    CHECK(all().empty());
}

TEST_CASE_METHOD(ShellPrefix, "the records of commands that run at once do not mix") {
    if (!in_path("bash")) SKIP_TEST("no bash in PATH");
    constexpr int count = 20;
    std::vector<Process> calls;
    for (int i = 0; i < count; ++i)
        calls.push_back(begin("echo " + std::to_string(i) + "; exit " + std::to_string(i)));
    for (int i = 0; i < count; ++i) {
        const auto result = calls[static_cast<std::size_t>(i)].wait();
        CHECK(result.ended() == "exit " + std::to_string(i));
        CHECK(result.out == std::to_string(i) + "\n");
    }
    const auto files = all();
    CHECK(files.size() == count);
    for (const auto& file : files) {
        const auto record = read_json(file);
        const auto text = at(record, "/title").get<std::string>();
        CHECK(text.ends_with("exit " + at(record, "/jobshim/exit/code").dump()));
    }
}

TEST_CASE_METHOD(ShellPrefix, "jobshim-shell keeps the last 200 commands, and those that run") {
    if (!in_path("bash")) SKIP_TEST("no bash in PATH");
    play("true");
    // Older ones, and one that began before them and still runs.
    auto record = read_json(only());
    auto call = begin("touch ready; " + for_ever_in_shell);
    REQUIRE(wait_until([&] { return fs::exists(dir / "ready"); }));
    record["completedAt"] = "2020-01-01T00:00:00.000Z";
    for (int i = 0; i < 300; ++i)
        put(records / ("old-" + std::to_string(i) + ".json"), record.dump());
    // One in sixteen looks. So many in a row that do not are not to be expected.
    int played = 0;
    while (all().size() > 202 && played < 500) {
        play("exit 1");
        ++played;
    }
    INFO(played << " commands");
    CHECK(all().size() == 202);  // and the one that looked
    CHECK(names_in(records, "old-").size() <= 200);
    CHECK(call.running());
    CHECK(ctl({"list", "--status", "running", "--dir", records}).out.find("ready") !=
          std::string::npos);
    kill(-call.pid(), SIGTERM);
    call.wait();
}

TEST_CASE_METHOD(ShellPrefix, "the real Claude Code's commands under jobshim-shell", "[serial]") {
    const char* claude = std::getenv("CLAUDE_CODE");
    if (claude == nullptr)
        SKIP_TEST("CLAUDE_CODE names no Claude Code (npm install @anthropic-ai/claude-code)");
    const auto api_script = fixture("messages_api.mjs");
    if (!in_path("node") || !fs::exists(api_script))
        SKIP_TEST("no node, or no stand-in for the API");
    const fs::path home = dir / "home", work = dir / "work", tmp = dir / "tmp";
    for (const auto& path : {home / "config", work, tmp}) fs::create_directories(path);
    const auto bash = [](const std::string& command, bool in_background = false) {
        return Json{{"tool", "Bash"},
                    {"input", {{"command", command}, {"run_in_background", in_background}}}};
    };
    const Json stop{{"tool", "TaskStop"}, {"input", {{"task_id", R"({{with ID: (\w+)}})"}}}};
    Json late = bash("sleep 600; : late");
    late["input"]["timeout"] = 1500;
    put(dir / "scenario.json",
        Json{bash("cd /tmp; exit 3"), bash("sleep 600; : stopped", true), stop,
             bash("kill -9 $$; : killed behind", true), bash("kill -9 $$; : killed"), late}
            .dump());
    put(home / "config/settings.json",
        Json{{"env", {{"CLAUDE_CODE_SHELL_PREFIX", prefix}}},
             {"hooks",
              {{"PreToolUse",
                {{{"matcher", "Bash"},
                  {"hooks", {{{"type", "command"}, {"command", "echo \"$0\" >> ../hooks"}}}}}}}}}}
            .dump());
    Pipe end;
    auto api = spawn({"node", api_script, dir / "scenario.json", dir / "api.log"},
                     {.fds = {{0, end.read.get()}}});
    REQUIRE(wait_until([&] { return contains(api.out(), "\n"); }, 30s));
    const Words environment{"env",
                            "-i",
                            std::string("PATH=") + std::getenv("PATH"),
                            "HOME=" + home.string(),
                            "CLAUDE_CONFIG_DIR=" + (home / "config").string(),
                            "TMPDIR=" + tmp.string(),
                            "XDG_STATE_HOME=" + (dir / "state").string(),
                            "ANTHROPIC_API_KEY=dummy",
                            "ANTHROPIC_BASE_URL=http://127.0.0.1:" + lines_of(api.out()).front(),
                            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1",
                            "DISABLE_AUTOUPDATER=1",
                            "DISABLE_TELEMETRY=1",
                            "DISABLE_ERROR_REPORTING=1"};
    const auto session =
        run(joined({environment, {claude, "-p", "go", "--allowedTools", "Bash", "TaskStop"}}),
            {.cwd = work, .limit = 100s});
    INFO(session.out << session.err);
    CHECK(session.ended() == "exit 0");
    const auto list = ctl({"list", "--why", "--dir", records});
    INFO(list.out);
    std::map<std::string, std::string> reasons;  // by title
    for (const auto& each : ctl_json({"list", "--json", "--dir", records}))
        reasons[at(each, "/job/title").get<std::string>()] =
            at(each, "/verdict/because").get<std::string>();
    CHECK(reasons.size() == 5);  // no hooks
    CHECK(reasons["cd /tmp; exit 3"] == "Exited with status 3.");
    for (const char* title : {"sleep 600; : stopped", "sleep 600; : late"}) {
        CHECK(reasons[title].starts_with("Killed by SIGTERM, sent by uid "));
        CHECK(contains(reasons[title], ", claude)"));
    }
    for (const char* title : {"kill -9 $$; : killed", "kill -9 $$; : killed behind"})
        CHECK(reasons[title].starts_with("Killed by SIGKILL; who sent it cannot be known"));
    CHECK(lines_of(slurp(dir / "hooks")) == Words(5, "/bin/sh"));
    end.write.close();
    api.wait();
}
