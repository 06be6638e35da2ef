// jobctl wait returns as soon as the job has ended, and never with an old result.

#include <signal.h>

#include "integration/support.hpp"

using namespace harness;

TEST_CASE_METHOD(Sandbox, "a waiter that is already waiting learns of a killed worker at once",
                 "[serial]") {
    for (const bool adopted : {false, true}) {
        CAPTURE(adopted);
        const auto file = dir / (adopted ? "adopted.json" : "ours.json");
        if (adopted) put(file, R"({"id":"adopted","status":"queued"})");
        auto shim = start_job(file, for_ever);
        const auto worker = worker_of(file);
        auto waiter = spawn({jobctl, "wait", file});
        wait_until_parked(waiter);
        const auto killed = Clock::now();
        kill(worker, SIGKILL);
        CHECK(waiter.wait().ended() == "exit 1");
        CHECK(Clock::now() - killed < stretched(1s));
        const auto record = read_json(file);
        CHECK(at(record, "/status") == "failed");
        CHECK(at(record, "/pid") == nullptr);
        CHECK(at(record, "/jobshim/exit/reason") == "signal");
        CHECK(at(record, "/jobshim/exit/signalName") == "SIGKILL");
        CHECK(shim.wait().ended() == "SIGKILL");
    }
}

TEST_CASE_METHOD(Sandbox, "a waiting jobctl sleeps and does not poll") {
    auto shim = start_job(job, until_go, {"--heartbeat-interval", "100ms"});
    worker_of(job);
    auto waiter = spawn({jobctl, "wait", job});
    wait_until_parked(waiter);
    // Thirty beats: it may wake up for each of them at the very most.
    const auto beats_seen = [&, last = mtime_of(heartbeat_of(job)), beats = 0]() mutable {
        const auto now = mtime_of(heartbeat_of(job));
        beats += now != last;
        last = now;
        return beats >= 30;
    };
    const auto before = voluntary_switches(waiter.pid());
    REQUIRE(wait_until(beats_seen));
    CHECK(voluntary_switches(waiter.pid()) - before <= 32);
    put(dir / "go", "");
    CHECK(waiter.wait().ended() == "exit 0");
    shim.wait();
}

TEST_CASE_METHOD(Sandbox,
                 "wait works for one or all or any of several jobs and with --timeout and --mirror",
                 "[quick]") {
    const auto slow = dir / "slow.json", quick = dir / "quick.json", failed = dir / "failed.json",
               killed = dir / "killed.json";
    auto shim = start_job(slow, until_go + "exit 42");
    worker_of(slow);
    run_job(quick, "exit 0");
    run_job(failed, "exit 3");
    run_job(killed, "kill -TERM $$");

    CHECK(ctl({"wait", slow, "--timeout", "150ms"}).ended() == "exit 124");
    CHECK(ctl({"wait", quick, slow, "--timeout", "150ms"}).ended() == "exit 124");
    CHECK(ctl({"wait", "--any", quick, slow}).ended() == "exit 0");
    CHECK(ctl({"wait", "--any", slow, failed}).ended() == "exit 1");
    CHECK(ctl({"wait", quick, failed}).ended() == "exit 1");
    CHECK(ctl({"wait", "--mirror", failed}).ended() == "exit 3");
    CHECK(ctl({"wait", "--mirror", killed}).ended() == "exit 143");
    CHECK(ctl({"wait", "--mirror", quick}).ended() == "exit 0");
    CHECK(ctl({"wait", dir / "none.json"}).ended() == "exit 4");
    CHECK(ctl({"wait", dir / "none.json", "--appear", "100ms"}).ended() == "exit 4");

    auto mirror = spawn({jobctl, "wait", "--mirror", slow});
    auto all = spawn({jobctl, "wait", slow, quick});
    auto any = spawn({jobctl, "wait", "--any", slow, dir / "later.json", "--appear", "1h"});
    wait_until_parked(mirror);
    wait_until_parked(all);
    put(dir / "go", "");
    CHECK(mirror.wait().ended() == "exit 42");
    CHECK(all.wait().ended() == "exit 1");
    CHECK(any.wait().ended() == "exit 1");
    CHECK(shim.wait().ended() == "exit 42");
}

TEST_CASE_METHOD(Sandbox, "wait --appear gives a job time to appear", "[quick]") {
    fs::create_directories(dir / "state/jobshim/jobs");
    auto by_path = spawn({jobctl, "wait", job, "--appear", "20s"});
    auto by_id = spawn({jobctl, "wait", "late-id", "--appear", "20s"});
    wait_until_parked(by_path);
    wait_until_parked(by_id);
    run_job(job, "exit 0");
    CHECK(by_path.wait().ended() == "exit 0");
    CHECK(by_id.running());
    run_shim({"--id", "late-id", "--", "false"});
    CHECK(by_id.wait().ended() == "exit 1");
}

TEST_CASE_METHOD(
    Sandbox, "wait for a worker that wrote its own end returns when the shim ends and not before",
    "[quick]") {
    auto shim = start_job(
        job, until_running + R"(echo '{"status":"completed"}' > job.json; )" + until_go + "exit 3");
    REQUIRE(wait_until([&] { return slurp(job).starts_with(R"({"status":"completed")"); }));
    CHECK(ctl({"status", job}).ended() == "exit 0");
    auto waiter = spawn({jobctl, "wait", job});
    wait_until_parked(waiter);
    CHECK_FALSE(wait_until([&] { return !waiter.running(); }, 200ms));
    put(dir / "go", "");
    CHECK(waiter.wait().ended() == "exit 0");
    CHECK(shim.wait().ended() == "exit 3");
}

TEST_CASE_METHOD(Sandbox, "wait right after a re-run began never returns the old result") {
    // Three ways to know that it began: --detach returned, the shim holds its lock, or the host
    // itself queued the job again. Old runs fail and new ones succeed, so that a stale answer
    // shows.
    const std::string brief = "sleep 0.05";
    put(job, R"({"id":"again"})");
    for (int i = 0; i < 30; ++i) {
        CAPTURE(i);
        REQUIRE(run_job(job, "exit 7").ended() == "exit 7");
        switch (i % 3) {
            case 0: {
                CHECK(run_shim({"-j", job, "--detach", "--", "sh", "-c", brief}).ended() ==
                      "exit 0");
                CHECK(ctl({"wait", job}).ended() == "exit 0");
                break;
            }
            case 1: {
                auto shim = start_job(job, brief);
                while (shim.running() && !shim_lock_is_held(heartbeat_of(job))) continue;
                CHECK(ctl({"wait", job}).ended() == "exit 0");
                shim.wait();
                break;
            }
            case 2: {
                put(job, R"({"id":"again","status":"queued"})");
                auto waiter = spawn({jobctl, "wait", job});
                CHECK(run_job(job, brief).ended() == "exit 0");
                CHECK(waiter.wait().ended() == "exit 0");
                break;
            }
        }
        CHECK(at(read_json(job), "/status") == "completed");
    }
}
