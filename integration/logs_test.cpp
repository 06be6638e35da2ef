// jobctl logs prints this run's part of the log, to its end.

#include <fcntl.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "integration/support.hpp"

using namespace harness;

TEST_CASE_METHOD(Sandbox, "logs prints this run's part of an appended log or its last lines",
                 "[quick]") {
    put(dir / "log", "before all runs\n");
    run_job(job, "echo one 1; echo one 2 >&2", {"--log", "log"});
    CHECK(ctl({"logs", job}).out == "one 1\none 2\n");
    run_job(job, "for i in 1 2 3; do echo two $i; done; printf 'no end'", {"--log", "log"});
    CHECK(slurp(dir / "log") == "before all runs\none 1\none 2\ntwo 1\ntwo 2\ntwo 3\nno end");
    struct Row {
        Words options;
        std::string out;
    };
    for (const auto& [options, out] :
         {Row{{}, "two 1\ntwo 2\ntwo 3\nno end"}, Row{{"-n", "2"}, "two 3\nno end"},
          Row{{"-n", "100"}, "two 1\ntwo 2\ntwo 3\nno end"},
          Row{{"-f"}, "two 1\ntwo 2\ntwo 3\nno end"}, Row{{"-f", "-n", "1"}, "no end"}}) {
        CAPTURE(Json(options).dump());
        Words arguments{"logs", job};
        arguments.insert(arguments.end(), options.begin(), options.end());
        const auto result = ctl(arguments, {.cwd = "/"});
        CHECK(result.ended() == "exit 0");
        CHECK(result.out == out);
    }
    CHECK(ctl({"logs", "none"}).ended() == "exit 4");
}

TEST_CASE_METHOD(Sandbox, "logs -f prints everything as it comes and ends with the job",
                 "[quick]") {
    auto shim = start_job(job, "echo begin; " + until_go + "seq 20000; printf end; kill -9 $$",
                          {"--log", dir / "log"});
    worker_of(job);
    auto follower = spawn({jobctl, "logs", "-f", job});
    CHECK(wait_until([&] { return follower.out() == "begin\n"; }));
    CHECK(follower.running());
    put(dir / "go", "");
    CHECK(shim.wait().ended() == "SIGKILL");
    const auto result = follower.wait(5s);
    CHECK(result.ended() == "exit 0");
    CHECK(result.out == slurp(dir / "log"));
    CHECK(result.out.ends_with("20000\nend"));
}

TEST_CASE_METHOD(Sandbox, "logs -f also ends when the shim is lost") {
    auto shim = start_job(job, "echo begin; " + for_ever, {"--log", dir / "log"});
    worker_of(job);
    auto follower = spawn({jobctl, "logs", "-f", job});
    CHECK(wait_until([&] { return follower.out() == "begin\n"; }));
    kill_shim(shim, job);
    CHECK(follower.wait(5s).ended() == "exit 0");
}

TEST_CASE_METHOD(Sandbox, "logs -f on a log shared with an earlier run shows only the new run") {
    run_job(job, "echo first", {"--log", "log"});
    auto shim = start_job(job, "echo second; " + until_go + "echo third", {"--log", "log"});
    worker_of(job);
    auto follower = spawn({jobctl, "logs", "-f", job});
    CHECK(wait_until([&] { return follower.out() == "second\n"; }));
    put(dir / "go", "");
    CHECK(follower.wait().out == "second\nthird\n");
    shim.wait();
}

// A user followed a job that was run again and again, and got the previous run's log, or both.
TEST_CASE_METHOD(Sandbox, "logs -f right after a re-run began follows the new run") {
    for (int i = 0; i < 10; ++i) {
        CAPTURE(i);
        const auto number = std::to_string(i);
        auto shim = start_job(job, "echo begin " + number + "; sleep 0.02; echo end " + number,
                              {"--log", "log"});
        // Not worker_of(): under load the job may be over before it is seen running.
        REQUIRE(wait_until([&] { return fs::exists(job); }));
        const auto result = ctl({"logs", "-f", job});
        CHECK(result.ended() == "exit 0");
        CHECK(result.out == "begin " + number + "\nend " + number + "\n");
        shim.wait();
    }
}

// A worker may write arbitrary text. Shown on a terminal, it could control it.
TEST_CASE_METHOD(Sandbox, "control characters in a log never reach a terminal", "[quick]") {
    const std::string wild =
        "a\tb\r\n\x1b[1;31mred\x1b[0m caf\xc3\xa9 \xc3\n\xc2\x9b"
        "evil\nbell\x07 \x1b]0;title\x07\x1b[2J\x7f\n\x1b";
    put(dir / "wild", wild);
    run_job(job, "cat wild", {"--log", "log"});
    const auto result = ctl({"result", job});
    CHECK(contains(result.out, "  | a\tb\n"));
    CHECK(contains(result.out, "  | \uFFFD[1;31mred\uFFFD[0m caf\u00e9 \uFFFD\n"));
    CHECK(contains(result.out, "  | \uFFFDevil\n"));
    CHECK(contains(result.out, "  | bell\uFFFD \uFFFD]0;title\uFFFD\uFFFD[2J\uFFFD\n"));
    CHECK(ctl({"logs", job}).out == wild);  // not a terminal: unchanged

    const Fd master(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    REQUIRE(master.get() >= 0);
    must(grantpt(master.get()), "grantpt");
    must(unlockpt(master.get()), "unlockpt");
    const Fd terminal(open(ptsname(master.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
    termios raw{};
    must(tcgetattr(terminal.get(), &raw), "tcgetattr");
    cfmakeraw(&raw);
    must(tcsetattr(terminal.get(), TCSANOW, &raw), "tcsetattr");
    must(fcntl(master.get(), F_SETFL, O_NONBLOCK), "O_NONBLOCK");
    // Colours stay, and a sequence written in two halves is not taken for an incomplete one.
    const std::string tame =
        "a\tb\r\n\x1b[1;31mred\x1b[0m caf\u00e9 \uFFFD\n\uFFFD"
        "evil\nbell\uFFFD \uFFFD]0;title\uFFFD\uFFFD[2J\uFFFD\n\uFFFD";
    std::string shown;
    const auto read_on = [&] {
        char buffer[4096];
        for (ssize_t got = 0; (got = read(master.get(), buffer, sizeof buffer)) > 0;)
            shown.append(buffer, static_cast<std::size_t>(got));
    };
    CHECK(ctl({"logs", job}, {.fds = {{1, terminal.get()}}}).ended() == "exit 0");
    CHECK(wait_until([&] {
        read_on();
        return shown == tame;
    }));
    CHECK(shown == tame);

    shown.clear();
    auto shim = start_job(job,
                          "printf '1\\303'; touch half; " + until_go +
                              "printf '\\2512\\033['; "
                              "touch colour; while [ -e go ]; do sleep 0.02; done; printf '1m3'",
                          {"--log", "log"});
    REQUIRE(wait_until([&] { return fs::exists(dir / "half"); }));
    auto follower = spawn({jobctl, "logs", "-f", job}, {.fds = {{1, terminal.get()}}});
    const auto shows = [&](const std::string& text) {
        return wait_until([&] {
            read_on();
            return shown == text;
        });
    };
    CHECK(shows("1"));
    put(dir / "go", "");
    CHECK(shows("1\u00e92"));
    REQUIRE(wait_until([&] { return fs::exists(dir / "colour"); }));
    fs::remove(dir / "go");
    CHECK(shim.wait().ended() == "exit 0");
    CHECK(follower.wait().ended() == "exit 0");
    CHECK(shows("1\u00e92\x1b[1m3\x1b[0m"));
}

TEST_CASE_METHOD(Sandbox, "a record's tail is whole lines of whole characters", "[quick]") {
    const auto tail_of = [&](const std::string& bytes, const std::string& limit) {
        put(dir / "text", bytes);
        fs::remove(dir / "log");
        run_job(job, "cat text", {"--log", "log", "--tail", limit});
        return at(exit_of(job), "/tail");
    };
    const std::string e = "\u00e9";
    CHECK(tail_of("one\ntwo\nthree\n", "9") == "three\n");
    CHECK(tail_of("one\ntwo\nthree\n", "10") == "two\nthree\n");  // happens to begin on a line
    CHECK(tail_of("one\ntwo\nthree", "100") == "one\ntwo\nthree");
    CHECK(tail_of("one\n" + e + e + e + "\n", "6") == "\u2026" + e + e + "\n");
    CHECK(tail_of("one\n" + e + e + e + "\n", "7") == e + e + e + "\n");
    CHECK(tail_of("\xff"
                  "one\xc3",
                  "100") == "\uFFFDone\uFFFD");
    CHECK(tail_of(std::string("a\0b\x1b\n", 5), "100") == std::string("a\0b\x1b\n", 5));
    CHECK(tail_of("\xf0\x9f\x98\x80\n\xf0\x9f\x98\x80\n", "6") == "\xf0\x9f\x98\x80\n");
    CHECK(tail_of("words\n", "0") == nullptr);
    CHECK(tail_of("", "100") == "");
}
