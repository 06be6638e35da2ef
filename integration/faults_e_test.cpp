// Small faults, each of which a user has met. Each test tells its story.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "integration/strace.hpp"
#include "integration/support.hpp"
#include "integration/support/error.hpp"

using namespace harness;

namespace {

// For before_exec: a stack of 64 KiB.
void shrink_stack() {
    const rlimit small{64 << 10, 64 << 10};
    must(setrlimit(RLIMIT_STACK, &small), "setrlimit");
}

// A pseudoterminal of this size.
class Screen {
public:
    Screen(unsigned short rows, unsigned short columns)
        : master_(checked(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), "posix_openpt")) {
        checked(grantpt(master_.get()), "grantpt");
        checked(unlockpt(master_.get()), "unlockpt");
        const winsize size{rows, columns, 0, 0};
        checked(ioctl(master_.get(), TIOCSWINSZ, &size), "set the size of the terminal");
        slave_ = Fd(checked(open(ptsname(master_.get()), O_RDWR | O_NOCTTY | O_CLOEXEC), "open"));
    }
    int slave() const { return slave_.get(); }
    // Everything that was written to it so far.
    const std::string& text() {
        pollfd readable{master_.get(), POLLIN, 0};
        char block[4096];
        while (poll(&readable, 1, 0) > 0 && (readable.revents & POLLIN) != 0) {
            const auto got = read(master_.get(), block, sizeof block);
            if (got <= 0) break;
            text_.append(block, static_cast<std::size_t>(got));
        }
        return text_;
    }

private:
    Fd master_, slave_;
    std::string text_;
};

}  // namespace

// ---------------------------------------------------------------------------------------------
// jobctl cancel

// Its siblings take several jobs; cancel took one, and a loop around it waited for each in turn.
TEST_CASE_METHOD(Sandbox, "cancel takes several jobs and asks all of them at once",
                 "[quick][libc]") {
    const auto a = dir / "a.json", b = dir / "b.json", done = dir / "done.json";
    REQUIRE(run_job(done, "exit 0").ended() == "exit 0");
    // Each ends only once both have been asked.
    const auto stubborn = [](const std::string& own, const std::string& other) {
        return "trap 'touch " + own + "; until [ -e " + other +
               " ]; do sleep 0.02; done; exit 1' TERM; touch ready-" + own + "; " +
               for_ever_in_shell;
    };
    auto first = start_job(a, stubborn("a-asked", "b-asked"), {"--kill-after", "0"});
    auto second = start_job(b, stubborn("b-asked", "a-asked"), {"--kill-after", "0"});
    REQUIRE(wait_until(
        [&] { return fs::exists(dir / "ready-a-asked") && fs::exists(dir / "ready-b-asked"); }));
    const auto ended =
        ctl({"cancel", "--json", "--reason", "enough", a, done, dir / "none.json", b, "./a.json"});
    INFO(ended.err);
    CHECK(ended.ended() == "exit 4");
    const auto reports = Json::parse(ended.out);
    REQUIRE(reports.size() == 3);  // each job once
    CHECK(at(reports, "/0/status") == "cancelled");
    CHECK(at(reports, "/1/status") == "completed");
    CHECK(at(reports, "/2/status") == "cancelled");
    CHECK(contains(ended.err, "done.json: had already ended"));
    CHECK(contains(ended.err, "none.json: no such job"));
    for (const auto& file : {a, b}) {
        CHECK(at(read_json(file), "/jobshim/cancel/reason") == "enough");
        CHECK(names_in(dir, file.filename().string() + ".cancel").empty());
    }
    first.wait();
    second.wait();
    // Again: both are cancelled already, which is what was wanted.
    const auto again = ctl({"cancel", a, b});
    CHECK(again.ended() == "exit 0");
    CHECK(lines_of(again.out).size() == 2);
}

TEST_CASE_METHOD(Sandbox, "the status of cancel with several jobs is the gravest", "[quick]") {
    const auto a = dir / "a.json", b = dir / "b.json", broken = dir / "broken.json";
    put(broken, R"({"id":"broken","status":"running"})");  // unknown: it had no shim
    const auto ignores = "trap '' TERM; touch ready; " + for_ever_in_shell;
    auto stubborn = start_job(a, ignores);
    auto other = start_job(b, for_ever);
    worker_of(b);
    REQUIRE(wait_until([&] { return fs::exists(dir / "ready"); }));
    const auto late = ctl({"cancel", "--kill-after", "0", "--timeout", "300ms", broken, a, b});
    INFO(late.err);
    CHECK(late.ended() == "exit 124");
    CHECK(contains(late.out, "b  cancelled"));
    CHECK(contains(late.out, "broken  unknown"));
    CHECK(other.wait().code() != 0);
    CHECK(ctl({"cancel", b, broken}).ended() == "exit 6");
    // A link of somebody's that leads nowhere does not keep the others from being cancelled.
    fs::create_symlink("loop.json", dir / "loop.json");
    const auto own = ctl({"cancel", "--kill-after", "100ms", dir / "loop.json", a});
    CHECK(own.ended() == "exit 125");
    CHECK(contains(own.out, "a  cancelled"));
    CHECK(stubborn.wait().ended() == "SIGKILL");
    CHECK(ctl({"cancel"}).ended() == "exit 2");
}

TEST_CASE_METHOD(Sandbox, "an ambiguous name keeps cancel from ending any job", "[quick]") {
    const auto jobs = dir / "jobs", more = dir / "more";
    for (const auto& directory : {jobs, more}) {
        fs::create_directory(directory);
        put(directory / "build.json", R"({"id":"build","status":"queued"})");
    }
    auto shim = start_job(jobs / "other.json", until_go);
    worker_of(jobs / "other.json");
    CHECK(ctl({"cancel", "--dir", jobs, "--dir", more, "other", "build"}).ended() == "exit 2");
    CHECK(shim.running());
    CHECK(at(read_json(jobs / "build.json"), "/status") == "queued");
    put(dir / "go", "");
    CHECK(shim.wait().ended() == "exit 0");
}

// Orphans have no shim that could be asked.
TEST_CASE_METHOD(Sandbox, "cancel ends several orphans", "[quick]") {
    std::vector<pid_t> workers;
    for (const std::string name : {"a.json", "b.json"}) {
        auto shim = start_job(dir / name, for_ever, {"--on-shim-death", "keep"});
        workers.push_back(worker_of(dir / name));
        kill_shim(shim, dir / name);
    }
    const auto ended = ctl({"cancel", dir / "a.json", dir / "b.json"});
    INFO(ended.err);
    CHECK(ended.ended() == "exit 0");
    for (const pid_t worker : workers) CHECK_FALSE(alive(worker));
}

// ---------------------------------------------------------------------------------------------
// jobctl logs

// "Inappropriate ioctl for device": isatty() had overwritten the error.
TEST_CASE_METHOD(Sandbox, "logs says why a log cannot be opened", "[quick][libc]") {
    const auto log = dir / "the.log";
    REQUIRE(run_job(job, "echo line", {"--log", log}).ended() == "exit 0");
    fs::rename(log, dir / "away");
    for (const Words& more : {Words{}, Words{"-f"}, Words{"-n", "1"}}) {
        Words words{"logs", job};
        words.insert(words.end(), more.begin(), more.end());
        const auto missing = ctl(words);
        CHECK(missing.ended() == "exit 125");
        CHECK(mentions_error(missing.err, ENOENT));
    }
    fs::create_symlink(dir / "away", log);
    CHECK(mentions_error(ctl({"logs", job}).err, ELOOP));
}

// The record had U+FFFD in place of the bytes that are not UTF-8, and no such file exists.
TEST_CASE_METHOD(Sandbox, "a log whose path is not UTF-8 can be read back", "[quick][libc]") {
    const auto odd = dir / "d\xFF";
    fs::create_directory(odd);
    for (const fs::path& log : {dir / "the\xFE.log", odd / "the.log", odd / "\xC3\x28\xF0.log"}) {
        CAPTURE(log.string());
        REQUIRE(run_job(job, "echo line", {"--log", log}).ended() == "exit 0");
        CHECK(ctl({"logs", job}).out == "line\n");
        CHECK(at(read_json(job), "/jobshim/raw/log") == base64(log.string()));
        CHECK(contains(at(read_json(job), "/jobshim/log/file").get<std::string>(), "\uFFFD"));
    }
    // Beside a job file in such a directory, with a command of that kind, and after a lost shim.
    const auto file = odd / "\xFF.json";
    auto shim =
        start_shim({"--detach", "-j", file, "--", "sh", "-c", "echo sh; exec sleep 600", "\xFE"});
    CHECK(shim.wait().ended() == "exit 0");
    const pid_t worker = worker_of(file);
    CHECK(ctl({"logs", file}).out == "sh\n");
    kill(shim_of(file), SIGKILL);
    REQUIRE(wait_until([&] { return !alive(worker); }));
    CHECK(ctl({"status", file}).ended() == "exit 1");
    CHECK(at(read_json(file), "/jobshim/exit/reason") == "shim-lost");
    CHECK(ctl({"logs", file}).out == "sh\n");
    // A record cannot say one path and mean another.
    auto forged = read_json(job);
    forged["jobshim"]["raw"]["log"] = base64("/etc/passwd");
    put(job, forged.dump());
    CHECK(ctl({"logs", job}).out.empty());
}

// Two blocks of 64 KiB on the stack: SIGSEGV under `ulimit -s 64`.
TEST_CASE_METHOD(Sandbox, "a small stack is enough", "[quick][libc]") {
    if (is_sanitized()) SKIP_TEST("the sanitizers need a larger stack");
    const Options small{.before_exec = shrink_stack};
    REQUIRE(run_job(job, "seq 20000", {"--log", "the.log"}, small).ended() == "exit 0");
    const auto text = slurp(dir / "the.log");
    CHECK(ctl({"logs", job}, small).out == text);
    CHECK(ctl({"logs", "-f", job}, small).out == text);
    CHECK(ctl({"logs", "-n", "1", job}, small).out == "20000\n");
    for (const Words& words : std::vector<Words>{{"status", job},
                                                 {"result", job},
                                                 {"list", "--dir", dir},
                                                 {"wait", job},
                                                 {"reap", "--dir", dir},
                                                 {"doctor", job},
                                                 {"prune", "--older-than", "0", "--dir", dir}}) {
        CAPTURE(words.front());
        CHECK(ctl(words, small).code() >= 0);
    }
}

// ---------------------------------------------------------------------------------------------
// jobctl list and wait

// A title in Chinese took twice the columns that were counted, and 33 jobs filled a screen of ten
// lines three times over, so that only the oldest could be seen.
TEST_CASE_METHOD(Sandbox, "a table fits on the screen", "[quick]") {
    constexpr std::size_t rows = 10, columns = 60;
    const auto jobs = dir / "jobs";
    fs::create_directory(jobs);
    std::string wide;
    for (int i = 0; i < 60; ++i) wide += "\u6F22";
    for (int i = 10; i < 43; ++i)
        put(jobs / ("job-" + std::to_string(i) + ".json"),
            Json{{"id", "job-" + std::to_string(i)},
                 {"status", "completed"},
                 {"title", wide},
                 {"createdAt", "2026-01-01T00:00:" + std::to_string(i) + ".000Z"}}
                .dump());
    Screen terminal(rows, columns);
    auto list = spawn({jobctl, "list", "--watch", "--dir", jobs}, {.fds = {{1, terminal.slave()}}});
    REQUIRE(wait_until([&] { return contains(terminal.text(), "more"); }, 5s));
    list.kill(SIGTERM);
    list.wait();
    const auto& text = terminal.text();
    const auto begin = text.find("ID ");
    REQUIRE(begin != std::string::npos);
    const auto again = text.find("\x1b[H", begin);
    const auto lines = lines_of(text.substr(begin, again - begin));
    CHECK(lines.size() == rows - 1);
    CHECK(contains(lines[1], "job-42"));  // the newest
    CHECK(contains(lines.back(), "and 26 more"));
    for (const auto& line : lines) {
        // Three bytes, but two columns.
        const auto bytes = line.find('\r') == std::string::npos ? line.size() : line.find('\r');
        std::size_t doubles = 0;
        for (auto at = line.find("\u6F22"); at != std::string::npos;
             at = line.find("\u6F22", at + 3))
            ++doubles;
        CHECK(bytes - doubles <= columns);
    }
    // A list that is not watched scrolls, and can be piped: it has all of them.
    CHECK(lines_of(ctl({"list", "--dir", jobs}).out).size() == 34);
}

// Whatever a record says, a mirrored status is that of a process: 256 became 0, success.
TEST_CASE_METHOD(Sandbox, "wait --mirror never mirrors what no process can return", "[quick]") {
    for (const std::string end :
         {R"("code":256)", R"("code":-256)", R"("code":512,"signal":null)", R"("code":"0")",
          R"("code":0.5)", R"("code":null,"signal":128)", R"("signal":4294967296)"}) {
        CAPTURE(end);
        put(job, R"({"id":"job","status":"failed","jobshim":{"schema":1,"shim":{"pid":1},)"
                 R"("exit":{"reason":"exit-code","certainty":"observed",)" +
                     end + "}}}");
        CHECK(ctl({"wait", "--mirror", job}).ended() == "exit 1");
    }
}

// ---------------------------------------------------------------------------------------------
// Job files as other programs make them

// A file that mktemp(1) had made cost a second and was set aside as corrupt.
TEST_CASE_METHOD(Sandbox, "an empty job file is a new one", "[quick][libc]") {
    for (const std::string text : {"", "\n", " \t\r\n", "\xEF\xBB\xBF"}) {
        CAPTURE(text.size());
        fs::remove(job);
        put(job, text);
        fs::permissions(job, fs::perms(0640));
        REQUIRE(run_job(job, "exit 3").ended() == "exit 3");
        CHECK(at(exit_of(job), "/code") == 3);
        CHECK((fs::status(job).permissions() & fs::perms(0777)) == fs::perms(0640));
        CHECK(names_in(dir, "corrupt").empty());
    }
    // One that has been there for a while is not waited for.
    put(job, "");
    fs::last_write_time(job, fs::file_time_type::clock::now() - 10s);
    if (!in_path("strace")) SKIP_TEST("no strace");
    run(under_strace(dir / "trace", {"-e", "trace=clock_nanosleep,nanosleep"},
                     {jobshim, "-j", job, "--", "true"}));
    CHECK_FALSE(contains(slurp(dir / "trace"), "nanosleep("));
}

// But one that its host is still writing is given time.
TEST_CASE_METHOD(Sandbox, "what a host writes into an empty job file a moment later is kept",
                 "[quick]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    put(job, "");
    fs::last_write_time(job, fs::file_time_type::clock::now() + 1h);  // its age is not known
    auto shim = spawn(under_strace(dir / "trace", {"-e", "trace=clock_nanosleep,nanosleep"},
                                   {jobshim, "-j", job, "--", "true"}));
    REQUIRE(wait_until([&] { return contains(slurp(dir / "trace"), "nanosleep("); }));
    put(job, R"({"precious":true})");
    CHECK(shim.wait().ended() == "exit 0");
    CHECK(at(read_json(job), "/precious") == true);
    CHECK(at(read_json(job), "/status") == "completed");
}

// Windows editors begin a file with a byte order mark; it was set aside, with all its members.
TEST_CASE_METHOD(Sandbox, "a byte order mark does not make a job file corrupt", "[quick][libc]") {
    const std::string mark = "\xEF\xBB\xBF";
    put(job,
        mark + "{\r\n  \"id\": \"job\",\r\n  \"status\": \"queued\",\r\n  \"mine\": 1\r\n}\r\n");
    CHECK(at(ctl_json({"status", job}), "/0/verdict/state") == "queued");
    CHECK(at(ctl_json({"list", "--dir", dir}), "/0/job/mine") == 1);
    REQUIRE(run_job(job, "exit 3").ended() == "exit 3");
    CHECK(names_in(dir, "corrupt").empty());
    const auto text = slurp(job);
    CHECK(text.starts_with(mark + "{\r\n  \"id\": \"job\""));
    CHECK(contains(text, "\"mine\": 1"));
    CHECK(at(ctl_json({"status", job}), "/0/job/jobshim/exit/code") == 3);
    CHECK(ctl({"wait", "--mirror", job}).ended() == "exit 3");
    // Again, by a host that writes in place, while a job runs, and after a lost shim.
    auto shim = start_job(job, for_ever, {"--heartbeat-interval", "100ms"});
    const pid_t worker = worker_of(job);
    put(job, mark + read_json(job).dump());
    kill_shim(shim, job);
    REQUIRE(wait_until([&] { return !alive(worker); }));
    CHECK(ctl({"status", job}).ended() == "exit 1");
    CHECK(slurp(job).starts_with(mark + "{"));
    CHECK(names_in(dir, "corrupt").empty());
    // Not in the middle, and not twice.
    for (const std::string& bad : {mark + mark + "{}", "{" + mark + "}", mark + "[]"}) {
        put(job, bad);
        CHECK(ctl({"status", job}).ended() == "exit 6");
    }
}

// ---------------------------------------------------------------------------------------------
// Options and the environment

// In timeout(1), signal 0 sends nothing: the worker is given the grace, and then killed.
TEST_CASE_METHOD(Sandbox, "a timeout may send no signal at all", "[quick][libc]") {
    for (const std::string none : {"0", "EXIT", "exit"}) {
        CAPTURE(none);
        const auto ended =
            run_job(job, "trap 'exit 7' TERM; " + for_ever_in_shell,
                    {"--timeout", "100ms", "--signal", none, "--kill-after", "100ms"});
        INFO(ended.err);
        CHECK(ended.ended() == "exit 124");
        const auto end = exit_of(job);
        CHECK(at(end, "/reason") == "timeout");
        CHECK(at(end, "/signalName") == "SIGKILL");
        CHECK(contains(at(end, "/evidence").dump(), "no signal sent: timeout reached"));
    }
    auto shim = start_job(job, "trap 'exit 7' TERM; touch ready; " + for_ever_in_shell);
    REQUIRE(wait_until([&] { return fs::exists(dir / "ready"); }));
    CHECK(ctl({"cancel", "--signal", "0", "--kill-after", "100ms", job}).ended() == "exit 0");
    CHECK(shim.wait().ended() == "SIGKILL");
    CHECK(run_shim({"-j", job, "--signal", "65", "--", "true"}).ended() == "exit 125");
    CHECK(run_shim({"-j", job, "--signal", "-1", "--", "true"}).ended() == "exit 125");
}

// As root, which may write everywhere, a HOME that does not exist was made: services have
// /nonexistent on purpose.
TEST_CASE_METHOD(Sandbox, "a home directory that does not exist is not made", "[quick][libc]") {
    const auto home = dir / "no" / "home";
    const Options options{.env = {{"HOME", home.string()}},
                          .before_exec = [] { unsetenv("XDG_STATE_HOME"); }};
    const auto refused = run_shim({"--", "touch", "ran"}, options);
    CHECK(refused.ended() == "exit 125");
    CHECK(contains(refused.err, home.string()));
    CHECK_FALSE(fs::exists(dir / "ran"));
    CHECK(run_shim({"--best-effort", "--", "touch", "ran"}, options).ended() == "exit 0");
    CHECK(fs::exists(dir / "ran"));
    CHECK(run_shim({"-j", job, "--", "true"}, options).ended() == "exit 0");
    CHECK(ctl({"list"}, options).ended() == "exit 0");
    CHECK_FALSE(fs::exists(dir / "no"));
    // What is below a home that does exist is made.
    fs::create_directories(home);
    CHECK(run_shim({"--id", "job", "--", "true"}, options).ended() == "exit 0");
    CHECK(fs::exists(home / ".local/state/jobshim/jobs/job.json"));
    // And so is XDG_STATE_HOME.
    CHECK(run_shim({"--id", "job", "--", "true"},
                   {.env = {{"XDG_STATE_HOME", (dir / "state" / "home").string()}}})
              .ended() == "exit 0");
    CHECK(fs::exists(dir / "state" / "home" / "jobshim" / "jobs" / "job.json"));
}
