// Completion: what `jobctl __complete` offers, and what bash, zsh and fish make of it when somebody
// presses Tab.

#include <sys/resource.h>

#include <algorithm>
#include <set>

#include "integration/support.hpp"

using namespace harness;

namespace {

using Names = std::set<std::string>;

/// What is offered for the last word of a line.
struct Offered {
    Words words;
    std::map<std::string, std::string> help;
    std::string rest;  ///< the last line: ":4"
};

Offered complete(Sandbox& box, const Words& line) {
    const auto result = box.ctl(joined({{"__complete"}, line}));
    INFO("completed: " << Json(line).dump() << "\nprinted: " << result.out);
    REQUIRE(result.ended() == "exit 0");
    CHECK(result.err.empty());
    Offered offered;
    for (const auto& each : lines_of(result.out)) {
        const auto tab = each.find('\t');
        const auto word = each.substr(0, tab);
        if (tab != std::string::npos) offered.help[word] = each.substr(tab + 1);
        offered.words.push_back(word);
    }
    REQUIRE_FALSE(offered.words.empty());
    offered.rest = offered.words.back();
    offered.words.pop_back();
    return offered;
}

/// The same, once so many candidates are described: jobctl takes little time for that.
Offered complete_described(Sandbox& box, const Words& line, std::size_t described) {
    Offered offered;
    REQUIRE(wait_until([&] {
        offered = complete(box, line);
        return offered.help.size() == described;
    }));
    return offered;
}

/// What all children that have been reaped have used of the processor.
Milliseconds time_of_children() {
    rusage used{};
    REQUIRE(getrusage(RUSAGE_CHILDREN, &used) == 0);
    const auto of = [](const timeval& time) {
        return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
    };
    return std::chrono::duration_cast<Milliseconds>(of(used.ru_utime) + of(used.ru_stime));
}

Names set_of(const Words& words) { return {words.begin(), words.end()}; }

/// The names in the options' lines of a help text: "  -f,--follow      Keep printing".
Names options_in(const std::string& help) {
    Names names;
    for (const auto& line : lines_of(help)) {
        if (!line.starts_with("  -")) continue;
        std::string all = line.substr(2, line.find(' ', 2) - 2);
        std::replace(all.begin(), all.end(), ',', '\n');
        for (const auto& name : lines_of(all)) names.insert(name);
    }
    return names;
}

Names commands_in(const std::string& help) {
    Names names;
    bool is_list = false;
    for (const auto& line : lines_of(help)) {
        if (is_list && line.starts_with("  ")) names.insert(line.substr(2, line.find(' ', 2) - 2));
        is_list = line.ends_with("ommands:") || (is_list && !line.empty());
    }
    return names;
}

/// Jobs whose names and titles would do harm if a shell, or a terminal, believed them.
class Jobs : public Sandbox {
public:
    Jobs() {
        add("job-a", "nightly build");
        add("my job", "words");
        add("it's \"q\"", "quotes");
        add("co:lon", "%F{red}%n");
        add("-dash", "a dash");
        add("$(touch pwned)", "`touch pwned` $(touch pwned)");
        add("evil", "evil\x1b[35;7m\ttab\nand a line");
        add("new\nline", "two lines");
        add("esc\x1b[35;7m", "colours");
        add("rtl\u202e", "from right to left");
        put(dir / "first.json", "{}");
        fs::create_directory(dir / "my folder");
        put(dir / "my folder/only-here.json", "{}");
    }
    void add(const std::string& name, const std::string& title,
             const std::string& status = "completed") {
        fs::create_directories(jobs);
        put(jobs / (name + ".json"),
            Json{{"id", "id"}, {"status", status}, {"title", title}, {"command", {"true"}}}.dump());
    }
    const fs::path jobs = dir / "state/jobshim/jobs";
};

}  // namespace

TEST_CASE_METHOD(Sandbox, "what a help text lists is completed and nothing else", "[quick]") {
    const auto commands = commands_in(ctl({"--help"}).out);
    CHECK(commands.size() > 10);
    CHECK(set_of(complete(*this, {"jobctl", ""}).words) == commands);
    CHECK(set_of(complete(*this, {"jobctl", "-"}).words) == options_in(ctl({"--help"}).out));
    for (const auto& command : commands) {
        CAPTURE(command);
        const auto options = options_in(ctl({command, "--help"}).out);
        CHECK(options.count("--help") == 1);
        CHECK(set_of(complete(*this, {"jobctl", command, "-"}).words) == options);
    }
    const auto options = options_in(run_shim({"--help"}).out);
    CHECK(options.count("--on-shim-death") == 1);
    CHECK(set_of(complete(*this, {"jobshim", "-"}).words) == options);
}

TEST_CASE_METHOD(Sandbox, "what is completed depends on what stands before it", "[quick]") {
    const Words shells{"bash", "zsh", "fish"};
    const Words verdicts{"queued",  "running",   "stalled", "orphaned", "lost",
                         "unknown", "completed", "failed",  "cancelled"};
    struct Row {
        Words line, words;
        std::string rest;
    };
    for (const Row& row : std::vector<Row>{
             {{"jobctl", "st"}, {"status"}, ":4"},
             {{"jobctl", "--version", ""}, {}, ":4"},
             {{"jobctl", "no-command", ""}, {}, ":4"},
             {{"jobctl", "completion", ""}, shells, ":4"},
             {{"jobctl", "completion", "bash", "--"}, {"--help"}, ":4"},
             {{"jobctl", "list", "--status", ""}, verdicts, ":4"},
             {{"jobctl", "list", "--status", "c"}, {"completed", "cancelled"}, ":4"},
             {{"jobctl", "list", "--status=f"}, {"--status=failed"}, ":4"},
             {{"jobctl", "list", "--status", "lost", "--stat"}, {"--status"}, ":4"},
             {{"jobctl", "list", "--wa"}, {"--watch"}, ":4"},
             {{"jobctl", "list", "--watch", "--wa"}, {}, ":4"},
             {{"jobctl", "list", "--companion", "x", "--wa"}, {}, ":4"},
             {{"jobctl", "list", "--dir", ""}, {}, ":16"},
             {{"jobctl", "list", "--dir=x"}, {}, ":16"},
             {{"jobctl", "settle", "x", "--as", ""}, {"failed", "cancelled"}, ":4"},
             {{"jobctl", "cancel", "--signal", "TER"}, {"TERM"}, ":4"},
             {{"jobctl", "cancel", "--signal", "SIGTER"}, {"SIGTERM"}, ":4"},
             {{"jobctl", "cancel", "--reason", ""}, {}, ":4"},
             {{"jobctl", "cancel", "--kill-after", ""}, {}, ":4"},
             {{"jobctl", "status", ""}, {}, ":0"},
             {{"jobctl", "status", "./x"}, {}, ":0"},
             {{"jobctl", "status", "--companion", "x", ""}, {}, ":4"},
             {{"jobshim", "--lo"}, {"--log"}, ":4"},
             {{"jobshim", "--log", ""}, {}, ":0"},
             {{"jobshim", "--log=x"}, {}, ":0"},
             {{"jobshim", "--companion", ""}, {}, ":16"},
             {{"jobshim", "--on-shim-death", ""}, {"kill", "keep"}, ":4"},
             {{"jobshim", "--group=s"}, {"--group=share"}, ":4"},
             {{"jobshim", "--id", "x", "--id"}, {}, ":4"},
             {{"jobshim", ""}, {}, ":command 1"},
             {{"jobshim", "ls", "-"}, {}, ":command 1"},
             {{"jobshim", "-jx", "ls", ""}, {}, ":command 2"},
             {{"jobshim", "--log", "x", "ls", ""}, {}, ":command 3"},
             {{"jobshim", "--log=x", "--", ""}, {}, ":command 3"},
             {{"jobshim", "--detach", "--", "--x"}, {}, ":command 3"},
             {{"jobshim", "--", "ls", "--", ""}, {}, ":command 2"},
         }) {
        INFO("line: " << Json(row.line).dump());
        const auto offered = complete(*this, row.line);
        CHECK(offered.words == row.words);
        CHECK(offered.rest == row.rest);
    }
    CHECK(contains(complete(*this, {"jobshim", "--lo"}).help["--log"], "stdout"));
}

TEST_CASE_METHOD(Jobs, "jobs are completed with state and title and the last active first",
                 "[quick]") {
    for (const auto& entry : fs::directory_iterator(jobs)) fs::remove(entry);
    add("old", "an old one", "failed");
    fs::last_write_time(jobs / "old.json",
                        fs::file_time_type::clock::now() - std::chrono::hours(1));
    auto live = start_job(jobs / "live.json", until_go, {"--title", "a live one"});
    worker_of(jobs / "live.json");
    auto dead = start_job(jobs / "dead.json", for_ever, {"--title", "a dead one"});
    kill_shim(dead, jobs / "dead.json");
    fs::last_write_time(jobs / "live.json",
                        fs::file_time_type::clock::now() - std::chrono::hours(2));
    REQUIRE(wait_until([&] {
        return complete(*this, {"jobctl", "status", "dead"}).help["dead"] == "lost: a dead one";
    }));
    const auto before = names_in(jobs, "");
    const auto record = slurp(jobs / "dead.json");
    const auto offered = complete_described(*this, {"jobctl", "status", ""}, 3);
    CHECK(set_of(offered.words) == Names{"live", "dead", "old"});
    CHECK(offered.words.back() == "old");
    CHECK(offered.help.at("live") == "running: a live one");
    CHECK(offered.help.at("old") == "failed: an old one");
    // Nothing is settled, and nothing is left behind.
    CHECK(slurp(jobs / "dead.json") == record);
    CHECK(names_in(jobs, "") == before);
    CHECK(complete(*this, {"jobctl", "status", "live", "dead", ""}).words == Words{"old"});
    CHECK(complete(*this, {"jobctl", "status", "--dir", jobs, "o"}).words == Words{"old"});
    CHECK(complete(*this, {"jobctl", "status", "--dir=" + dir.string(), "fir"}).words ==
          Words{"first"});
    put(dir / "go", "");
    live.wait();
    ctl({"reap"});
}

TEST_CASE_METHOD(Jobs, "names and titles that could deceive are not completed", "[quick]") {
    const auto offered = complete_described(*this, {"jobctl", "status", ""}, 6);
    CHECK(set_of(offered.words) ==
          Names{"job-a", "my job", "it's \"q\"", "co:lon", "$(touch pwned)", "evil"});
    CHECK(offered.help.at("evil") == "completed: evil\uFFFD[35;7m\uFFFDtab\uFFFDand a line");
    // It would be taken for an option.
    CHECK(complete(*this, {"jobctl", "status", "--", "-"}).words == Words{"-dash"});
}

TEST_CASE_METHOD(Sandbox, "what cannot be read completes nothing and says nothing", "[quick]") {
    const auto jobs = dir / "jobs";
    fs::create_directory(jobs);
    put(jobs / "torn.json", "{\"id\": ");
    put(jobs / "array.json", "[]");
    put(jobs / "large.json", "{\"title\": \"" + std::string(200'000, 'x') + "\"}");
    fs::create_symlink("nowhere", jobs / "link.json");
    fs::create_directory(jobs / "directory.json");
    CHECK(run({"mkfifo", jobs / "fifo.json"}).code() == 0);
    const auto offered = complete(*this, {"jobctl", "status", "--dir", jobs, ""});
    CHECK(offered.words.size() == 6);
    CHECK(offered.help.empty());
    put(jobs / "file", "");
    for (const fs::path& place : {jobs / "file", jobs / "none", fs::path("/proc/1/fd")})
        CHECK(complete(*this, {"jobctl", "status", "--dir", place, ""}).words.empty());
    const auto result = ctl({"__complete", "jobctl", "status", ""},
                            {.env = {{"XDG_STATE_HOME", ""}, {"HOME", ""}}});
    CHECK(result.out == ":0\n");
    CHECK(result.err.empty());
}

// The processor's time, because it waits for nothing, and other processes stretch the clock's.
TEST_CASE_METHOD(Sandbox, "ten thousand jobs are completed within 50 ms", "[serial]") {
    if (is_sanitized()) SKIP_TEST("the programs are sanitized");
    const auto jobs = dir / "jobs";
    fs::create_directory(jobs);
    run_job(jobs / "first.json", "true", {"--title", "one of many"});
    const auto record = slurp(jobs / "first.json");
    for (int i = 1; i < 10'000; ++i) put(jobs / ("job-" + std::to_string(i) + ".json"), record);
    std::vector<Milliseconds> times;
    for (int i = 0; i < 5; ++i) {
        const auto before = time_of_children();
        const auto result = ctl({"__complete", "jobctl", "status", "--dir", jobs, ""});
        const auto lines = lines_of(result.out);
        CHECK(lines.size() == 10'001);
        CHECK(std::count_if(lines.begin(), lines.end(), [](const std::string& line) {
                  return contains(line, "\tcompleted: one of many");
              }) == 50);
        times.push_back(time_of_children() - before);
    }
    CHECK(*std::min_element(times.begin(), times.end()) < 50ms);
}

// ---- the shells themselves, with the scripts as packages install them, and as users read them

namespace {

/// A shell in which `jobctl` and `jobshim` are functions that print their arguments, so that a test
/// sees what a completed line means.
class Shells : public Jobs {
public:
    Terminal start(const Words& argv, const Words& commands, const std::string& type = "dumb") {
        const std::string path =
            fs::path(jobctl).parent_path().string() + ":" + std::getenv("PATH");
        // Fish keeps its history in the home directory, and zsh what it knows of its functions.
        Terminal terminal(*this, argv,
                          {{"PATH", path},
                           {"HOME", dir},
                           {"XDG_DATA_HOME", dir / "data"},
                           {"XDG_CONFIG_HOME", dir / "config"},
                           {"XDG_CACHE_HOME", dir / "cache"},
                           {"LC_ALL", "C.UTF-8"},
                           {"TERM", type},
                           {"HISTFILE", ""}});
        terminal.resize(120, 40);
        for (const auto& command : commands) terminal.type(command + "\n");
        terminal.type("echo com''ing\n");
        terminal.await("coming");
        return terminal;
    }
    /// Types this and Tab, and waits until the line, once entered, means these words.
    static void check(Terminal& terminal, const std::string& typed, const Words& means) {
        CAPTURE(typed);
        std::string printed;
        for (const auto& word : means) printed += "<" + word + ">";
        terminal.type(typed + "\t\n");
        terminal.await(printed + "\r\n");
    }
    void check_all(Terminal& terminal, bool knows_other_commands) {
        check(terminal, "jobctl stat", {"status"});
        check(terminal, "jobctl cancel --sig", {"cancel", "--signal"});
        check(terminal, "jobctl cancel --signal SIGTE", {"cancel", "--signal", "SIGTERM"});
        check(terminal, "jobctl list --status=com", {"list", "--status=completed"});
        check(terminal, "jobctl status job-", {"status", "job-a"});
        check(terminal, "jobctl status my", {"status", "my job"});
        check(terminal, "jobctl status my\\ j", {"status", "my job"});
        check(terminal, "jobctl status \"my", {"status", "my job"});
        check(terminal, "jobctl status 'my j", {"status", "my job"});
        check(terminal, "jobctl status it", {"status", "it's \"q\""});
        check(terminal, "jobctl status \"it", {"status", "it's \"q\""});
        check(terminal, "jobctl status 'it", {"status", "it's \"q\""});
        check(terminal, "jobctl status co", {"status", "co:lon"});
        check(terminal, "jobctl status co:l", {"status", "co:lon"});
        check(terminal, "jobctl status -- -d", {"status", "--", "-dash"});
        check(terminal, "jobctl status \\$", {"status", "$(touch pwned)"});
        check(terminal, "jobctl status '$", {"status", "$(touch pwned)"});
        check(terminal, "jobctl status \"my job\" ev", {"status", "my job", "evil"});
        check(terminal, "jobctl status firs", {"status", "first.json"});
        check(terminal, "jobctl status ./firs", {"status", "./first.json"});
        check(terminal, "jobctl status './firs", {"status", "./first.json"});
        const Words elsewhere{"status", "--dir", "my folder", "only-here"};
        check(terminal, "jobctl status --dir 'my folder' on", elsewhere);
        check(terminal, "jobctl status --dir my\\ folder on", elsewhere);
        check(terminal, "true; jobctl stat", {"status"});
        check(terminal, "jobshim --on-shim-death ke", {"--on-shim-death", "keep"});
        check(terminal, "jobshim --log firs", {"--log", "first.json"});
        check(terminal, "jobshim --log=firs", {"--log=first.json"});
        check(terminal, "jobshim -- mkfif", {"--", "mkfifo"});
        check(terminal, "jobshim --id=x mkfif", {"--id=x", "mkfifo"});
        check(terminal, "jobshim -- ls firs", {"--", "ls", "first.json"});
        if (knows_other_commands) {
            check(terminal, "jobshim --id=x --log 'y z' -- jobctl resu",
                  {"--id=x", "--log", "y z", "--", "jobctl", "result"});
            check(terminal, "jobshim jobctl status my", {"jobctl", "status", "my job"});
            check(terminal, "jobshim jobctl status --dir 'my folder' on",
                  joined({{"jobctl"}, elsewhere}));
        }
        // What is on the line is not run because somebody presses Tab.
        const Words lines{"jobctl status $(touch pwned) my",
                          "jobctl status $(touch pwned",
                          "jobctl `touch pwned`",
                          "jobctl list --dir \"$(touch pwned)\" --status=c",
                          "jobshim --log=$(touch pwned) --id ",
                          "jobshim -- $(touch pwned) ",
                          "jobctl status <(touch pwned) "};
        for (const auto& line : lines) terminal.type(line + "\t\t\x15");  // Tab twice, then ^U
        check(terminal, "jobctl stat", {"status"});
        CHECK_FALSE(fs::exists(dir / "pwned"));
    }
    /// The list that appears on two Tabs.
    static void check_list(Terminal& terminal) {
        terminal.type("jobctl status \t\t");
        terminal.await("completed: nightly build");
        CHECK_FALSE(contains(terminal.printed(), "\x1b[35;7m"));
        terminal.type("\x15");
        check(terminal, "jobctl stat", {"status"});
    }
    void leave(Terminal& terminal) {
        terminal.type("exit 0\n");
        CHECK(terminal.program.wait().ended() == "exit 0");
        CHECK_FALSE(fs::exists(dir / "pwned"));
    }
};

const Words posix_functions{"jobctl() { printf '<%s>' \"$@\"; echo; }",
                            "jobshim() { printf '<%s>' \"$@\"; echo; }"};
const std::string bash_package = "/usr/share/bash-completion/bash_completion";

}  // namespace

TEST_CASE_METHOD(Shells, "completion in bash") {
    if (!in_path("bash")) SKIP_TEST("no bash in PATH");
    auto terminal =
        start({"bash", "--norc", "--noprofile", "-i"},
              joined({{"set -u", "eval \"$(jobctl completion bash)\""}, posix_functions}));
    check_all(terminal, false);
    check_list(terminal);
    leave(terminal);
}

TEST_CASE_METHOD(Shells, "completion in bash with the package bash-completion") {
    if (!in_path("bash")) SKIP_TEST("no bash in PATH");
    if (!fs::exists(bash_package)) SKIP_TEST("the package bash-completion is not installed");
    const std::string folder = "data/bash-completion/completions";
    for (const Words& commands :
         {Words{"mkdir -p " + folder, "command jobctl completion bash > " + folder + "/jobctl",
                "ln -s jobctl " + folder + "/jobshim", ". " + bash_package},
          Words{". " + bash_package, "eval \"$(command jobctl completion bash)\""}}) {
        auto terminal =
            start({"bash", "--norc", "--noprofile", "-i"}, joined({commands, posix_functions}));
        check_all(terminal, true);
        check_list(terminal);
        leave(terminal);
    }
}

TEST_CASE_METHOD(Shells, "completion in zsh") {
    if (!in_path("zsh")) SKIP_TEST("no zsh in PATH");
    // Zsh's own Tab expands first, which runs what is between $( and ).
    const std::string init = "autoload -Uz compinit; compinit -D -u; bindkey '^I' complete-word";
    for (const Words& commands :
         {Words{"mkdir functions; command jobctl completion zsh > functions/_jobctl",
                "fpath=($PWD/functions $fpath)", init},
          Words{init, "eval \"$(command jobctl completion zsh)\""}}) {
        auto terminal = start({"zsh", "-f", "-i"}, joined({commands, posix_functions}));
        check_all(terminal, true);
        check_list(terminal);
        leave(terminal);
    }
}

TEST_CASE_METHOD(Shells, "completion in fish") {
    if (!in_path("fish")) SKIP_TEST("no fish in PATH");
    for (const Words& commands :
         {Words{"mkdir completions; command jobctl completion fish > completions/jobctl.fish",
                "ln -s jobctl.fish completions/jobshim.fish",
                "set fish_complete_path $PWD/completions $fish_complete_path"},
          Words{"command jobctl completion fish | source"}}) {
        auto terminal = start({"fish", "--no-config", "-i"},
                              joined({commands,
                                      {"function jobctl; printf '<%s>' $argv; echo; end",
                                       "function jobshim; printf '<%s>' $argv; echo; end"}}),
                              "xterm");
        check_all(terminal, true);
        check_list(terminal);
        leave(terminal);
    }
}
