// The shim itself dies: what happens to the worker, and what readers report.

#include <signal.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "integration/strace.hpp"
#include "integration/support.hpp"

using namespace harness;

namespace {

void check_lost(const fs::path& job) {
    const auto record = read_json(job);
    INFO(record.dump(2));
    CHECK(at(record, "/status") == "failed");
    CHECK(at(record, "/phase") == "failed");
    CHECK(at(record, "/pid") == nullptr);
    CHECK(at(record, "/errorMessage").is_string());
    CHECK(at(record, "/completedAt").is_string());
    CHECK(at(record, "/jobshim/exit/reason") == "shim-lost");
    CHECK(at(record, "/jobshim/exit/certainty") != "observed");
    // Nobody saw it: unknown is null, never 0 or -1.
    for (const char* unknown : {"code", "signal", "signalName", "waitStatus"})
        CHECK(at(record, std::string("/jobshim/exit/") + unknown) == nullptr);
}

std::string state_of(Sandbox& box, const fs::path& job, const Words& extra = {}) {
    Words arguments{"status", job};
    arguments.insert(arguments.end(), extra.begin(), extra.end());
    return at(box.ctl_json(arguments), "/0/verdict/state").get<std::string>();
}

// Linux 6.15 and later keep a process's exit status for holders of a pidfd for it.
bool kernel_keeps_exit_statuses() {
    utsname names{};
    return uname(&names) == 0 && strverscmp(names.release, "6.15") >= 0;
}

}  // namespace

TEST_CASE_METHOD(Sandbox, "killing the shim ends its worker too and a waiter knows within 200 ms",
                 "[serial]") {
    for (const std::string written : {"", R"({"id":"host-1","host":[1.10]})"}) {
        CAPTURE(written);
        fs::remove(job);
        if (!written.empty()) put(job, written);
        auto shim = start_job(job, for_ever);
        const auto worker = worker_of(job);
        auto waiter = spawn({jobctl, "wait", job});
        wait_until_parked(waiter);

        const auto killed = Clock::now();
        shim.kill(SIGKILL);
        CHECK(waiter.wait().ended() == "exit 1");
        CHECK(Clock::now() - killed < stretched(200ms));
        CHECK_FALSE(alive(worker));
        check_lost(job);
        if (!written.empty()) CHECK(contains(slurp(job), R"("host":[1.10])"));
        shim.wait();
    }
}

TEST_CASE_METHOD(Sandbox,
                 "settling a lost job ends the rest of the worker's group but none of its daemons",
                 "[quick]") {
    auto shim = start_job(job,
                          "sleep 600 & echo $! > in-group; setsid sh -c 'echo $$ > daemon; exec "
                          "sleep 600' & touch ready; " +
                              for_ever);
    const auto worker = worker_of(job);
    REQUIRE(
        wait_until([&] { return fs::exists(dir / "ready") && !slurp(dir / "daemon").empty(); }));
    const auto in_group = static_cast<pid_t>(std::stol(slurp(dir / "in-group")));
    const auto daemon = static_cast<pid_t>(std::stol(slurp(dir / "daemon")));
    REQUIRE(process_stat(in_group).group == worker);
    kill_shim(shim, job);
    CHECK(ctl({"status", job}).ended() == "exit 1");
    CHECK(wait_until([&] { return !alive(worker) && !alive(in_group); }));
    check_lost(job);
    CHECK(alive(daemon));
    kill(daemon, SIGKILL);
}

TEST_CASE_METHOD(Sandbox,
                 "a worker that is kept alive is orphaned while it lives and lost afterwards",
                 "[quick]") {
    auto shim = start_job(job, until_go + "exit 0", {"--on-shim-death", "keep"});
    const auto worker = worker_of(job);
    kill_shim(shim, job);
    CHECK(alive(worker));
    const auto before = slurp(job);
    CHECK(state_of(*this, job) == "orphaned");
    const auto text = ctl({"status", job});
    CHECK(text.ended() == "exit 3");
    CHECK(contains(text.out, "orphaned"));
    CHECK(slurp(job) == before);
    put(dir / "go", "");
    CHECK(wait_until([&] { return !alive(worker); }));
    CHECK(ctl({"status", job}).ended() == "exit 1");
    check_lost(job);
}

TEST_CASE_METHOD(Sandbox, "wait continues while the worker is orphaned and ends with it") {
    auto shim = start_job(job, until_go + "exit 0", {"--on-shim-death", "keep"});
    worker_of(job);
    auto waiter = spawn({jobctl, "wait", job});
    wait_until_parked(waiter);
    kill_shim(shim, job);
    CHECK_FALSE(wait_until([&] { return !waiter.running(); }, 300ms));
    wait_until_parked(waiter);
    put(dir / "go", "");
    // From Linux 6.15 on it knows how the worker ended: see "a wait that watched an orphan".
    CHECK(waiter.wait(5s).ended() == (kernel_keeps_exit_statuses() ? "exit 0" : "exit 1"));
    if (!kernel_keeps_exit_statuses()) check_lost(job);
}

TEST_CASE_METHOD(Sandbox, "a wait that watched an orphan to its end records how it ended",
                 "[quick]") {
    if (!kernel_keeps_exit_statuses()) SKIP_TEST("the kernel is older than 6.15");
    struct Case {
        std::string end;
        std::string waiter;
        Words options;
        Json status, reason, code, signal;
    };
    const std::vector<Case> cases{
        {"exit 0", "exit 0", {}, "completed", "success", 0, nullptr},
        {"exit 7", "exit 1", {}, "failed", "exit-code", 7, nullptr},
        {"kill -9 $$", "exit 1", {}, "failed", "signal", nullptr, 9},
        {"exit 0", "exit 1", {"--expect-record"}, "failed", "no-result", 0, nullptr},
    };
    for (const auto& [end, waited, options, status, reason, code, signal] : cases) {
        CAPTURE(end, options);
        Words extra{"--on-shim-death", "keep"};
        extra.insert(extra.end(), options.begin(), options.end());
        auto shim = start_job(job, "touch executed; " + until_go + end, extra);
        const auto worker = worker_of(job);
        auto waiter = spawn({jobctl, "wait", job});
        wait_until_parked(waiter);
        REQUIRE(wait_until([&] { return fs::exists(dir / "executed"); }));
        kill_shim(shim, job);
        // Parked too: any look at a worker has it open for a moment.
        REQUIRE(wait_until(
            [&] { return process_state(waiter.pid()) == 'S' && watches(waiter.pid(), worker); }));
        put(dir / "go", "");
        CHECK(waiter.wait().ended() == waited);
        const auto record = read_json(job);
        CHECK(at(record, "/status") == status);
        CHECK(at(record, "/jobshim/exit/reason") == reason);
        CHECK(at(record, "/jobshim/exit/certainty") == "observed");
        CHECK(at(record, "/jobshim/exit/code") == code);
        CHECK(at(record, "/jobshim/exit/signal") == signal);
        CHECK(
            contains(at(record, "/jobshim/exit/evidence").dump(), "watched the worker to its end"));
        CHECK(ctl({"status", job}).ended() == waited);
        fs::remove(dir / "go");
        fs::remove(dir / "executed");
    }
}

TEST_CASE_METHOD(Sandbox, "a wait records how an orphan ended even if that was between two looks",
                 "[quick]") {
    if (!kernel_keeps_exit_statuses()) SKIP_TEST("the kernel is older than 6.15");
    auto shim = start_job(job, until_go + "exit 0", {"--on-shim-death", "keep"});
    const auto worker = worker_of(job);
    // It first needs inotify when the shim is dead, and then looks again.
    const auto trace = dir / "trace";
    auto tracer = spawn(under_strace(
        trace, {"-e", "trace=inotify_add_watch", "-e", "inject=inotify_add_watch:signal=SIGSTOP"},
        {jobctl, "wait", job}));
    pid_t waiter = 0;
    REQUIRE(wait_until([&] {
        for (const pid_t child : children_of(tracer.pid())) waiter = child;
        return waiter != 0 && watches(waiter, shim.pid()) && process_state(waiter) == 'S';
    }));
    kill_shim(shim, job);
    REQUIRE(wait_until([&] { return contains(slurp(trace), "--- stopped by SIGSTOP ---"); }));
    REQUIRE(watches(waiter, worker));
    put(dir / "go", "");
    REQUIRE(wait_until([&] { return !alive(worker); }));
    kill(waiter, SIGCONT);
    CHECK(tracer.wait().ended() == "exit 0");
    CHECK(at(read_json(job), "/jobshim/exit/certainty") == "observed");
}

TEST_CASE_METHOD(Sandbox, "with --no-reap a reader shows lost and touches nothing", "[quick]") {
    auto shim = start_job(job, for_ever);
    kill_shim(shim, job);
    const auto record = slurp(job), heartbeat = slurp(heartbeat_of(job));
    const auto time = mtime_of(job), beat = mtime_of(heartbeat_of(job));
    for (const char* command : {"status", "wait", "result"}) {
        CAPTURE(command);
        const auto result = ctl({command, job, "--no-reap"});
        CHECK(result.ended() == "exit 1");
        CHECK(contains(result.out, "lost"));
    }
    CHECK(state_of(*this, job, {"--no-reap"}) == "lost");
    CHECK(ctl({"list", "--no-reap", "--dir", dir}).ended() == "exit 0");
    CHECK(slurp(job) == record);
    CHECK(slurp(heartbeat_of(job)) == heartbeat);
    CHECK(mtime_of(job) == time);
    CHECK(mtime_of(heartbeat_of(job)) == beat);

    CHECK(ctl({"status", job}).ended() == "exit 1");
    check_lost(job);
}

TEST_CASE_METHOD(Sandbox, "reap settles only dead jobs and a dry run only reports them",
                 "[quick]") {
    auto lost = start_job(dir / "lost.json", for_ever);
    kill_shim(lost, dir / "lost.json");
    auto shim = start_job(dir / "alive.json", until_go);
    worker_of(dir / "alive.json");
    run_job(dir / "finished-one.json", "exit 0");
    put(dir / "queued.json", R"({"id":"queued","status":"queued"})");
    put(dir / "broken.json", "{");
    std::map<fs::path, std::string> before;
    for (const char* name : {"lost", "alive", "finished-one", "queued", "broken"})
        before[dir / (std::string(name) + ".json")] = slurp(dir / (std::string(name) + ".json"));

    const auto dry = ctl({"reap", "--dry-run", "--dir", dir});
    CHECK(dry.ended() == "exit 0");
    CHECK(contains(dry.out, "lost"));
    CHECK_FALSE(contains(dry.out, "finished-one"));
    for (const auto& [file, content] : before) CHECK(slurp(file) == content);

    CHECK(ctl({"reap", "--dir", dir}).ended() == "exit 0");
    check_lost(dir / "lost.json");
    before.erase(dir / "lost.json");
    for (const auto& [file, content] : before) CHECK(slurp(file) == content);
    put(dir / "go", "");
    shim.wait();
}

TEST_CASE_METHOD(Sandbox, "sixteen readers at once settle each of twenty dead jobs exactly once") {
    std::vector<Process> shims;
    std::vector<fs::path> jobs;
    for (int i = 0; i < 20; ++i) {
        jobs.push_back(dir / ("dead-" + std::to_string(i) + ".json"));
        if (i % 2) put(jobs.back(), R"({"host":1})");
        shims.push_back(start_job(jobs.back(), for_ever));
    }
    for (std::size_t i = 0; i < jobs.size(); ++i) kill_shim(shims[i], jobs[i]);

    const Fd events(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    REQUIRE(inotify_add_watch(events.get(), dir.c_str(), IN_MOVED_TO | IN_MODIFY) >= 0);
    std::vector<Process> readers;
    for (int i = 0; i < 16; ++i) {
        Words argv{jobctl, Words{"reap", "status", "wait", "list"}[static_cast<std::size_t>(i % 4)],
                   "--dir", dir};
        if (i % 4 == 1 || i % 4 == 2) argv.insert(argv.end(), jobs.begin(), jobs.end());
        readers.push_back(spawn(argv));
    }
    for (std::size_t i = 0; i < readers.size(); ++i) {
        const auto result = readers[i].wait();
        INFO(result.out << result.err);
        CHECK(result.code() == (i % 4 == 1 || i % 4 == 2 ? 1 : 0));
    }

    std::map<std::string, int> renamed, written_in_place;
    alignas(inotify_event) char block[65536];
    for (ssize_t count; (count = read(events.get(), block, sizeof block)) > 0;)
        for (ssize_t at_byte = 0; at_byte < count;) {
            const auto* event = reinterpret_cast<const inotify_event*>(block + at_byte);
            ++(event->mask & IN_MOVED_TO ? renamed : written_in_place)[event->name];
            at_byte += static_cast<ssize_t>(sizeof *event + event->len);
        }
    for (const auto& file : jobs) {
        CAPTURE(file);
        CHECK(renamed[file.filename()] == 1);
        CHECK(written_in_place[file.filename()] == 0);
        check_lost(file);
    }
    CHECK(names_in(dir, ".tmp").empty());
}

TEST_CASE_METHOD(Sandbox,
                 "a verdict that cannot be written is still shown and marked not recorded") {
    const auto directory = dir / "closed";
    fs::create_directory(directory);
    const auto file = directory / "job.json";
    put(file, "{}");
    auto shim = start_job(file, for_ever);
    kill_shim(shim, file);
    const auto program = public_copy(jobctl);
    for (const auto& name : names_in(directory, ""))
        fs::permissions(directory / name, fs::perms(0644));
    fs::permissions(directory, fs::perms(0555));
    const auto before = slurp(file);
    Options options;
    if (geteuid() == 0) options.before_exec = become_nobody;

    for (const char* command : {"status", "wait", "result"}) {
        CAPTURE(command);
        const auto result = run({program, command, file}, options);
        INFO(result.err);
        CHECK(result.ended() == "exit 1");
        CHECK(contains(result.out + result.err, "not recorded"));
        CHECK(slurp(file) == before);
    }
}

TEST_CASE_METHOD(Sandbox,
                 "a shim lost with its pid namespace is unknown and no reader settles it") {
    if (!in_path("unshare") || run({"unshare", "-pf", "--mount-proc", "--", "true"}).status != 0)
        SKIP_TEST("no pid namespace of our own (needs root)");
    auto outer = spawn(
        {"unshare", "-pf", "--mount-proc", "--", jobshim, "-j", job, "--", "sh", "-c", for_ever});
    worker_of(job);
    CHECK(state_of(*this, job) == "running");  // the lock is visible from every namespace
    for (pid_t inner : children_of(outer.pid())) kill(inner, SIGKILL);
    outer.wait();
    const auto before = slurp(job);
    CHECK(state_of(*this, job) == "unknown");
    CHECK(ctl({"status", job}).ended() == "exit 6");
    CHECK(ctl({"wait", job, "--timeout", "200ms"}).ended() == "exit 124");
    CHECK(ctl({"reap", "--dir", dir}).ended() == "exit 0");
    CHECK(slurp(job) == before);
}
