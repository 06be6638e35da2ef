// What integration/claude-code/plugin/lib/preload.mjs does to a plugin's script, shown with a
// stand-in for it. companion_plugin_test.cpp does the same with the real one.
//
// JOBSHIM_TEST_NODES names more node binaries than the one in PATH, separated by `:`. Those without
// process.execve (before 22.15) take another way.

#include <signal.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>

#include "integration/support.hpp"

using namespace harness;

namespace {

const fs::path package = fixture("../claude-code/plugin");

Words nodes() {
    Words all;
    if (in_path("node")) all.emplace_back("node");
    const char* more = std::getenv("JOBSHIM_TEST_NODES");
    std::string list = more == nullptr ? "" : more;
    for (std::size_t at = 0; at < list.size();) {
        const auto end = std::min(list.find(':', at), list.size());
        if (end > at) all.push_back(list.substr(at, end - at));
        at = end + 1;
    }
    return all;
}

/// As a URL, and quoted for NODE_OPTIONS where it is meant for that.
std::string url_of(const fs::path& file) {
    std::string url = "file://";
    for (const unsigned char c : file.string()) {
        char escaped[4];
        std::snprintf(escaped, sizeof escaped, "%%%02X", c);
        url += std::isalnum(c) != 0 || c == '/' || c == '.' || c == '-' || c == '_'
                   ? std::string(1, static_cast<char>(c))
                   : escaped;
    }
    return url;
}

struct Preloaded : Sandbox {
    fs::path preload = package / "lib/preload.mjs";
    fs::path scripts = dir / "plug #1 %41 in? \xc3\xa9/scripts";
    std::string name = "codex-companion.mjs";
    const fs::path state = dir / "data/state/work-0123456789abcdef";
    std::map<std::string, std::string> env{{"CLAUDE_PLUGIN_DATA", dir / "data"},
                                           {"JOBSHIM", jobshim},
                                           {"JOBSHIM_OFF", ""},
                                           {"JOBSHIM_JOB_FILE", "/inherited"},
                                           {"NODE_OPTIONS", ""}};

    Preloaded() {
        fs::create_directories(dir / "work");
        fs::create_directories(scripts.parent_path());
        fs::copy(fixture("stand_in/scripts"), scripts, fs::copy_options::recursive);
    }

    Options options() const {
        Options all;
        all.env = env;
        all.cwd = dir / "work";
        return all;
    }
    Words command(const std::string& node, const Words& words) const {
        Words argv{node, "--no-deprecation", "--import=" + url_of(preload), scripts / name};
        argv.insert(argv.end(), words.begin(), words.end());
        return argv;
    }
    Result run_script(const std::string& node, const Words& words) {
        return run(command(node, words), options());
    }
    Json seen() const { return read_json(state / "seen.json"); }
    Json job_of_plugin(const std::string& id = "job-1") const {
        return read_json(state / "jobs" / (id + ".json"));
    }
    /// The only record that jobshim has made.
    Json own_record() const {
        auto names = names_in(state / "jobshim", ".json");
        // While the job runs, what it has reserved for the last record is there too.
        std::erase_if(names, [](const auto& each) { return each.starts_with('.'); });
        return names.size() == 1 ? read_json(state / "jobshim" / names.front()) : Json::object();
    }
    bool was_supervised() const {
        return fs::path(at(seen(), "/parent").get<std::string>()).filename() == "jobshim";
    }
    void forget() const { fs::remove_all(dir / "data"); }
    bool can_exec(const std::string& node) {
        return run({node, "-p", "typeof process.execve"}).out == "function\n";
    }
    Process start(const std::string& node, const Words& words) {
        auto process = spawn(command(node, words), options());
        REQUIRE(wait_until([&] { return contains(process.out(), "ready\n"); }, 30s));
        return process;
    }
};

}  // namespace

#define NEEDS_NODE \
    if (nodes().empty()) SKIP_TEST("no node in PATH")

TEST_CASE_METHOD(Preloaded, "preload: a foreground command becomes jobshim") {
    NEEDS_NODE;
    for (const auto& node : nodes()) {
        CAPTURE(node);
        forget();
        const std::string kept = "--no-warnings \"--title=a\\\"b c\"";
        env["NODE_OPTIONS"] = kept;
        Words words{"task", "--write", "", "a \"b' $x\n\\", "\xc3\xa9 # % ?", "exit 7"};
        auto how = options();
        how.input = "from stdin";
        auto process = spawn(command(node, words), how);
        const auto ended = process.wait();
        CHECK(ended.ended() == "exit 7");
        CHECK(ended.err == "");
        CHECK(was_supervised());
        const auto what = seen();
        CHECK(Json::parse(ended.out) == what);
        CHECK(at(what, "/argv") == Json(words));
        CHECK(at(what, "/input") == "from stdin");
        CHECK(at(what, "/execArgv") == Json({"--no-deprecation"}));
        CHECK(at(what, "/NODE_OPTIONS") == kept);
        CHECK(at(what, "/JOBSHIM_JOB_FILE") == nullptr);
        if (can_exec(node)) CHECK(at(what, "/ppid") == process.pid());
        CHECK(at(own_record(), "/jobshim/worker/pid") == at(what, "/pid"));
        CHECK(at(own_record(), "/jobshim/exit/code") == 7);

        // The same by NODE_OPTIONS, in any order and quoting; nothing of ours is left.
        const auto url = url_of(preload);
        for (const auto& [given, left] : std::map<std::string, Json>{
                 {"--import=" + url, nullptr},
                 {"  \"--import=" + url + "\"  ", nullptr},
                 {"--no-warnings --import " + url, "--no-warnings"},
                 {kept + " --import=\"" + url + "\" --trace-warnings", kept + " --trace-warnings"},
                 {"--import=" + url + " --import=" + url, nullptr}}) {
            CAPTURE(given);
            forget();
            env["NODE_OPTIONS"] = given;
            const auto again = run({node, scripts / name, "review", "exit 0"}, options());
            CHECK(again.ended() == "exit 0");
            CHECK(again.err == "");
            CHECK(was_supervised());
            CHECK(at(seen(), "/NODE_OPTIONS") == left);
            CHECK(at(own_record(), "/status") == "completed");
        }
        env["NODE_OPTIONS"] = "";
    }
}

TEST_CASE_METHOD(Preloaded, "preload: a path of its own that needs escapes, and its own jobshim") {
    NEEDS_NODE;
    const auto copy = dir / "pack #2 %41? \xc3\xa9";
    fs::create_directories(copy / "bin");
    fs::copy(package / "lib", copy / "lib", fs::copy_options::recursive);
    fs::create_symlink(jobshim, copy / "bin/jobshim");
    preload = copy / "lib/preload.mjs";
    env["JOBSHIM"] = "";
    for (const auto& node : nodes()) {
        CAPTURE(node);
        forget();
        CHECK(run_script(node, {"adversarial-review", "exit 0"}).ended() == "exit 0");
        CHECK(was_supervised());
        CHECK(at(seen(), "/parent") == (copy / "bin/jobshim").string());
        CHECK(at(seen(), "/execArgv") == Json({"--no-deprecation"}));
    }
}

TEST_CASE_METHOD(Preloaded, "preload: exit statuses and signals are the worker's", "[long]") {
    NEEDS_NODE;
    for (const auto& node : nodes()) {
        for (const std::string act : {"exit 0", "exit 1", "exit 255", "SIGTERM", "SIGINT", "SIGHUP",
                                      "SIGQUIT", "SIGUSR2", "SIGKILL", "SIGABRT", "SIGSEGV"}) {
            CAPTURE(node, act);
            forget();
            const auto ended = run_script(node, {"task", act});
            CHECK(ended.ended() == act);
            CHECK(ended.err == "");
            CHECK(was_supervised());
            if (act.starts_with("SIG"))
                CHECK(contains(at(job_of_plugin(), "/errorMessage").dump(), act));
        }
    }
}

TEST_CASE_METHOD(Preloaded, "preload: a signal reaches the worker once") {
    NEEDS_NODE;
    for (const auto& node : nodes()) {
        CAPTURE(node);
        forget();
        fs::remove(dir / "work/go");
        auto process = start(node, {"task", "listen"});
        const auto pid = at(seen(), "/pid").get<pid_t>();
        Words expected;
        for (const bool to_group : {false, true})
            for (const int signal : {SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGTERM}) {
                CAPTURE(to_group, signal);
                expected.push_back("got " + signal_name(signal));
                ::kill(to_group ? -process.pid() : process.pid(), signal);
                CHECK(wait_until(
                    [&] { return lines_of(process.out()).size() == expected.size() + 2; }));
            }
        ::kill(process.pid(), SIGTSTP);
        CHECK(wait_until([&] { return process_state(pid) == 'T'; }));
        ::kill(process.pid(), SIGCONT);
        CHECK(wait_until([&] { return process_state(pid) != 'T'; }));
        put(dir / "work/go", "");
        const auto ended = process.wait();
        CHECK(ended.ended() == "exit 5");
        CHECK(ended.err == "");
        auto lines = lines_of(ended.out);
        lines.erase(lines.begin(), lines.begin() + 2);
        CHECK(lines == expected);
    }
}

// As a tool's TaskStop does it: TERM to the group, and KILL after a second.
TEST_CASE_METHOD(Preloaded, "preload: the group is stopped, then killed") {
    NEEDS_NODE;
    for (const auto& node : nodes()) {
        CAPTURE(node);
        forget();
        auto process = start(node, {"task", "wait"});
        const auto pid = at(seen(), "/pid").get<pid_t>();
        ::kill(-process.pid(), SIGTERM);
        CHECK(wait_until([&] { return !alive(pid); }));
        ::kill(-process.pid(), SIGKILL);
        CHECK(process.wait().code() == -1);
        CHECK(wait_until([&] { return living_descendants().empty(); }));
        CHECK(ctl({"reap", "--companion", state}).ended() == "exit 0");
        CHECK(at(job_of_plugin(), "/status") == "failed");
        CHECK(at(own_record(), "/status") == "failed");
    }
}

TEST_CASE_METHOD(Preloaded, "preload: if node is only jobshim's shadow, the job outlives it") {
    NEEDS_NODE;
    for (const auto& node : nodes()) {
        if (can_exec(node)) continue;
        CAPTURE(node);
        forget();
        fs::remove(dir / "work/go");
        auto process = start(node, {"task", "wait"});
        process.kill(SIGKILL);
        CHECK(process.wait().ended() == "SIGKILL");
        CHECK(wait_until([&] { return at(own_record(), "/status") == "running"; }));
        put(dir / "work/go", "");
        CHECK(wait_until([&] { return at(own_record(), "/jobshim/exit/code") == 5; }));
        CHECK(wait_until([&] { return living_descendants().empty(); }));
        CHECK(at(job_of_plugin(), "/status") == "failed");
    }
}

TEST_CASE_METHOD(Preloaded, "preload: what is no foreground work runs as it is", "[long]") {
    NEEDS_NODE;
    for (const auto& node : nodes()) {
        CAPTURE(node);
        const auto check = [&](const Words& words, bool supervised) {
            CAPTURE(words);
            forget();
            const auto ended = run_script(node, words);
            CHECK(ended.ended() == "exit 3");
            CHECK(ended.err == "");
            CHECK(was_supervised() == supervised);
            CHECK(at(seen(), "/execArgv") == Json({"--no-deprecation"}));
            CHECK(at(seen(), "/JOBSHIM_JOB_FILE") == nullptr);
        };
        for (const auto& other : {"status", "cancel", "setup", "tasks", ""})
            check({other, "exit 3"}, false);
        check({"review", "--background", "exit 3"}, true);
        check({"review", "--background exit 3"}, true);
        check({"task", "do", "it", "in the --background", "exit 3"}, true);
        check({"task", "--", "--background", "exit 3"}, true);
        check({"task", "--background", "exit 3"}, false);
        check({"task", "--write --background exit 3"}, false);
        check({"task", "--background=false", "exit 3"}, true);
        check({"task", "--model", "--background", "exit 3"}, true);

        fs::copy_file(scripts / name, scripts / "other-companion.mjs");
        name = "other-companion.mjs";
        check({"task", "exit 3"}, true);
        check({"review", "--background", "exit 3"}, false);
        name = "companion.mjs";
        fs::copy_file(scripts / "other-companion.mjs", scripts / name);
        forget();
        CHECK(run_script(node, {"task", "exit 3"}).ended() == "exit 3");
        CHECK_FALSE(was_supervised());
        name = "codex-companion.mjs";
        for (const auto& file : {"other-companion.mjs", "companion.mjs"})
            fs::remove(scripts / file);
    }
}

TEST_CASE_METHOD(Preloaded, "preload: where something is missing, the plugin runs as it is",
                 "[long]") {
    NEEDS_NODE;
    for (const auto& node : nodes()) {
        CAPTURE(node);
        const auto usual = env;
        const auto check = [&](bool supervised) {
            forget();
            const auto ended = run_script(node, {"task", "exit 3"});
            CHECK(ended.ended() == "exit 3");
            CHECK(ended.err == "");
            CHECK(was_supervised() == supervised);
            env = usual;
        };
        check(true);
        env["JOBSHIM_OFF"] = "1";
        check(false);
        CHECK(at(seen(), "/JOBSHIM_JOB_FILE") == "/inherited");
        // No jobshim but one in a directory of PATH that is not an absolute path.
        const auto where = run({"sh", "-c", "command -v " + node}).out;
        fs::create_directories(dir / "tools");
        fs::create_symlink(lines_of(where).at(0), dir / "tools/node");
        fs::copy_file(jobshim, dir / "work/jobshim");
        env["JOBSHIM"] = "";
        env["PATH"] = (dir / "tools").string() + "::.";
        check(false);
        fs::create_symlink(jobshim, dir / "tools/jobshim");
        env["JOBSHIM"] = "";
        env["PATH"] = (dir / "tools").string();
        check(true);
        fs::remove_all(dir / "tools");
        fs::remove(dir / "work/jobshim");
        // A jobshim that cannot run here.
        auto program = slurp(jobshim);
        program[18] = static_cast<char>(0xf3);
        for (const auto& content : {program, std::string("echo > ") + (dir / "evil").string(),
                                    std::string("#!/no/such/interpreter\n"),
                                    std::string("#!/bin/sh\nexit 1\n"), std::string()}) {
            CAPTURE(content.substr(0, 30));
            put(dir / "bad", content);
            fs::permissions(dir / "bad", fs::perms::owner_all);
            env["JOBSHIM"] = dir / "bad";
            check(false);
        }
        CHECK_FALSE(fs::exists(dir / "evil"));
        for (const auto& not_one : {dir / "none", dir}) {
            env["JOBSHIM"] = not_one;
            check(false);
        }
        // A plugin that keeps its jobs in another way.
        const auto library = scripts / "lib/state.mjs";
        const auto text = slurp(library);
        put(library, text + "throw new Error('no');\n");
        forget();
        CHECK(run_script(node, {"task", "exit 3"}).ended() == "exit 1");
        put(library, text);
        fs::rename(scripts / "lib/tracked-jobs.mjs", scripts / "lib/jobs.mjs");
        check(false);
        fs::rename(scripts / "lib/jobs.mjs", scripts / "lib/tracked-jobs.mjs");
        // Somebody put jobshim in front himself.
        Words by_hand{jobshim, "--best-effort", "--companion", state, "--"};
        for (const auto& word : command(node, {"task", "exit 3"})) by_hand.push_back(word);
        forget();
        CHECK(run(by_hand, options()).ended() == "exit 3");
        CHECK(names_in(state / "jobshim", ".json").size() == 1);
    }
}

TEST_CASE_METHOD(Preloaded, "preload: a worker in the background") {
    NEEDS_NODE;
    for (const auto& node : nodes()) {
        for (const Words& words :
             {Words{"task", "--background", "start wait"}, {"task", "--background start wait"}}) {
            CAPTURE(node, words);
            forget();
            const auto ended = run_script(node, words);
            CHECK(ended.ended() == "exit 0");
            CHECK(ended.err == "");
            REQUIRE(wait_until([&] { return contains(slurp(state / "seen.json"), "}"); }));
            CHECK(was_supervised());
            CHECK(at(seen(), "/execArgv") == Json::array());
            CHECK(at(seen(), "/JOBSHIM_JOB_FILE") == nullptr);
            CHECK(at(seen(), "/NODE_OPTIONS").get<std::string>().empty());
            ::kill(at(seen(), "/pid").get<pid_t>(), SIGKILL);
            CHECK(wait_until([&] { return at(job_of_plugin("job-2"), "/status") == "failed"; }));
            CHECK(wait_until([&] { return living_descendants().empty(); }, 15s));
        }
    }
}

TEST_CASE_METHOD(Preloaded, "preload: the review that the stop gate waits for", "[long]") {
    NEEDS_NODE;
    name = "stop-review-gate-hook.mjs";
    for (const auto& node : nodes()) {
        CAPTURE(node);
        forget();
        auto ended = run_script(node, {"exit 4"});
        CHECK(ended.err == "");
        auto said = Json::parse(ended.out);
        CHECK(at(said, "/status") == 4);
        CHECK(at(said, "/stderr") == "");
        CHECK(Json::parse(at(said, "/stdout").get<std::string>()) == seen());
        CHECK(was_supervised());
        CHECK(at(seen(), "/argv") == Json({"task", "--json", "exit 4"}));
        CHECK(at(seen(), "/NODE_OPTIONS").get<std::string>().empty());

        // It has to have begun, so the time-out must not be too short.
        forget();
        const auto limit = stretched(5s).count();
        ended = run_script(node, {"wait", std::to_string(limit)});
        said = Json::parse(ended.out);
        CHECK(at(said, "/error") == "ETIMEDOUT");
        CHECK(at(said, "/signal") == "SIGTERM");
        CHECK(at(job_of_plugin(), "/status") == "failed");
        CHECK(contains(at(job_of_plugin(), "/errorMessage").dump(), "SIGTERM"));
        CHECK(wait_until([&] { return living_descendants().empty(); }));
    }
}
