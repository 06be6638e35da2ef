// jobshim --stall-after: a worker that lives, but shows no sign of work. It is told, and never
// acted upon.

#include <signal.h>
#include <sys/stat.h>

#include "integration/support.hpp"

using namespace harness;

namespace {

const Words quick{"--stall-after", "300ms", "--heartbeat-interval", "100ms"};

// For who must see it at work in between.
const Words unhurried{"--stall-after", "2s", "--heartbeat-interval", "100ms"};

struct StallSandbox : Sandbox {
    std::string state() { return at(ctl_json({"status", job}).at(0), "/verdict/state"); }
    std::string because() { return at(ctl_json({"status", job}).at(0), "/verdict/because"); }
    bool becomes(const std::string& word) {
        return wait_until([&] { return state() == word; });
    }
    /// Over so many beats.
    bool stays(const std::string& word, int beats) {
        for (; beats > 0; --beats) {
            const auto beat = mtime_of(heartbeat_of(job));
            REQUIRE(wait_until([&] { return mtime_of(heartbeat_of(job)) > beat; }));
            if (state() != word) return false;
        }
        return true;
    }
};

}  // namespace

TEST_CASE_METHOD(StallSandbox, "a worker without a sign of work is stalled until it shows one",
                 "[quick]") {
    // Waits in the kernel, as for a dead socket; says a line when it is told to.
    for (const char* pipe : {"go", "end"}) must(mkfifo((dir / pipe).c_str(), 0600), "mkfifo");
    auto shim = start_job(job, "read line < go; echo first; read line < end; exit 3",
                          joined({unhurried, {"--log", dir / "log"}}));
    const auto worker = worker_of(job);
    REQUIRE(becomes("stalled"));
    const auto words = because();
    INFO(words);
    CHECK(contains(words, "The worker (pid " + std::to_string(worker) +
                              ") is alive, but has been "
                              "silent for "));
    CHECK(contains(words, " and has used no CPU for "));
    CHECK(ctl({"status", job}).ended() == "exit 3");
    CHECK(contains(ctl({"list", "--dir", dir, "--status", "stalled"}).out, "stalled"));
    // Nothing is done about it.
    CHECK(ctl({"reap", "--dir", dir}).ended() == "exit 0");
    CHECK(run_job(job, "true").ended() == "exit 125");
    CHECK(ctl({"wait", "--timeout", "200ms", job}).ended() == "exit 124");
    CHECK(alive(worker));
    CHECK(at(read_json(job), "/status") == "running");
    CHECK(at(read_json(job), "/jobshim/heartbeat/stallAfterMs") == 2000);
    // A line in its log is a sign.
    put(dir / "go", "\n");
    REQUIRE(becomes("running"));
    REQUIRE(becomes("stalled"));
    put(dir / "end", "\n");
    CHECK(shim.wait().ended() == "exit 3");
    CHECK(at(exit_of(job), "/code") == 3);
}

TEST_CASE_METHOD(StallSandbox, "whatever works for the worker is a sign of work", "[quick]") {
    const std::string burn = "while :; do :; done";
    Process shim;
    SECTION("the worker itself, in silence") { shim = start_job(job, burn, quick); }
    SECTION("a child of it") { shim = start_job(job, "sh -c '" + burn + "'; true", quick); }
    SECTION("a member of its group whose parent is gone") {
        shim = start_job(job, "(sh -c '" + burn + "' &); exec sleep 600",
                         joined({quick, {"--leftovers", "kill"}}));
    }
    SECTION("a child in a session of its own") {
        if (!in_path("setsid")) SKIP_TEST("no setsid");
        shim = start_job(job, "setsid -w sh -c '" + burn + "'; true", quick);
    }
    SECTION("many short children") {
        shim = start_job(job, "while :; do expr 1 + 1 > /dev/null; done", quick);
    }
    worker_of(job);
    CHECK(stays("running", 8));
    CHECK(ctl({"cancel", "--kill-after", "1s", job}).ended() == "exit 0");
    shim.wait();
    kill_everything();
}

TEST_CASE_METHOD(StallSandbox, "without --stall-after nobody is called silent", "[quick]") {
    auto shim = start_job(job, for_ever, {"--heartbeat-interval", "100ms"});
    worker_of(job);
    CHECK(stays("running", 5));
    CHECK_FALSE(contains(slurp(heartbeat_of(job)), "activity"));
    // A stopped worker uses no CPU either.
    shim.kill(SIGKILL);
    shim.wait();
    ctl({"wait", job});
    auto stopped = start_job(job, for_ever, quick);
    const auto worker = worker_of(job);
    ::kill(worker, SIGSTOP);
    REQUIRE(becomes("stalled"));
    CHECK_FALSE(contains(because(), "silent"));  // it has no log
    ::kill(worker, SIGCONT);
    CHECK(ctl({"cancel", job}).ended() == "exit 0");
    stopped.wait();
}

// The line is written over in place, between two that are not.
TEST_CASE_METHOD(StallSandbox, "a heartbeat file with a line of activity keeps the others") {
    auto shim = start_job(job, until_go + "exit 3", quick);
    worker_of(job);
    REQUIRE(becomes("stalled"));
    CHECK(lines_of(slurp(heartbeat_of(job))).size() == 3);
    // Removed: the shim makes another with the same lines.
    fs::remove(heartbeat_of(job));
    REQUIRE(wait_until([&] { return fs::exists(heartbeat_of(job)); }));
    REQUIRE(becomes("stalled"));
    const auto lines = lines_of(slurp(heartbeat_of(job)));
    REQUIRE(lines.size() == 3);
    CHECK(lines[0].starts_with(R"({"jobshim":)"));
    CHECK(lines[1].starts_with(R"({"activity":)"));
    CHECK(lines[2].starts_with(R"({"worker":)"));
    SECTION("and its shim's death is seen as ever") {
        shim.kill(SIGKILL);
        shim.wait();
        CHECK(ctl({"wait", job}).ended() == "exit 1");
        CHECK(at(exit_of(job), "/reason") == "shim-lost");
    }
    SECTION("and the end") {
        put(dir / "go", "");
        CHECK(shim.wait().ended() == "exit 3");
        CHECK(at(exit_of(job), "/code") == 3);
    }
}
