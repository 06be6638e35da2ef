// On a terminal the shim is in its worker's process group, so a shell, make or a pipeline sees one
// job.

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <sstream>

#include "integration/support.hpp"

using namespace harness;

namespace {

constexpr const char *ctrl_c = "\x03", *ctrl_z = "\x1a", *ctrl_backslash = "\x1c";

/// Whether both, or neither, of a job's shim and worker are stopped.
bool both_stopped(pid_t shim, pid_t worker) {
    // The shell reports as soon as its own child has stopped.
    return wait_until([&] { return process_state(shim) == 'T' && process_state(worker) == 'T'; });
}
bool none_stopped(pid_t shim, pid_t worker) {
    return alive(shim) && alive(worker) && process_state(shim) != 'T' &&
           process_state(worker) != 'T';
}

class OnTerminal : public Sandbox {
public:
    OnTerminal() { put(dir / "counter", std::string(8, '\0')); }

    /// An interactive shell whose prompt is "ready> ".
    Terminal shell() {
        Terminal terminal(*this, {"bash", "--norc", "--noprofile", "-i"},
                          {{"PS1", "ready> "},
                           {"JOBSHIM", jobshim},
                           {"LISTENER", LISTENER_BIN},
                           {"HISTFILE", ""}});
        terminal.await("ready> ");
        return terminal;
    }
    /// Ends the shell, and checks its exit status.
    void leave(Terminal& terminal) {
        terminal.type("exit 0\n");
        CHECK(terminal.program.wait().ended() == "exit 0");
    }
    /// Waits until the shell's children have executed their programs: before that, a ^Z, which an
    /// interactive shell ignores, may be lost.
    void await_children(const Terminal& terminal) {
        REQUIRE(wait_until([&] {
            const auto children = children_of(terminal.program.pid());
            return terminal.foreground() != terminal.program.pid() &&
                   std::none_of(children.begin(), children.end(), [](pid_t child) {
                       return slurp("/proc/" + std::to_string(child) + "/comm") == "bash\n" &&
                              !contains(slurp("/proc/" + std::to_string(child) + "/cmdline"),
                                        "script");
                   });
        }));
    }
    /// Runs `fg` and waits until it returns.
    void bring_to_foreground(Terminal& terminal, pid_t shim, pid_t worker) {
        if (terminal.foreground() == terminal.program.pid()) terminal.type("fg\n");
        CHECK(wait_until([&] {
            return terminal.foreground() == process_stat(shim).group && none_stopped(shim, worker);
        }));
    }
    /// ^C, which ends the job and becomes the shell's status.
    void interrupt(Terminal& terminal) {
        terminal.type(ctrl_c);
        ctl({"wait", job});
        CHECK(terminal.status() == 130);
        CHECK(at(exit_of(job), "/signalName") == "SIGINT");
    }
};

bool no_bash() { return !in_path("bash"); }

}  // namespace

TEST_CASE_METHOD(OnTerminal, "a signal from the terminal reaches the worker exactly once") {
    if (no_bash()) SKIP_TEST("no bash in PATH");
    for (const std::string prefix :
         {"", "$JOBSHIM -j job.json -- ", "$JOBSHIM -j job.json --group own -- "}) {
        CAPTURE(prefix);
        auto terminal = shell();
        terminal.type("stty -echo\n");
        terminal.await("ready> ");
        terminal.type(prefix + "$LISTENER counter\n");
        terminal.await("ready");
        const auto children = children_of(terminal.program.pid());
        REQUIRE(children.size() == 1);
        // In a group of its own the worker gets the signals from the shim; otherwise from the
        // kernel.
        const bool own = contains(prefix, "own");
        const std::string sender = own ? std::to_string(children.front()) : std::string("0");
        terminal.type(ctrl_c);
        terminal.await("2 " + sender + " 0\r\n");
        terminal.type(ctrl_backslash);
        terminal.await("3 " + sender + " 0\r\n");
        terminal.type(ctrl_z);
        terminal.await("20 " + sender + " 0\r\n");
        terminal.resize(100, 30);
        terminal.await("28 " + sender + " 0\r\n");
        // Everything forwarded arrives before this, which the shim forwards last.
        kill(children.front(), SIGRTMAX);
        terminal.await("64 ");
        terminal.await("ready> ");
        Words heard;
        for (const auto& line : lines_of(terminal.printed()))
            if (!line.empty() && std::isdigit(static_cast<unsigned char>(line[0])) != 0)
                heard.push_back(line.substr(0, line.find(' ')));
        CHECK(heard == Words{"2", "3", "20", "28", "64"});
        leave(terminal);
    }
}

TEST_CASE_METHOD(OnTerminal, "a worker ended from the keyboard is reported as without the shim") {
    if (no_bash()) SKIP_TEST("no bash in PATH");
    for (const auto& [key, code, name] :
         {std::tuple{ctrl_c, 130, "SIGINT"}, {ctrl_backslash, 131, "SIGQUIT"}}) {
        auto terminal = shell();
        terminal.type("$JOBSHIM -j job.json -- sleep 600\n");
        worker_of(job);
        await_children(terminal);
        terminal.type(key);
        ctl({"wait", job});
        CHECK(terminal.status() == code);
        CHECK(at(exit_of(job), "/signalName") == name);
        CHECK(at(exit_of(job), "/requestedBy") == nullptr);
        CHECK(at(read_json(job), "/jobshim/worker/group") == "share");
        fs::remove(job);
        leave(terminal);
    }
}

TEST_CASE_METHOD(OnTerminal, "a job is stopped, continued and put in the background as one") {
    if (no_bash()) SKIP_TEST("no bash in PATH");
    auto terminal = shell();
    terminal.type("$JOBSHIM -j job.json -- cat\n");
    const auto worker = worker_of(job);
    const auto shim = shim_of(job);
    for (int round = 0; round < 3; ++round) {
        terminal.type("text " + std::to_string(round) + "\n");
        terminal.await("text " + std::to_string(round) + "\r\n");  // the echo
        terminal.await("text " + std::to_string(round) + "\r\n");
        terminal.type(ctrl_z);
        terminal.await("Stopped");
        CHECK(both_stopped(shim, worker));
        // In the background it may not read from the terminal: it stops again.
        terminal.type("bg\n");
        terminal.await("&");
        CHECK(both_stopped(shim, worker));
        // The stop seen above may have been the earlier one.
        terminal.type("until jobs | grep 'Stop[p]ed'; do sleep 0.02; done\n");
        terminal.await("Stopped");
        // grep, which printed it, may still be in the foreground.
        REQUIRE(wait_until([&] { return terminal.foreground() == terminal.program.pid(); }));
        bring_to_foreground(terminal, shim, worker);
    }
    terminal.type("\x04");  // end of file
    ctl({"wait", job});
    CHECK(at(exit_of(job), "/reason") == "success");

    // A worker that does not read runs on in the background until it is brought back and
    // interrupted.
    fs::remove(job);
    terminal.type("$JOBSHIM -j job.json -- sleep 600\n");
    const auto second = worker_of(job);
    const auto second_shim = shim_of(job);
    await_children(terminal);
    terminal.type(ctrl_z);
    terminal.await("Stopped");
    terminal.type("bg\n");
    CHECK(wait_until([&] { return none_stopped(second_shim, second); }));
    CHECK(ctl({"status", job}).ended() == "exit 3");
    bring_to_foreground(terminal, second_shim, second);
    interrupt(terminal);
    leave(terminal);
}

// As editors do: the program stops its whole group; and as with SIGSTOP, which stops only the
// worker.
TEST_CASE_METHOD(OnTerminal, "a worker that stops itself stops the job and is continued with it") {
    if (no_bash()) SKIP_TEST("no bash in PATH");
    for (const std::string how : {"kill -TSTP 0", "kill -STOP $$"}) {
        CAPTURE(how);
        auto terminal = shell();
        put(dir / "stop.sh", how + "; echo back; read word; " + how + "; exit 5");
        terminal.type("$JOBSHIM -j job.json -- sh stop.sh\n");
        terminal.await("Stopped");
        const auto worker = worker_of(job);
        const auto shim = shim_of(job);
        CHECK(both_stopped(shim, worker));
        bring_to_foreground(terminal, shim, worker);
        terminal.await("back");
        terminal.type("go on\n");
        terminal.await("Stopped");
        CHECK(both_stopped(shim, worker));
        terminal.type("fg\n");
        ctl({"wait", job});
        CHECK(terminal.status() == 5);
        fs::remove(job);
        leave(terminal);
    }
}

// The shim assumed that the worker had got the stop too, and neither stopped. Had it come a little
// later, the worker would have stopped before its exec, and the shim would have waited for it
// forever.
TEST_CASE_METHOD(OnTerminal, "a stop that comes before the worker is started stops the job") {
    if (no_bash()) SKIP_TEST("no bash in PATH");
    // A shim waits some seconds for the holder of byte 1: this looks as if a reader were at work. A
    // process-owned lock would be dropped by the next look at the file.
    put(heartbeat_of(job), "");
    const Fd heartbeat(open(heartbeat_of(job).c_str(), O_RDWR | O_CLOEXEC));
    struct flock byte {};
    byte.l_type = F_WRLCK;
    byte.l_whence = SEEK_SET;
    byte.l_start = 1;
    byte.l_len = 1;
    REQUIRE(fcntl(heartbeat.get(), F_OFD_SETLK, &byte) == 0);
    auto terminal = shell();
    terminal.type("$JOBSHIM -j job.json -- sleep 600\n");
    REQUIRE(wait_until([&] { return shim_lock_is_held(heartbeat_of(job)); }));
    await_children(terminal);
    terminal.type(ctrl_z);
    terminal.await("^Z");  // echoed once the signal is sent
    REQUIRE_FALSE(fs::exists(job));
    byte.l_type = F_UNLCK;
    REQUIRE(fcntl(heartbeat.get(), F_OFD_SETLK, &byte) == 0);
    terminal.await("Stopped");
    const auto worker = started_worker_of(job);
    CHECK(both_stopped(shim_of(job), worker));
    bring_to_foreground(terminal, shim_of(job), worker);
    interrupt(terminal);
    leave(terminal);
}

TEST_CASE_METHOD(OnTerminal, "a pipeline with jobshim in it is one job of the shell") {
    if (no_bash()) SKIP_TEST("no bash in PATH");
    for (const std::string line :
         {"$JOBSHIM -j job.json -- cat | tr a-z A-Z", "cat | $JOBSHIM -j job.json -- tr a-z A-Z",
          "$JOBSHIM -j other.json -- cat | $JOBSHIM -j job.json -- tr a-z A-Z"}) {
        CAPTURE(line);
        auto terminal = shell();
        terminal.type(line + "\n");
        const auto worker = worker_of(job);
        const auto shim = shim_of(job);
        await_children(terminal);
        terminal.type(ctrl_z);
        terminal.await("Stopped");
        CHECK(both_stopped(shim, worker));
        bring_to_foreground(terminal, shim, worker);
        terminal.type("some text\n\x04");
        terminal.await("SOME TEXT\r\n");
        ctl({"wait", job});
        CHECK(at(exit_of(job), "/reason") == "success");
        fs::remove(job);
        terminal.type(line + "\n");
        worker_of(job);
        await_children(terminal);
        interrupt(terminal);
        fs::remove(job);
        fs::remove(dir / "other.json");
        leave(terminal);
    }
}

TEST_CASE_METHOD(OnTerminal, "an interrupt ends make or a script together with its jobs") {
    if (no_bash() || !in_path("make")) SKIP_TEST("no bash or no make in PATH");
    put(dir / "Makefile",
        "all: one two\n"
        "one two: ; @$(JOBSHIM) -j $@.json -- sleep 600\n");
    put(dir / "script.sh", "$JOBSHIM -j one.json -- sleep 600\necho went on\n");
    for (const std::string line : {"make -j2", "bash script.sh", "sh script.sh"}) {
        CAPTURE(line);
        auto terminal = shell();
        terminal.type(line + "\n");
        Words files{"one.json"};
        if (contains(line, "make")) files.push_back("two.json");
        for (const auto& file : files) worker_of(dir / file);
        // They are stopped and continued as one, too.
        await_children(terminal);
        terminal.type(ctrl_z);
        terminal.await("Stopped");
        for (const auto& file : files)
            CHECK(both_stopped(shim_of(dir / file), worker_of(dir / file)));
        for (const auto& file : files)
            bring_to_foreground(terminal, shim_of(dir / file), worker_of(dir / file));
        terminal.type(ctrl_c);
        for (const auto& file : files) {
            ctl({"wait", dir / file});
            CHECK(at(exit_of(dir / file), "/signalName") == "SIGINT");
            fs::remove(dir / file);
        }
        CHECK(terminal.status() == 130);
        CHECK_FALSE(contains(terminal.printed(), "went on"));
        leave(terminal);
    }
}

TEST_CASE_METHOD(OnTerminal, "the requested group overrides the terminal") {
    if (no_bash()) SKIP_TEST("no bash in PATH");
    for (const std::string group : {"own", "share"}) {
        CAPTURE(group);
        auto terminal = shell();
        terminal.type("$JOBSHIM -j job.json --group " + group + " -- sleep 600\n");
        const auto worker = worker_of(job);
        await_children(terminal);
        CHECK((process_stat(worker).group == worker) == (group == "own"));
        CHECK(at(read_json(job), "/jobshim/worker/group") == group);
        interrupt(terminal);
        fs::remove(job);
        leave(terminal);
        // It is no error without a terminal either.
        const auto result = run_job(job, "exit 3", {"--group", group});
        CHECK(result.ended() == "exit 3");
        CHECK(result.err.empty());
        fs::remove(job);
    }
}

// ---- whole screens, in tmux

namespace {

class Screens : public Sandbox {
public:
    ~Screens() {
        if (started_) run(tmux({"kill-server"}));
    }

    struct Step {
        Words keys;          ///< as for tmux send-keys
        std::string expect;  ///< text that is then on the screen
        Words resize = {};   ///< columns and rows before the keys
    };

    /// What was on the screen after each step, and how the program ended.
    Words play(const Words& argv, const std::vector<Step>& steps, const Words* bare) {
        start(argv);
        Words seen;
        for (const Step& step : steps) {
            if (!step.resize.empty())
                run_tmux({"resize-window", "-t", "it", "-x", step.resize[0], "-y", step.resize[1]});
            if (!step.keys.empty()) {
                Words words{"send-keys", "-t", "it"};
                words.insert(words.end(), step.keys.begin(), step.keys.end());
                run_tmux(words);
            }
            // Bare run: wait until the expected text is there and nothing changes any more. With
            // the shim: wait until the screen is the same.
            std::string screen, before;
            wait_until([&] {
                before = std::exchange(screen, look());
                return bare != nullptr ? screen == bare->at(seen.size())
                                       : contains(screen, step.expect) && before == screen;
            });
            INFO("screen:\n" << screen);
            CHECK(contains(screen, step.expect));
            seen.push_back(screen);
        }
        run_tmux({"kill-server"});
        started_ = false;
        return seen;
    }

private:
    Words tmux(const Words& words) const {
        Words all{"tmux", "-S", dir / ("socket" + std::to_string(servers_)), "-f",
                  dir / "tmux.conf"};
        all.insert(all.end(), words.begin(), words.end());
        return all;
    }
    void run_tmux(const Words& words) {
        const auto result = run(tmux(words));
        INFO(Json(words).dump() << result.err);
        REQUIRE(result.ended() == "exit 0");
    }
    /// With no_numbers, numbers and what surrounds them are replaced by '#': times, loads, and
    /// their widths.
    std::string look() {
        const auto screen = run(tmux({"capture-pane", "-p", "-t", "it"})).out;
        if (!no_numbers) return screen;
        std::string text;
        for (const char c : screen) {
            const bool number = c == ' ' || c == '.' || c == ',' || c == ':' || c == '+' ||
                                std::isdigit(static_cast<unsigned char>(c)) != 0;
            if (!number)
                text += c;
            else if (!text.empty() && text.back() != '#')
                text += '#';
        }
        return text;
    }
    void start(const Words& argv) {
        ++servers_;
        put(dir / "tmux.conf", "set -g status off\n");
        Words words{"new-session", "-d", "-s", "it",
                    "-x",          "80", "-y", "24",
                    "--",          "sh", "-c", "trap : INT; \"$@\"; echo ended: $?; exec sleep 600",
                    "sh"};
        words.insert(words.end(), argv.begin(), argv.end());
        const auto result = run(tmux(words), {.env = {{"HOME", dir},
                                                      {"LC_ALL", "C.UTF-8"},
                                                      {"PS1", "ready> "},
                                                      {"LESSHISTFILE", "-"},
                                                      {"TMUX", ""}}});
        INFO(result.err);
        REQUIRE(result.ended() == "exit 0");
        started_ = true;
    }

    bool started_ = false;
    int servers_ = 0;  // a server that is ending blocks the next on its socket

public:
    bool no_numbers = false;
};

}  // namespace

TEST_CASE_METHOD(Screens, "full-screen programs look the same under jobshim", "[serial]") {
    if (!in_path("tmux")) SKIP_TEST("no tmux in PATH");
    std::string text;
    for (int n = 1; n <= 200; ++n) text += "line " + std::to_string(n) + "\n";
    put(dir / "text", text);
    const std::string python = fs::exists("/usr/bin/python3") ? "/usr/bin/python3" : "python3";
    struct Row {
        Words argv;
        std::vector<Step> steps;
        bool no_numbers = false;
    };
    const Row rows[] = {
        {{"vi", "-u", "NONE", "-n", "text"},
         {{{}, "line 1"},
          {{"i", "some words", "Escape"}, "some words"},
          {{"G"}, "line 200"},
          {{":set ruler", "Enter"}, "200,"},
          {{}, "line 200", {"100", "12"}},
          {{":cq", "Enter"}, "ended: 1"}}},
        {{"less", "text"},
         {{{}, "line 1"},
          {{"Space"}, "line 40"},
          {{"/line 150", "Enter"}, "line 150"},
          {{}, "line 150", {"60", "10"}},
          {{"G"}, "(END)"},
          {{"q"}, "ended: 0"}}},
        {{python, "-q"},
         {{{}, ">>>"},
          {{"6 * 7", "Enter"}, "42"},
          {{}, "42", {"90", "15"}},
          {{"import os; os.get_terminal_size()", "Enter"}, "lines=15"},
          {{"import time; print('now'); time.sleep(600)", "Enter"}, "\nnow"},
          {{"C-c"}, "KeyboardInterrupt\n>>>"},
          {{"exit(9)", "Enter"}, "ended: 9"}}},
        {{"bash", "--norc", "--noprofile", "-i"},
         {{{}, "ready>"},
          {{"PS1='ready> '; clear", "Enter"}, "ready>"},
          {{"sleep 600", "Enter"}, "sleep 600"},
          {{"C-z"}, "Stopped"},
          {{"fg", "Enter"}, "fg"},
          {{"C-c"}, "^C\nready>"},
          {{}, "ready>", {"70", "20"}},
          {{"stty size; echo $COLUMNS", "Enter"}, "20 70\n70"},
          {{"exit 6", "Enter"}, "ended: 6"}}},
        {{"top", "-d", "600", "-p", "1"},
         {{{}, "COMMAND"}, {{"h"}, "Help"}, {{"Escape"}, "COMMAND"}, {{"q"}, "ended#"}},
         true},
        {{"sh", "-c", "seq 300 | less"}, {{{}, "20"}, {{"G"}, "300"}, {{"q"}, "ended: 0"}}},
    };
    std::cout << "program    screens  the same\n";
    for (const auto& [argv, steps, numbers_vary] : rows) {
        CAPTURE(argv[0]);
        if (!in_path(argv[0]) && !fs::exists(argv[0])) {
            WARN(argv[0] << ": not in PATH, left out");
            continue;
        }
        no_numbers = numbers_vary;
        const auto bare = play(argv, steps, nullptr);
        Words shimmed{jobshim, "-j", job, "--"};
        shimmed.insert(shimmed.end(), argv.begin(), argv.end());
        const auto seen = play(shimmed, steps, &bare);
        int same = 0;
        for (std::size_t n = 0; n < bare.size(); ++n) {
            CAPTURE(n);
            CHECK(seen.at(n) == bare[n]);
            same += seen.at(n) == bare[n] ? 1 : 0;
        }
        std::cout << argv[0] << ": " << bare.size() << " " << same << "\n";
    }
}
