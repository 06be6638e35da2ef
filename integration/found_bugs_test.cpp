// Bugs found by trying to break the programs. Each test tells its story.

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "integration/strace.hpp"
#include "integration/support.hpp"

using namespace harness;

namespace {

// Like under_strace(), but for all processes of argv.
Words all_under_strace(const fs::path& out, Words options, const Words& argv) {
    options.insert(options.begin(), "-f");
    return under_strace(out, options, argv);
}

}  // namespace

// What the exchange displaced was removed before it was known to be merged, so a kill or a shortage
// of file descriptors at that point destroyed what the host had just written.
TEST_CASE_METHOD(Sandbox, "what a host writes during the exchange survives any failure then",
                 "[quick]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    const auto jobs = dir / "jobs", file = jobs / "job.json";
    fs::create_directory(jobs);
    const auto request = [&] { put(file, R"({"id":"job","status":"queued","n":1})"); };
    request();
    // The look at what was displaced: the second open of the new version's name.
    int opens = 0, looks = 0;
    for (const auto& call : record(*this, {jobshim, "-j", file, "--", "true"}, jobs)) {
        if (call.kind() != "openat" || call.paths.empty()) continue;
        ++opens;
        if (contains(call.line, ".job.json.jobshim-new") && ++looks == 2) break;
    }
    REQUIRE(looks == 2);
    for (const std::string& fault : Words{"signal=SIGKILL", "error=EMFILE", "error=EIO"}) {
        CAPTURE(fault);
        for (const auto& entry : fs::directory_iterator(jobs)) fs::remove(entry);
        fs::remove(dir / "trace");
        request();
        // Delayed right before the exchange.
        auto shim = spawn(
            all_under_strace(dir / "trace",
                             {"-P", jobs, "-e", "trace=renameat2,open,openat", "-e",
                              "inject=renameat2:delay_enter=600000:when=1", "-e",
                              "inject=open,openat:" + fault + ":when=" + std::to_string(opens)},
                             {jobshim, "-j", file, "--", "true"}));
        REQUIRE(wait_until([&] { return contains(slurp(dir / "trace"), "renameat2("); }));
        put(dir / "theirs", R"({"id":"job","status":"queued","n":2,"precious":true})");
        fs::rename(dir / "theirs", file);
        shim.wait();
        run_shim({"-j", file, "--", "true"});
        std::string everywhere;
        for (const auto& entry : fs::directory_iterator(jobs)) everywhere += slurp(entry);
        CHECK(contains(everywhere, "precious"));
        CHECK(names_in(jobs, ".jobshim-").empty());
    }
}

// The directory was opened for its flush after the rename; when that failed, the start was aborted,
// and the record said `running` forever although nothing had been started.
TEST_CASE_METHOD(Sandbox, "a directory that can be written but not read keeps its jobs' records") {
    const auto directory = dir / "closed";
    fs::create_directory(directory);
    const auto file = directory / "job.json";
    put(file, R"({"id":"job","status":"queued"})");
    Options options;
    const auto program = public_copy(jobshim);
    if (geteuid() == 0) {
        must(chown(directory.c_str(), 65534, 65534), "chown");
        must(chown(file.c_str(), 65534, 65534), "chown");
        options.before_exec = become_nobody;
    }
    fs::permissions(directory, fs::perms(0300));
    const auto result = run({program, "-j", file, "--", "sh", "-c", "exit 7"}, options);
    fs::permissions(directory, fs::perms(0700));
    INFO(result.err);
    CHECK(result.ended() == "exit 7");
    CHECK(at(exit_of(file), "/code") == 7);
}

// Anyone with write permission can forge a record and a heartbeat file. They must not make another
// user's reader, least of all root's, kill anything.
TEST_CASE_METHOD(Sandbox, "a forged record does not make another user's reader kill", "[quick]") {
    if (geteuid() != 0) SKIP_TEST("needs root, to be two users");
    const auto mine = dir / "mine.json";
    auto shim = start_job(mine, "sleep 600 & echo $! > left; exec sleep 600");
    worker_of(mine);
    REQUIRE(wait_until([&] { return !slurp(dir / "left").empty(); }));
    const pid_t left = std::stoi(slurp(dir / "left"));
    kill_shim(shim, mine);
    REQUIRE(alive(left));
    // The same record and heartbeat file, but owned by another user.
    for (const auto& file : {mine, heartbeat_of(mine)})
        must(chown(file.c_str(), 65534, 65534), "chown");
    CHECK(ctl({"status", mine}).ended() == "exit 1");
    CHECK(alive(left));
    kill(left, SIGKILL);
}

// 50,000 levels in a heartbeat line crashed both programs with SIGSEGV, `list` for the whole
// directory.
TEST_CASE_METHOD(Sandbox, "forged files crash neither program", "[quick]") {
    const std::string deep = std::string(100'000, '[') + std::string(100'000, ']');
    put(job, R"({"status":"running"})");
    put(heartbeat_of(job), R"({"jobshim":{"shim":{"pid":1},"x":)" + deep + "},\"job\":\"x\"}\n");
    put(dir / "numbers.json",
        R"({"status":"completed","jobshim":{"shim":{"pid":1},"heartbeat":{"intervalMs":-9223372036854775808},)"
        R"("exit":{"reason":"signal","durationMs":-9223372036854775808,)"
        R"("resources":{"userMs":-9223372036854775808}}}})");
    CHECK(ctl({"list", "--dir", dir}).ended() == "exit 0");
    CHECK(ctl({"status", job}).ended() == "exit 6");
    CHECK(ctl({"result", dir / "numbers.json"}).ended() == "exit 0");
    CHECK(run_job(job, "exit 4").ended() == "exit 4");
}

// The kernel signals a hangup only to the session leader. A shim that was the leader kept it to
// itself.
TEST_CASE_METHOD(Sandbox,
                 "a hangup of the terminal reaches the worker of a shim that leads the session") {
    const Fd master(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    REQUIRE(master.get() >= 0);
    must(grantpt(master.get()), "grantpt");
    must(unlockpt(master.get()), "unlockpt");
    const std::string name = ptsname(master.get());
    Options options;
    options.before_exec = [name] {
        const int terminal = open(name.c_str(), O_RDWR | O_CLOEXEC);
        must(ioctl(terminal, TIOCSCTTY, 0), "TIOCSCTTY");
    };
    auto shim = start_job(job, "exec sleep 600", {}, options);
    const auto worker = worker_of(job);
    CHECK(at(read_json(job), "/jobshim/worker/group") == "share");
    const_cast<Fd&>(master).close();
    CHECK(shim.wait().ended() == "SIGHUP");
    CHECK_FALSE(alive(worker));
    CHECK(at(exit_of(job), "/signalName") == "SIGHUP");
}

// A TERM between the last check for one and the fork did not stop the worker from starting.
TEST_CASE_METHOD(Sandbox, "a job cancelled at any step of its start is not started") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    for (const std::string& call : Words{"fallocate", "uname", "socketpair", "setpgid"}) {
        CAPTURE(call);
        fs::remove(dir / "trace");
        auto tracer = spawn(all_under_strace(
            dir / "trace",
            {"-e", "trace=" + call, "-e", "inject=" + call + ":delay_enter=1500000:when=1"},
            {jobshim, "-j", job, "--", "sh", "-c", "touch started"}));
        REQUIRE(wait_until([&] { return contains(slurp(dir / "trace"), call + "("); }));
        // The shim's own line comes first, whichever process makes the call.
        const auto shims = children_of(tracer.pid());
        REQUIRE(shims.size() == 1);
        kill(shims[0], SIGTERM);
        CHECK(tracer.wait().ended() == "SIGTERM");
        CHECK_FALSE(fs::exists(dir / "started"));
        CHECK(at(read_json(job), "/status") == "cancelled");
    }
}

// A signal that came while the shim checked for the four that cancel a start was discarded.
TEST_CASE_METHOD(Sandbox, "a signal that comes during the start reaches the worker") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    for (const std::string& call : Words{"fallocate", "socketpair"}) {
        CAPTURE(call);
        fs::remove(dir / "trace");
        auto tracer = spawn(all_under_strace(
            dir / "trace",
            {"-e", "trace=" + call, "-e", "inject=" + call + ":delay_enter=400000:when=1"},
            {jobshim, "-j", job, "--", "sleep", "600"}));
        REQUIRE(wait_until([&] { return contains(slurp(dir / "trace"), call + "("); }));
        const auto shims = children_of(tracer.pid());
        REQUIRE(shims.size() == 1);
        kill(shims[0], SIGUSR1);
        CHECK(tracer.wait().ended() == "SIGUSR1");
        CHECK(at(exit_of(job), "/signalName") == "SIGUSR1");
    }
}

// glibc keeps 32 and 33 out of every signal set, musl 34 as well: sent to the shim, they killed it.
TEST_CASE_METHOD(Sandbox, "signals that the C library reserves do not end the shim",
                 "[quick][libc]") {
    for (const int number : {32, 33, 34}) {
        CAPTURE(number);
        auto shim = start_job(job, "exec sleep 600");
        worker_of(job);
        shim.kill(number);
        const auto result = shim.wait();
        CHECK(WTERMSIG(result.status) == number);
        CHECK(at(exit_of(job), "/signal") == number);
        CHECK(at(exit_of(job), "/certainty") == "observed");
    }
}

// Their sigaction(2) wrappers reject these signals too: a shim that inherited one as ignored could
// not die by it, and exited with a status instead.
TEST_CASE_METHOD(Sandbox,
                 "a shim that ignores the signal that killed its worker dies by it all the same") {
    if (!in_path("python3")) SKIP_TEST("no python3");
    for (const int number : {SIGUSR1, 32, 33, 34}) {
        CAPTURE(number);
        const Options ignoring{.before_exec = [number] {
            const std::uint64_t ignore[4] = {1};  // the kernel's layout; the handler comes first
            must(syscall(SYS_rt_sigaction, number, ignore, nullptr, 8), "rt_sigaction");
        }};
        const auto script =
            "import ctypes, os; none = (ctypes.c_uint64 * 4)(); "
            "ctypes.CDLL(None).syscall(" +
            std::to_string(SYS_rt_sigaction) + ", " + std::to_string(number) +
            ", none, None, 8); os.kill(os.getpid(), " + std::to_string(number) + ")";
        const auto bare = run({"python3", "-c", script}, ignoring);
        REQUIRE(WTERMSIG(bare.status) == number);
        const auto shimmed = run_shim({"-j", job, "--", "python3", "-c", script}, ignoring);
        CHECK(shimmed.ended() == bare.ended());
        CHECK(at(exit_of(job), "/signal") == number);
    }
}

// A large command makes a large record, and no space was reserved for its last version.
TEST_CASE_METHOD(Sandbox, "a disk that fills up loses no record however large the command is",
                 "[quick]") {
    if (!child_can(enter_private_mounts)) SKIP_TEST("cannot create a mount namespace (needs root)");
    const auto small = dir / "small";
    fs::create_directory(small);
    const std::string script =
        "mount -t tmpfs -o size=4m tmpfs small && "
        "$JOBSHIM -j small/job.json -- sh -c 'dd if=/dev/zero of=small/fill bs=4k 2>/dev/null; "
        "exit 4' "
        "$BIG $BIG $BIG; echo $? > code; cat small/job.json > copy";
    Options options{.env = {{"JOBSHIM", jobshim}, {"BIG", std::string(100'000, 'x')}}};
    options.before_exec = enter_private_mounts;
    run({"sh", "-c", script}, options);
    CHECK(slurp(dir / "code") == "4\n");
    CHECK(at(read_json(dir / "copy"), "/jobshim/exit/code") == 4);
}

// The worker had made the record final, the heartbeat file was removed, and a second shim took over
// the job beside the first.
TEST_CASE_METHOD(Sandbox, "no second shim starts while one is running even if its record is final",
                 "[quick]") {
    auto shim = start_job(job, until_running +
                                   "sed -i 's/\"status\": \"running\"/\"status\": \"completed\"/' "
                                   "job.json; touch spoken; " +
                                   until_go + "exit 3");
    REQUIRE(wait_until([&] { return fs::exists(dir / "spoken"); }));
    REQUIRE(at(read_json(job), "/status") == "completed");
    fs::remove(heartbeat_of(job));
    const auto second = run_job(job, "touch second");
    CHECK(second.ended() == "exit 125");
    CHECK(contains(second.err, "still running"));
    CHECK_FALSE(fs::exists(dir / "second"));
    put(dir / "go", "");
    CHECK(shim.wait().ended() == "exit 3");
    CHECK(at(read_json(job), "/status") == "completed");
    CHECK(at(exit_of(job), "/code") == 3);
}

// A killed settler had used up the reserve, and then nothing removed a finished job's stale files.
TEST_CASE_METHOD(Sandbox, "reap removes what a killed settler left beside a finished job",
                 "[quick]") {
    run_job(job, "exit 3");
    put(dir / ".job.json.jobshim-new", "{\"status\":\"runn");
    put(dir / ".job.json.jobshim-reserve", "");
    CHECK(ctl({"reap", "--dir", dir}).ended() == "exit 0");
    CHECK(names_in(dir, ".jobshim-").empty());
    CHECK_FALSE(fs::exists(heartbeat_of(job)));
    CHECK(at(exit_of(job), "/code") == 3);
}

// A shim killed before it wrote a record left its reserve beside a job still queued, or beside no
// job at all: under a name that is never used again, so it stayed forever.
TEST_CASE_METHOD(Sandbox, "reap removes what a shim killed before its first record left behind") {
    put(job, R"({"status":"queued"})");
    for (const char* name : {"job", "gone"})
        for (const char* kind : {"new", "reserve"})
            put(dir / (std::string(".") + name + ".json.jobshim-" + kind), "");
    // If the job file cannot be read, this may be its last good version.
    put(dir / "torn.json", "{");
    put(dir / ".torn.json.jobshim-new", R"({"status":"queued"})");
    CHECK(ctl({"reap", "--dir", dir}).ended() == "exit 0");
    CHECK(names_in(dir, ".jobshim-") == Words{".torn.json.jobshim-new"});
    CHECK(names_in(dir, ".heartbeat").empty());
    CHECK(slurp(job) == R"({"status":"queued"})");
}

TEST_CASE_METHOD(Sandbox, "a log that is one of the job's own files is refused") {
    put(job, R"({"host":1})");
    const auto before = slurp(job);
    for (const auto& log : {job, heartbeat_of(job)}) {
        const auto result = run_job(job, "touch marker", {"--log", log});
        CHECK(result.ended() == "exit 125");
        CHECK(contains(result.err, "log"));
    }
    CHECK(slurp(job) == before);
    CHECK_FALSE(fs::exists(dir / "marker"));
    CHECK_FALSE(fs::exists(heartbeat_of(job)));
}

// A waiter looks for starting shims by name, but the program may be called anything.
TEST_CASE_METHOD(Sandbox, "a starting shim is found although its program has another name") {
    run_job(job, "exit 9");
    const auto renamed = dir / "myshim";
    fs::copy_file(jobshim, renamed);
    if (!in_path("strace")) SKIP_TEST("no strace");
    // Delayed before it opens the heartbeat file, for longer than a waiter's grace period.
    auto next = spawn(all_under_strace(
        dir / "trace", {"-e", "trace=uname", "-e", "inject=uname:delay_enter=600000:when=1"},
        {renamed, "-j", job, "--", "true"}));
    REQUIRE(wait_until([&] { return contains(slurp(dir / "trace"), "uname("); }));
    CHECK(ctl({"wait", job}).ended() == "exit 0");
    next.wait();
}

// The id could not be printed, no message said so, and the job ran on unnamed.
TEST_CASE_METHOD(Sandbox, "a detached job whose id cannot be printed is named on stderr",
                 "[quick][libc]") {
    const auto result = run({"sh", "-c", "$JOBSHIM --detach --id unheard -- true > /dev/full"},
                            {.env = {{"JOBSHIM", jobshim}}});
    CHECK(result.ended() == "exit 125");
    CHECK(contains(result.err, "unheard"));
    CHECK(ctl({"wait", "unheard"}).ended() == "exit 0");
}

TEST_CASE_METHOD(Sandbox, "help that cannot be printed is a failure", "[quick][libc]") {
    for (const char* what : {"--help", "--version"}) {
        CAPTURE(what);
        const auto result = run({"sh", "-c", "$JOBSHIM " + std::string(what) + " > /dev/full"},
                                {.env = {{"JOBSHIM", jobshim}}});
        CHECK(result.ended() == "exit 125");
        CHECK(contains(result.err, "jobshim: write standard output: "));
    }
}

// musl's stdio wrote messages in pieces, and the lines of parallel shims were mixed up.
TEST_CASE_METHOD(Sandbox, "each message of the shim is one write and so one line",
                 "[quick][libc]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    const std::string name(300, 'x');
    const Words failing{jobshim, "-j", job, "--", "/nowhere/" + name};
    const auto result = run(under_strace(dir / "trace", {"-e", "trace=write,writev"}, failing));
    CHECK(result.ended() == "exit 127");
    CHECK(contains(result.err, name + ": no such file\n"));
    const auto calls = lines_of(slurp(dir / "trace"));
    CHECK(std::count_if(calls.begin(), calls.end(),
                        [](const auto& call) { return contains(call, "(2, "); }) == 1);
}

// The file's times were read, then a host truncated it to rewrite it: it was taken for torn
// since its last version, an hour ago, and not waited for.
TEST_CASE_METHOD(Sandbox,
                 "a reader waits for a host that begins to write while an old file is read") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    const auto jobs = dir / "jobs", file = jobs / "job.json";
    fs::create_directory(jobs);
    run_job(file, "exit 0");
    const auto whole = slurp(file);
    fs::last_write_time(file, fs::file_time_type::clock::now() - std::chrono::hours(1));
    auto reader =
        spawn(under_strace(dir / "trace",
                           {"-y", "-P", jobs, "-P", file, "-e", "trace=pread64,open,openat", "-e",
                            "inject=pread64:delay_enter=600000:when=1"},
                           {jobctl, "status", file}));
    const auto is_in_trace = [&](const std::string& call, const std::string& what, long times) {
        const auto lines = lines_of(slurp(dir / "trace"));
        return std::count_if(lines.begin(), lines.end(), [&](const auto& line) {
                   return line.starts_with(call) && contains(line, what);
               }) >= times;
    };
    REQUIRE(wait_until([&] { return is_in_trace("pread64(", "job.json", 1); }));
    put(file, "");
    CHECK(wait_until([&] { return is_in_trace("open", "\"job.json\"", 3) || !reader.running(); }));
    put(file, whole);
    CHECK(reader.wait().ended() == "exit 0");
}

// A host wrote back its copy of the previous run's end, and that was taken for the worker's own
// status.
TEST_CASE_METHOD(
    Sandbox, "an old end that a host writes back during a rerun is not taken for the worker's") {
    run_job(job, "exit 3");
    auto old = read_json(job);
    old.erase("jobshim");
    auto shim = start_job(job, until_go + "exit 0");
    worker_of(job);
    put(job, old.dump());
    put(dir / "go", "");
    CHECK(shim.wait().ended() == "exit 0");
    CHECK(at(read_json(job), "/status") == "completed");
    CHECK(at(exit_of(job), "/reason") == "success");
}

// The worker's process held both ends of the channel on which it waits for its shim's go-ahead. So
// when the shim died in between, and nothing else ended that process (--on-shim-death keep), it
// waited forever: a worker that was never executed, and a job that was orphaned for good.
TEST_CASE_METHOD(Sandbox,
                 "a shim that dies before it releases its worker leaves no process behind") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    // The second renameat2 writes `running`; by then the worker's process is waiting.
    spawn(all_under_strace(
              dir / "trace",
              {"-e", "trace=renameat2", "-e", "inject=renameat2:signal=SIGKILL:when=2"},
              {jobshim, "-j", job, "--on-shim-death", "keep", "--", "touch", "executed"}))
        .wait();
    CHECK(ctl({"wait", job, "--timeout", "10s"}).ended() == "exit 1");
    CHECK(exit_of(job)["reason"] == "shim-lost");
    // That process knew that the worker was never executed. A reader that saw it end would
    // otherwise have taken its status for the worker's.
    CHECK(at(read_json(job), "/errorMessage") == "The shim died before the worker started.");
    CHECK_FALSE(fs::exists(dir / "executed"));
}

// The worker wrote its status, and the shim was killed before it could add the exit. The exit was
// in the heartbeat file alone, where nothing looked for it, and the next run lost it.
TEST_CASE_METHOD(Sandbox,
                 "an end kept only in the heartbeat file is added to the worker's own status",
                 "[quick]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    const auto speak = until_running +
                       "sed 's/\"status\": *\"running\"/\"status\": \"completed\"/' "
                       "\"$JOBSHIM_JOB_FILE\" > said; mv said \"$JOBSHIM_JOB_FILE\"; exit 3";
    for (const bool read_first : {true, false}) {
        CAPTURE(read_first);
        // The third renameat2 writes the end.
        spawn(all_under_strace(
                  dir / "trace",
                  {"-e", "trace=renameat2", "-e", "inject=renameat2:signal=SIGKILL:when=3"},
                  {jobshim, "-j", job, "--", "sh", "-c", speak}))
            .wait();
        REQUIRE(at(read_json(job), "/status") == "completed");
        REQUIRE(exit_of(job).is_null());
        if (read_first) {
            CHECK(ctl({"status", job}).ended() == "exit 0");
            CHECK(at(read_json(job), "/status") == "completed");
            CHECK(at(exit_of(job), "/code") == 3);
        }
        CHECK(run_job(job, "true").ended() == "exit 0");
        CHECK(at(read_json(job), "/jobshim/previous/code") == 3);
        for (const auto& name : names_in(dir, "job")) fs::remove(dir / name);
    }
}

// A reader that must not write showed a known end as lost.
TEST_CASE_METHOD(Sandbox, "a read-only reader reports an end that is not in the record",
                 "[quick]") {
    put(job, R"({"id":"job","status":"queued"})");
    run_job(job, "exit 0");
    auto record = read_json(job);
    record["status"] = "running";
    record["jobshim"]["exit"] = nullptr;
    put(job, record.dump());
    const auto before = slurp(job);
    const auto shown = ctl({"status", job, "--no-reap"});
    CHECK(shown.ended() == "exit 0");
    CHECK(contains(shown.out, "not recorded"));
    CHECK(slurp(job) == before);
    // For a reader that was not to write anything, "not recorded" is no failure either.
    const auto dry = ctl({"reap", "--dry-run", "--dir", dir});
    CHECK(dry.ended() == "exit 0");
    CHECK(dry.err.empty());
    CHECK(contains(dry.out, "1 job would be settled"));
    CHECK(slurp(job) == before);
}

// The shim reacted to nothing until its worker was executed, so a worker that was stopped before
// that, or whose program was on a dead disk, could not be cancelled, and the shim did not beat.
TEST_CASE_METHOD(Sandbox, "a worker that hangs in exec can be ended and its shim beats") {
    const auto tool = dir / "tool";
    put(tool, std::string(64, '\0'));  // not a program at all, but that is noticed late
    fs::permissions(tool, fs::perms(0755));
    // Opening the file blocks until the lease is given back, for at most 45 s.
    Fd lease(open(tool.c_str(), O_RDONLY | O_CLOEXEC));
    if (fcntl(lease.get(), F_SETSIG, SIGWINCH) != 0 || fcntl(lease.get(), F_SETLEASE, F_WRLCK) != 0)
        SKIP_TEST("no leases on this file system");
    const auto hang = [&](const Words& options) {
        Words argv{jobshim, "-j", job, "--heartbeat-interval", "100ms"};
        argv.insert(argv.end(), options.begin(), options.end());
        argv.insert(argv.end(), {"--", tool});
        return spawn(argv);
    };
    SECTION("a time-out") {
        CHECK(hang({"--timeout", "100ms"}).wait().ended() == "exit 124");
        CHECK(at(exit_of(job), "/reason") == "timeout");
    }
    SECTION("a cancellation") {
        auto shim = hang({});
        started_worker_of(job);
        CHECK(ctl({"cancel", job}).ended() == "exit 0");
        CHECK(shim.wait().ended() == "SIGTERM");
        CHECK(at(exit_of(job), "/reason") == "cancelled");
    }
    SECTION("an exec that fails late") {
        auto shim = hang({});
        started_worker_of(job);
        const auto beat = [&] { return fs::last_write_time(heartbeat_of(job)); };
        for (int beats = 0; beats < 3; ++beats)
            REQUIRE(wait_until([&, before = beat()] { return beat() != before; }));
        CHECK(at(ctl_json({"status", job}), "/0/verdict/state") == "running");
        lease.close();
        CHECK(shim.wait().ended() == "exit 126");
        CHECK(at(exit_of(job), "/reason") == "spawn-failed");
        CHECK(at(exit_of(job), "/errno") == "ENOEXEC");
    }
}
