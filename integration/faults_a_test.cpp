// Whose job is it? Names, beginnings of names, directories that move, requests that repeat.

#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include "integration/strace.hpp"
#include "integration/support.hpp"

using namespace harness;

namespace {

fs::path jobs_of(const Sandbox& box) { return box.dir / "state/jobshim/jobs"; }

/// Replaces a job file as a host does that requests a run.
void request(const fs::path& job, const std::string& text) {
    const fs::path next = job.string() + ".next";
    put(next, text);
    fs::rename(next, job);
}

std::string state_of(Sandbox& box, const std::string& job, const Words& more = {}) {
    Words words{"status", job};
    words.insert(words.end(), more.begin(), more.end());
    return at(box.ctl_json(words).at(0), "/verdict/state").get<std::string>();
}

}  // namespace

// The words of its command line alone made any shim one that was starting for this job: then wait
// and logs -f never returned.
TEST_CASE_METHOD(Sandbox, "a shim that means another file of that name holds up no waiter") {
    const auto check = [&](const Words& named, const Options& where = {}) {
        Words wait{"wait"};
        wait.insert(wait.end(), named.begin(), named.end());
        Words logs{"logs", "-f"};
        logs.insert(logs.end(), named.begin(), named.end());
        Options soon = where;
        soon.limit = 5s;
        CHECK(ctl(wait, soon).ended() == "exit 0");
        CHECK(ctl(logs, soon).ended() == "exit 1");  // it keeps no log
    };
    fs::create_directories(dir / "x");
    fs::create_directories(dir / "y");

    SECTION("the same id in another state directory") {
        run_shim({"--id", "nightly", "--", "true"});
        auto other = start_shim({"--id", "nightly", "--", "sleep", "600"},
                                {.env = {{"XDG_STATE_HOME", dir / "b"}}});
        worker_of(dir / "b/jobshim/jobs/nightly.json");
        check({"nightly"});
        other.kill(SIGKILL);
        other.wait();
    }
    SECTION("the same id below another HOME") {
        run_shim({"--id", "nightly", "--", "true"},
                 {.env = {{"XDG_STATE_HOME", ""}, {"HOME", dir / "x"}}});
        auto other = start_shim({"--id", "nightly", "--", "sleep", "600"},
                                {.env = {{"XDG_STATE_HOME", ""}, {"HOME", dir / "y"}}});
        worker_of(dir / "y/.local/state/jobshim/jobs/nightly.json");
        check({"nightly"}, {.env = {{"XDG_STATE_HOME", ""}, {"HOME", dir / "x"}}});
        other.kill(SIGKILL);
        other.wait();
    }
    SECTION("the same relative path in another directory") {
        run_shim({"-j", "j.json", "--", "true"}, {.cwd = dir / "y"});
        auto other = start_shim({"-j", "j.json", "--", "sleep", "600"}, {.cwd = dir / "x"});
        worker_of(dir / "x/j.json");
        check({"./j.json"}, {.cwd = dir / "y"});
        other.kill(SIGKILL);
        other.wait();
    }
    SECTION("the same absolute path in another mount namespace") {
        if (!child_can([] { enter_private_mounts(); }))
            SKIP_TEST("no right to make a mount namespace");
        run_job(job, "true");
        const auto elsewhere = [this] {
            enter_private_mounts();
            must(::mount("none", dir.c_str(), "tmpfs", 0, nullptr), "mount");
            must(::chdir(dir.c_str()), "chdir");
        };
        auto other = start_shim({"-j", job, "--", "sh", "-c", "echo ready; exec sleep 600"},
                                {.before_exec = elsewhere});
        REQUIRE(wait_until([&] { return contains(other.out(), "ready"); }));
        check({job.string()});
        other.kill(SIGKILL);
        other.wait();
    }
}

// A shim that means this very file, but is stopped before it could take the job, was waited for
// without end.
TEST_CASE_METHOD(Sandbox, "a start is waited for only as long as a start can take", "[serial]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    run_job(job, "true");
    // It takes a minute to get to its lock.
    auto other = spawn(
        under_strace(dir / "trace",
                     {"-f", "-e", "trace=uname", "-e", "inject=uname:delay_enter=60000000:when=1"},
                     {jobshim, "-j", job, "--", "true"}));
    REQUIRE(wait_until([&] { return contains(slurp(dir / "trace"), "uname("); }));
    CHECK(ctl({"wait", job}, {.limit = 19s}).ended() == "exit 0");
    kill_everything();
}

// `cancel build-1` ended build-10, and `wait --appear build-1` answered with it.
TEST_CASE_METHOD(Sandbox, "the beginning of an id is never acted upon", "[quick]") {
    auto shim = start_shim({"--id", "build-10", "--", "sleep", "600"});
    worker_of(jobs_of(*this) / "build-10.json");

    auto result = ctl({"cancel", "build-1"});
    CHECK(result.ended() == "exit 4");
    CHECK(contains(result.err, "build-1: no such job (build-10 begins so"));
    result = ctl({"settle", "build-1", "--as", "failed", "--because", "so"});
    CHECK(result.ended() == "exit 4");
    CHECK(contains(result.err, "build-10 begins so"));
    // Nor while the whole id may still appear.
    CHECK(ctl({"wait", "--appear", "200ms", "build-1"}).ended() == "exit 4");
    CHECK(shim.running());
    // It is enough to look.
    CHECK(ctl({"status", "build-1"}).ended() == "exit 3");

    // The job that is waited for appears.
    auto waiter = spawn({jobctl, "wait", "--appear", "20s", "build-1"});
    wait_until_parked(waiter);
    CHECK(run_shim({"--id", "build-1", "--", "sh", "-c", "exit 3"}).ended() == "exit 3");
    const auto waited = waiter.wait();
    CHECK(waited.ended() == "exit 1");
    CHECK(waited.out.starts_with("build-1 "));

    CHECK(ctl({"cancel", "build-10"}).ended() == "exit 0");
    shim.wait();
}

// A record's own id is an id as well: one that is exact comes before a file's name that only begins
// so.
TEST_CASE_METHOD(Sandbox, "an exact id in a record comes before the beginning of a name",
                 "[quick]") {
    put(dir / "other.json", R"({"id":"a","status":"queued"})");
    put(dir / "abc.json", R"({"status":"queued"})");
    const auto seen = ctl_json({"status", "--dir", dir, "a"});
    CHECK(at(seen.at(0), "/file") == (dir / "other.json").string());
    CHECK(ctl({"cancel", "--dir", dir, "a"}).ended() == "exit 0");
    CHECK(state_of(*this, dir / "abc.json") == "queued");
    CHECK(state_of(*this, dir / "other.json") == "cancelled");
}

// x and x.json had one heartbeat file, and so one lock and one history.
TEST_CASE_METHOD(Sandbox, "a job file that does not end in .json has a heartbeat file of its own",
                 "[quick]") {
    CHECK(run_job(dir / "a", "exit 3").ended() == "exit 3");
    put(dir / "b.json", R"({"status":"queued"})");
    auto dead = start_job(dir / "b.json", "exec sleep 600");
    worker_of(dir / "b.json");
    kill_shim(dead, dir / "b.json");

    auto one = start_shim({"-j", dir / "a.json", "--", "sleep", "600"});
    auto two = start_shim({"-j", dir / "b", "--", "sleep", "600"});
    worker_of(dir / "a.json");
    worker_of(dir / "b");
    CHECK(state_of(*this, dir / "a") == "failed");
    CHECK(state_of(*this, dir / "a.json") == "running");
    CHECK(state_of(*this, dir / "b") == "running");
    CHECK(state_of(*this, dir / "b.json") == "failed");
    // Both may run at once.
    auto three = start_shim({"-j", dir / "a", "--", "sleep", "600"});
    REQUIRE(wait_until([&] { return state_of(*this, dir / "a") == "running"; }));
    for (const char* name : {"a", "a.json", "b"})
        CHECK(ctl({"cancel", dir / name}).ended() == "exit 0");
    for (Process* shim : {&one, &two, &three}) shim->wait();
    CHECK(names_in(dir, "heartbeat") == Words{"a.jobshim-heartbeat", "b.heartbeat"});
    fs::remove(dir / "a");
    CHECK(ctl({"prune", "--dir", dir, "--older-than", "0"}).ended() == "exit 0");
    CHECK(names_in(dir, "heartbeat").empty());
}

// `id=$(jobshim --detach --id r.json ...)`, and then `jobctl wait "$id"` knew no such job.
TEST_CASE_METHOD(Sandbox, "an id that was printed is found whatever it looks like", "[quick]") {
    for (const char* id : {"r.json", "x.heartbeat", "y.json.cancel", "a..json", "0"}) {
        CAPTURE(id);
        const auto started = run_shim({"--detach", "--id", id, "--", "true"});
        CHECK(started.out == std::string(id) + "\n");
        CHECK(ctl({"wait", id}).ended() == "exit 0");
        CHECK(ctl({"wait", "--appear", "1s", id}).ended() == "exit 0");
        CHECK(ctl({"logs", id}).ended() == "exit 0");
    }
    // One that jobshim made of a file's name, because the file's own id is none.
    put(dir / "my job.json", R"({"id":"task/1","status":"queued"})");
    const auto started =
        run_shim({"--detach", "-j", dir / "my job.json", "--log", dir / "log", "--", "true"});
    CHECK(started.out == "my-job\n");
    CHECK(ctl({"wait", "--dir", dir, "my-job"}).ended() == "exit 0");
    // The path of a file here, and an id there: neither is guessed.
    put(dir / "r.json", R"({"id":"another","status":"queued"})");
    const auto result = ctl({"status", "r.json"});
    CHECK(result.ended() == "exit 2");
    CHECK(contains(result.err, (dir / "r.json").string()));
    CHECK(contains(result.err, (jobs_of(*this) / "r.json.json").string()));
    CHECK(ctl({"cancel", "r.json"}).ended() == "exit 2");
    CHECK(ctl({"cancel", "./r.json"}).ended() == "exit 0");
}

// The directory was kept as a path: after `mv b b.old; mkdir b` the new directory got a stranger's
// record, and the old one was called dead.
TEST_CASE_METHOD(Sandbox,
                 "a job stays in its directory when that is moved and another takes its "
                 "name") {
    const auto check = [&](const std::string& first) {
        CAPTURE(first);
        fs::create_directories(dir / "b");
        if (!first.empty()) put(dir / "b/j.json", first);
        auto shim = start_shim({"-j", "b/j.json", "--heartbeat-interval", "100ms", "--", "sh", "-c",
                                "until [ -e go ]; do sleep 0.01; done; exit 3"});
        worker_of(dir / "b/j.json");
        fs::rename(dir / "b", dir / "b.old");
        fs::create_directories(dir / "b");
        const auto beat = mtime_of(heartbeat_of(dir / "b.old/j.json"));
        REQUIRE(wait_until([&] { return mtime_of(heartbeat_of(dir / "b.old/j.json")) > beat; }));
        CHECK(state_of(*this, dir / "b.old/j.json") == "running");
        CHECK(ctl({"status", dir / "b/j.json"}).ended() == "exit 4");
        put(dir / "go", "");
        CHECK(shim.wait().ended() == "exit 3");
        CHECK(ctl({"wait", dir / "b.old/j.json"}).ended() == "exit 1");
        CHECK(at(exit_of(dir / "b.old/j.json"), "/code") == 3);
        CHECK(fs::is_empty(dir / "b"));
        for (const char* name : {"b", "b.old", "go"}) fs::remove_all(dir / name);
    };
    check("");
    check(R"({"id":"x","status":"queued"})");
}

// And if the shim dies, what is left is settled where it is.
TEST_CASE_METHOD(Sandbox, "a dead job is settled in its directory wherever that was moved") {
    fs::create_directories(dir / "b");
    put(dir / "b/j.json", R"({"id":"x","status":"queued"})");
    auto shim = start_job(dir / "b/j.json", "exec sleep 600");
    worker_of(dir / "b/j.json");
    fs::rename(dir / "b", dir / "b.old");
    fs::create_directories(dir / "b");
    shim.kill(SIGKILL);
    shim.wait();
    CHECK(ctl({"wait", dir / "b.old/j.json"}).ended() == "exit 1");
    CHECK(at(exit_of(dir / "b.old/j.json"), "/reason") == "shim-lost");
    CHECK(fs::is_empty(dir / "b"));
}

// A file that is queued again without times got the last run's end written into it.
TEST_CASE_METHOD(Sandbox, "a request that looks like the last one is not given the last one's end",
                 "[quick]") {
    for (const char* text : {
             R"({"id":"x","status":"queued"})",
             R"({"id":"x","status":"queued","createdAt":"2020-01-01T00:00:00.000Z"})",
             R"({"id":"x","status":"queued","pid":null})",
             R"({"status":"queued","jobshim":null,"updatedAt":"yesterday"})",
         }) {
        CAPTURE(text);
        request(job, text);
        CHECK(run_job(job, "exit 3").ended() == "exit 3");
        CHECK(state_of(*this, job) == "failed");
        request(job, text);
        CHECK(state_of(*this, job) == "queued");
        CHECK(slurp(job) == text);
        CHECK(ctl({"reap", "--dir", dir}).ended() == "exit 0");
        CHECK(slurp(job) == text);
        // And it can be run.
        CHECK(run_job(job, "exit 0").ended() == "exit 0");
        CHECK(state_of(*this, job) == "completed");
        fs::remove(job);
        fs::remove(heartbeat_of(job));
    }
}

// What tells that it is an old copy still does: the host wrote its pid, or a time of its own.
TEST_CASE_METHOD(Sandbox, "an old copy that a host writes back late is given the end", "[quick]") {
    const std::string before = R"({"id":"x","status":"queued"})";
    const auto check = [&](const std::function<std::string()>& copy) {
        request(job, before);
        auto shim = start_job(job, until_running + "until [ -e go ]; do sleep 0.01; done; exit 3");
        worker_of(job);
        const std::string text = copy();
        CAPTURE(text);
        put(dir / "go", "");
        CHECK(shim.wait().ended() == "exit 3");
        request(job, text);
        CHECK(state_of(*this, job) == "failed");
        CHECK(at(exit_of(job), "/code") == 3);
        fs::remove(dir / "go");
    };
    check([&] {
        return R"({"id":"x","status":"queued","pid":)" + std::to_string(shim_of(job)) + "}";
    });
    check([&] {
        return R"({"id":"x","status":"queued","pid":)" + std::to_string(worker_of(job)) + "}";
    });
    check([&] { return R"({"id":"x","status":"queued","updatedAt":"2020-01-01T00:00:00.000Z"})"; });
    check([&] { return R"({"id":"x","status":"running"})"; });
    check([&] { return slurp(job); });
}
