// What people who had only the titles of the other fault tests came upon.

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "integration/attackers.hpp"
#include "integration/strace.hpp"
#include "integration/support.hpp"

using namespace harness;

namespace {

/// Everything that has the job's name, as `make clean` removes it.
void remove_job(const fs::path& job) {
    for (const auto& entry : fs::directory_iterator(job.parent_path()))
        if (contains(entry.path().filename().string(), job.stem().string()))
            fs::remove(entry.path());
}

std::string verdict_of(Sandbox& box, const fs::path& job) {
    return at(box.ctl_json({"status", job}).at(0), "/verdict/state");
}

}  // namespace

// A run whose files had been removed wrote its end over the record of the next run, whose reserve
// it had taken for its own: the job file of a live job was empty.
TEST_CASE_METHOD(Sandbox, "a run whose files were removed leaves those of the next run alone",
                 "[quick]") {
    const auto file = dir / "j.json";
    const std::string until = "until [ -e old ]; do sleep 0.01; done; exit 3";
    auto old = start_job(file, until);
    worker_of(file);
    remove_job(file);
    SECTION("which is over") {
        CHECK(run_job(file, "exit 0").ended() == "exit 0");
        const auto before = slurp(file);
        put(dir / "old", "");
        const auto result = old.wait();
        CHECK(result.ended() == "exit 125");
        CHECK(slurp(file) == before);
    }
    SECTION("which runs") {
        put(file, R"({"id":"j","status":"queued","budget":2.20})");
        auto next = start_job(file, until_go + "exit 5");
        worker_of(file);
        put(dir / "old", "");
        CHECK(old.wait().ended() == "exit 125");
        CHECK(verdict_of(*this, file) == "running");
        CHECK(contains(slurp(file), "2.20"));
        CHECK(names_in(dir, "jobshim-reserve").size() == 1);
        put(dir / "go", "");
        CHECK(next.wait().ended() == "exit 5");
        CHECK(at(exit_of(file), "/code") == 5);
        CHECK(names_in(dir, "corrupt").empty());
    }
    SECTION("of which there is none") {
        put(dir / "old", "");
        CHECK(old.wait().ended() == "exit 3");
        CHECK(at(exit_of(file), "/code") == 3);
    }
}

// `prune --logs` removed the log of a job in another directory, even while that ran; and that of
// another job at the path where the job's directory had been.
TEST_CASE_METHOD(Sandbox, "prune removes no log that is or may be another job's", "[quick]") {
    const Words prune{"prune", "--older-than", "0", "--logs", "--dir"};
    for (const char* name : {"one", "two", "logs"}) fs::create_directory(dir / name);
    SECTION("another job has written to it") {
        run_job(dir / "one/a.json", "echo first", {"--log", dir / "logs/log"});
        run_job(dir / "two/b.json", "echo second", {"--log", dir / "logs/log"});
        CHECK(ctl(joined({prune, {dir / "one"}})).ended() == "exit 0");
        CHECK(slurp(dir / "logs/log") == "first\nsecond\n");
    }
    SECTION("another job has it open") {
        run_job(dir / "one/a.json", "echo first", {"--log", dir / "logs/log"});
        auto other =
            start_job(dir / "two/b.json", until_go + "echo second", {"--log", dir / "logs/log"});
        worker_of(dir / "two/b.json");
        CHECK(ctl(joined({prune, {dir / "one"}})).ended() == "exit 0");
        put(dir / "go", "");
        other.wait();
        CHECK(slurp(dir / "logs/log") == "first\nsecond\n");
    }
    SECTION("the record is a copy") {
        run_job(dir / "one/a.json", "echo first", {"--log", dir / "logs/log"});
        run({"cp", "-a", dir / "one", dir / "copy"});
        const auto result = ctl(joined({prune, {dir / "copy"}}));
        CHECK(contains(result.err, "kept"));
        CHECK(fs::exists(dir / "logs/log"));
        CHECK_FALSE(fs::exists(dir / "copy/a.json"));
    }
    SECTION("its directory was moved") {
        run_job(dir / "one/a.json", "echo first", {"--log", dir / "one/a.log"});
        fs::rename(dir / "one", dir / "one.old");
        fs::create_directory(dir / "one");
        run_job(dir / "one/a.json", "echo second", {"--log", dir / "one/a.log"});
        // Nor is it shown as this job's.
        CHECK(ctl({"logs", dir / "one.old/a.json"}).out == "first\n");
        CHECK(ctl({"logs", dir / "one/a.json"}).out == "second\n");
        CHECK(ctl(joined({prune, {dir / "one.old"}})).ended() == "exit 0");
        CHECK(fs::is_empty(dir / "one.old"));
        CHECK(slurp(dir / "one/a.log") == "second\n");
    }
    SECTION("but its own goes") {
        run_job(dir / "one/a.json", "echo first", {"--log", dir / "logs/log"});
        CHECK(ctl(joined({prune, {dir / "one"}})).ended() == "exit 0");
        CHECK_FALSE(fs::exists(dir / "logs/log"));
    }
}

// In a rootless container everybody is 0, and the record named root.
TEST_CASE_METHOD(Attacked, "a requester in a user namespace is not called root", "[quick]") {
    NEEDS_USERS();
    if (!in_path("unshare") || play(user_a, {"unshare", "-Ur", "true"}).ended() != "exit 0")
        SKIP_TEST("no user namespaces for ordinary users");
    const fs::path file = a / "j.json";
    auto shim = begin(user_a, {shim_program, "-j", file, "--", await_program});
    worker_of(file);
    CHECK(play(user_a, {"unshare", "-Ur", ctl_program, "cancel", file}).ended() == "exit 0");
    shim.wait();
    CHECK(at(exit_of(file), "/requestedBy/uid") == user_a);
    make_file(a / "queued.json", user_a, 0600, R"({"id":"queued","status":"queued"})");
    CHECK(play(user_a, {"unshare", "-Ur", ctl_program, "cancel", a / "queued.json"}).ended() ==
          "exit 0");
    CHECK(at(exit_of(a / "queued.json"), "/requestedBy/uid") == user_a);
}

// The shim was stopped, the worker ended, and then the clock said that its time was up.
TEST_CASE_METHOD(Sandbox, "a worker that ended in time did not time out", "[quick]") {
    auto shim =
        start_job(job, "read line < go; exit 0", {"--timeout", "2s"},
                  {.before_exec = [&] { must(mkfifo((dir / "go").c_str(), 0600), "mkfifo"); }});
    const auto worker = worker_of(job);
    shim.kill(SIGSTOP);
    REQUIRE(wait_until([&] { return process_state(shim.pid()) == 'T'; }));
    put(dir / "go", "\n");
    REQUIRE(wait_until([&] { return !alive(worker); }));
    // Past its time.
    const auto past = Clock::now() + 2100ms;
    REQUIRE(wait_until([&] { return Clock::now() > past; }));
    shim.kill(SIGCONT);
    CHECK(shim.wait().ended() == "exit 0");
    CHECK(at(read_json(job), "/status") == "completed");
    CHECK(at(exit_of(job), "/evidence") == Json::array());
}

// "Killed by SIGTERM, sent by X", whose SIGTERM the worker had ignored.
TEST_CASE_METHOD(Sandbox, "who sent a signal that was ignored did not request the end", "[quick]") {
    for (const char* end : {"trap - TERM; kill -TERM $$", "exit 5", "exit 143"}) {
        CAPTURE(end);
        fs::remove(dir / "go");
        auto shim = start_job(job,
                              "trap '' TERM; echo ready; until [ -e go ]; do sleep 0.02; "
                              "done; " +
                                  std::string(end));
        REQUIRE(wait_until([&] { return contains(shim.out(), "ready"); }));
        shim.kill(SIGTERM);
        // Once the shim has dealt with it.
        const auto pending = [&] {
            return contains(slurp("/proc/" + std::to_string(shim.pid()) + "/status"),
                            "ShdPnd:\t0000000000004000");
        };
        REQUIRE(wait_until([&] { return !pending(); }));
        put(dir / "go", "");
        shim.wait();
        CHECK(at(exit_of(job), "/requestedBy") == nullptr);
        CHECK_FALSE(contains(at(read_json(job), "/errorMessage").dump(), "uid"));
        CHECK(contains(at(exit_of(job), "/evidence").dump(), "the worker ignored it"));
    }
}

// `cp -a d bak` while the job ran: bak was called dead, though the job went on, or had completed.
TEST_CASE_METHOD(Sandbox, "a copy of a running job's directory has no end of its own", "[quick]") {
    fs::create_directory(dir / "d");
    const auto file = dir / "d/a.json", copy = dir / "bak/a.json";
    auto shim = start_job(file, until_go + "exit 0");
    worker_of(file);
    REQUIRE(run({"cp", "-a", dir / "d", dir / "bak"}).ended() == "exit 0");
    const auto before = slurp(copy);
    CHECK(verdict_of(*this, copy) == "unknown");
    CHECK(ctl({"cancel", copy}, {.limit = 5s}).ended() == "exit 6");
    CHECK(run_job(copy, "true").ended() == "exit 125");
    put(dir / "go", "");
    CHECK(shim.wait().ended() == "exit 0");
    const auto seen = ctl({"status", copy});
    CHECK(seen.ended() == "exit 6");
    CHECK(contains(seen.out, "It is a copy of " + file.string()));
    CHECK(slurp(copy) == before);
    CHECK(verdict_of(*this, file) == "completed");
    // A person may know.
    CHECK(ctl({"reap", "--dir", dir / "bak"}).ended() == "exit 0");
    CHECK(slurp(copy) == before);
}

// A debugger's stop has a letter of its own, and no SIGCONT was sent.
TEST_CASE_METHOD(Sandbox, "a worker that is stopped under a debugger is continued to end",
                 "[quick]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    auto shim = start_job(job, for_ever, {"--timeout", "2s", "--kill-after", "0"});
    const auto worker = worker_of(job);
    auto debugger = spawn({"strace", "-o", "/dev/null", "-p", std::to_string(worker)});
    const auto is_traced = [&] {
        return !contains(slurp("/proc/" + std::to_string(worker) + "/status"), "TracerPid:\t0\n");
    };
    if (!wait_until([&] { return is_traced() || !debugger.running(); }) || !is_traced()) {
        shim.kill(SIGTERM);
        shim.wait();
        SKIP_TEST("no right to trace");
    }
    ::kill(worker, SIGSTOP);
    REQUIRE(wait_until([&] { return process_state(worker) == 't'; }));
    CHECK(shim.wait().ended() == "exit 124");
    CHECK(at(exit_of(job), "/signal") == SIGTERM);
    debugger.wait();
}

TEST_CASE_METHOD(Sandbox, "a sender in another pid namespace has no pid", "[quick]") {
    if (geteuid() != 0 || !in_path("unshare") ||
        run({"unshare", "-pf", "--mount-proc", "true"}).ended() != "exit 0")
        SKIP_TEST("needs root and a pid namespace");
    auto shim = spawn({"unshare", "-pf", "--mount-proc", "--kill-child", jobshim, "-j", job, "--",
                       "sh", "-c", "trap 'exit 3' TERM; echo ready; " + for_ever_in_shell});
    REQUIRE(wait_until([&] { return contains(shim.out(), "ready"); }));
    REQUIRE(wait_until([&] { return children_of(shim.pid()).size() == 1; }));
    ::kill(children_of(shim.pid()).front(), SIGTERM);
    shim.wait();
    CHECK(at(exit_of(job), "/requestedBy/pid") == nullptr);
    CHECK(at(exit_of(job), "/requestedBy/uid") == 0);
}

TEST_CASE_METHOD(Sandbox, "none of the job's own names can be its log", "[quick]") {
    for (const char* name : {"job.json", "job.heartbeat", "job.json.cancel",
                             ".job.json.jobshim-new", ".job.json.jobshim-reserve"}) {
        CAPTURE(name);
        const auto result = run_job(job, "true", {"--log", dir / name});
        CHECK(result.ended() == "exit 125");
        CHECK(contains(result.err, "the job's own file"));
    }
}

TEST_CASE_METHOD(Sandbox, "an id for which there is no standard output is not printed in silence",
                 "[quick][libc]") {
    const auto result = run({"sh", "-c", "$JOBSHIM --detach --id unheard -- true >&-"},
                            {.env = {{"JOBSHIM", jobshim}}});
    CHECK(result.ended() == "exit 125");
    CHECK(contains(result.err, "unheard"));
    CHECK(ctl({"wait", "unheard"}).ended() == "exit 0");
}

// An unset variable in a script made the working directory the one to prune.
TEST_CASE_METHOD(Sandbox, "an empty name of a directory is refused", "[quick]") {
    run_job(job, "true");
    for (const Words& words :
         {Words{"prune", "--older-than", "0", "--dir", ""}, Words{"list", "--dir", ""},
          Words{"reap", "--dir="}, Words{"list", "--companion", ""}}) {
        CAPTURE(words);
        CHECK(ctl(words).ended() == "exit 2");
    }
    CHECK(fs::exists(job));
}

// A path was refused because of a directory that has nothing to do with it.
TEST_CASE_METHOD(Attacked, "a job file that is here is found whatever the default directory is",
                 "[quick]") {
    NEEDS_USERS();
    const auto file = a / "live.json";
    auto shim = begin(user_a, {shim_program, "-j", file, "--", await_program});
    worker_of(file);
    make_directory(dir / "closed", root, 0755);
    make_directory(dir / "closed/jobshim", root, 0755);
    make_directory(dir / "closed/jobshim/jobs", root, 0700);
    Options here = as(user_a);
    here.env["XDG_STATE_HOME"] = dir / "closed";
    here.cwd = a;
    CHECK(run({ctl_program, "status", "live.json"}, here).ended() == "exit 3");
    CHECK(run({ctl_program, "status", "other.json"}, here).ended() == "exit 125");
    CHECK(run({ctl_program, "cancel", "live.json"}, here).ended() == "exit 0");
    shim.wait();
}

// The clock was wrong when it ended.
TEST_CASE_METHOD(Sandbox, "prune of everything takes a job that is to end in the future",
                 "[quick]") {
    run_job(job, "true");
    auto record = read_json(job);
    record["completedAt"] = "2099-01-01T00:00:00.000Z";
    put(job, record.dump());
    CHECK(ctl({"prune", "--dir", dir, "--older-than", "1ms"}).ended() == "exit 0");
    CHECK(fs::exists(job));
    CHECK(ctl({"prune", "--dir", dir, "--older-than", "0"}).ended() == "exit 0");
    CHECK_FALSE(fs::exists(job));
}

// "This job is not over: Exited with status 3."
TEST_CASE_METHOD(Sandbox, "a run that ends while the next one looks is over", "[quick]") {
    put(job, R"({"id":"j","status":"queued"})");
    auto first = start_job(job, until_go + "exit 3");
    worker_of(job);
    fs::remove(heartbeat_of(job));
    auto second = start_job(job, "exit 4");
    // It has the lock, and waits for a shim that has lost its own.
    REQUIRE(wait_until([&] { return shim_lock_is_held(heartbeat_of(job)) || !second.running(); }));
    put(dir / "go", "");
    first.wait();
    const auto result = second.wait();
    CHECK_FALSE(contains(result.err, "is not over: Exited"));
    CHECK((result.ended() == "exit 4" || contains(result.err, "is not over")));
}

// System calls that a sandbox refuses or that fail: an error or another way, and no hang.
TEST_CASE_METHOD(Sandbox, "a start that cannot go on and an end that cannot be seen hang nobody",
                 "[quick]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    const auto inject = [&](const std::string& what) {
        const auto set = what.substr(0, what.find(':'));
        return run(under_strace(dir / "trace", {"-e", "trace=" + set, "-e", "inject=" + what},
                                {jobshim, "-j", job, "--", "sh", "-c", "exit 3"}),
                   {.limit = 15s});
    };
    SECTION("waitid(2) is refused") {
        for (const char* error : {"EPERM", "ENOSYS"}) {
            CHECK(inject("waitid:error=" + std::string(error)).ended() == "exit 3");
            CHECK(at(exit_of(job), "/code") == 3);
        }
    }
    SECTION("nothing can be flushed") {
        for (const char* error : {"EINVAL", "ENOSYS"})
            CHECK(inject("fsync,fdatasync:error=" + std::string(error)).ended() == "exit 3");
        CHECK(at(exit_of(job), "/code") == 3);
    }
}
