// jobctl logs: this run's part of the log, to its end.

#include "integration/support.hpp"

using namespace harness;

TEST_CASE_METHOD(Sandbox,
                 "logs prints this run's part of an appended log, or the last lines of it") {
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

TEST_CASE_METHOD(Sandbox, "logs -f prints everything as it comes and ends with the job") {
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

TEST_CASE_METHOD(Sandbox, "logs -f ends when the shim is lost, too") {
    auto shim = start_job(job, "echo begin; " + for_ever, {"--log", dir / "log"});
    worker_of(job);
    auto follower = spawn({jobctl, "logs", "-f", job});
    CHECK(wait_until([&] { return follower.out() == "begin\n"; }));
    kill_shim(shim, job);
    CHECK(follower.wait(5s).ended() == "exit 0");
}

TEST_CASE_METHOD(Sandbox, "a log that is started anew by a later run does not mix with it") {
    run_job(job, "echo first", {"--log", "log"});
    auto shim = start_job(job, "echo second; " + until_go + "echo third", {"--log", "log"});
    worker_of(job);
    auto follower = spawn({jobctl, "logs", "-f", job});
    CHECK(wait_until([&] { return follower.out() == "second\n"; }));
    put(dir / "go", "");
    CHECK(follower.wait().out == "second\nthird\n");
    shim.wait();
}

// A user followed a job that was run again and again, and got the last run's log, or both.
TEST_CASE_METHOD(Sandbox, "logs -f right after a re-run began follows the new run") {
    for (int i = 0; i < 10; ++i) {
        CAPTURE(i);
        const auto number = std::to_string(i);
        auto shim = start_job(job, "echo begin " + number + "; sleep 0.02; echo end " + number,
                              {"--log", "log"});
        if (i == 0) worker_of(job);
        const auto result = ctl({"logs", "-f", job});
        CHECK(result.ended() == "exit 0");
        CHECK(result.out == "begin " + number + "\nend " + number + "\n");
        shim.wait();
    }
}
