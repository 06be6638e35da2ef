// A shim that has nothing to do does nothing but beat, and takes care of its heartbeat file.

#include <signal.h>

#include "integration/support.hpp"

using namespace harness;

TEST_CASE_METHOD(Sandbox, "an idle shim wakes only for its heartbeat", "[serial]") {
    auto shim = start_job(job, "exec sleep 600", {"--heartbeat-interval", "500ms"});
    worker_of(job);
    const auto heartbeat = heartbeat_of(job);
    auto last = mtime_of(heartbeat);
    const auto next_beat = [&] {
        const bool came = wait_until([&] { return mtime_of(heartbeat) != last; }, 5s);
        last = mtime_of(heartbeat);
        return came;
    };
    REQUIRE(next_beat());  // the start is over
    const auto before = voluntary_switches(shim.pid());
    const auto begin = Clock::now();
    const auto record = slurp(job);
    const int beats = 6;
    for (int i = 0; i < beats; ++i) REQUIRE(next_beat());
    CHECK(voluntary_switches(shim.pid()) - before <= beats + 2);
    CHECK(Clock::now() - begin > 2500ms);
    CHECK(slurp(job) == record);  // a beat is a touch, not a write
    shim.kill(SIGTERM);
    CHECK(shim.wait().ended() == "SIGTERM");
}

#ifdef JOBSHIM_RELEASE_BUILD  // sanitizers keep freed memory
namespace {

// A process's own memory, in KiB; -1 if it is unknown.
long anonymous_memory(pid_t pid) {
    const std::string mark = "Anonymous:";
    for (const auto& line : lines_of(slurp("/proc/" + std::to_string(pid) + "/smaps_rollup")))
        if (line.starts_with(mark)) return std::stol(line.substr(mark.size()));
    return -1;
}

}  // namespace

TEST_CASE_METHOD(Sandbox, "at rest the shim's memory does not grow") {
    auto shim = start_job(job, "exec sleep 600", {"--heartbeat-interval", "100ms"});
    worker_of(job);
    const auto heartbeat = heartbeat_of(job);
    // A beat that finds everything unchanged needs no memory. One that finds its file missing does
    // what the start did.
    const auto memory_after_beats = [&](int beats) {
        for (int i = 0; i < beats; ++i) {
            REQUIRE(wait_until([&] { return shim_lock_is_held(heartbeat); }));
            fs::remove(heartbeat);
        }
        REQUIRE(wait_until([&] { return shim_lock_is_held(heartbeat); }));
        return anonymous_memory(shim.pid());
    };
    const auto before = memory_after_beats(5);
    CHECK(before > 0);
    CHECK(memory_after_beats(40) <= before);
    shim.kill(SIGTERM);
    CHECK(shim.wait().ended() == "SIGTERM");
}
#endif

TEST_CASE_METHOD(Sandbox, "a job that never beats is not dead", "[quick]") {
    auto shim = start_job(job, until_go, {"--heartbeat-interval", "1h"});
    worker_of(job);
    fs::last_write_time(heartbeat_of(job), fs::file_time_type::clock::now() - 24h);
    CHECK(ctl({"status", job}).ended() == "exit 3");
    fs::last_write_time(heartbeat_of(job), fs::file_time_type::clock::now() + 24h);
    CHECK(at(ctl_json({"status", job}), "/0/verdict/state") ==
          "running");  // a beat from the future is fresh
    put(dir / "go", "");
    CHECK(shim.wait().ended() == "exit 0");
}

TEST_CASE_METHOD(
    Sandbox, "a heartbeat file removed or replaced under a live shim is created and locked again",
    "[quick]") {
    auto shim = start_job(job, until_go + "exit 3", {"--heartbeat-interval", "200ms"});
    worker_of(job);
    const auto heartbeat = heartbeat_of(job);
    for (const bool replaced : {false, true}) {
        CAPTURE(replaced);
        const auto content = slurp(heartbeat);
        fs::remove(heartbeat);
        if (replaced) put(heartbeat, content);
        CHECK(ctl({"status", job}).ended() == "exit 3");
        CHECK(ctl({"reap", "--dir", dir}).ended() == "exit 0");
        CHECK(wait_until([&] { return shim_lock_is_held(heartbeat); }));
        CHECK(at(ctl_json({"status", job}), "/0/verdict/state") == "running");
    }
    put(dir / "go", "");
    CHECK(shim.wait().ended() == "exit 3");
    CHECK(at(exit_of(job), "/code") == 3);
}

TEST_CASE_METHOD(Sandbox, "a run leaves only the documented files beside the job file", "[quick]") {
    CHECK(run_job(job, "exit 3").ended() == "exit 3");
    CHECK(names_in(dir, "") == Words{"job.json"});
    put(dir / "host.json", "{}");
    CHECK(run_job(dir / "host.json", "exit 3").ended() == "exit 3");
    CHECK(names_in(dir, "") == Words{"host.heartbeat", "host.json", "job.json"});
}
