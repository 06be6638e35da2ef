// A dead job is never called alive, and each job matches its row in docs/how-it-knows.md, whatever
// became of its pids and of its lock, and wherever one looks from.

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <optional>
#include <thread>

#include "integration/support.hpp"
#include "integration/verdicts.hpp"

using namespace harness;

namespace {

/// Waits without reaping anything.
bool becomes_zombie(pid_t pid) {
    for (const auto end = Clock::now() + stretched(10s); Clock::now() < end;) {
        if (process_state(pid) == 'Z') return true;
        std::this_thread::sleep_for(1ms);
    }
    return false;
}

bool writer_lock_is_held(const fs::path& heartbeat) {
    const Fd fd(open(heartbeat.c_str(), O_RDONLY | O_CLOEXEC));
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = 1;
    lock.l_len = 1;
    return fd.get() >= 0 && fcntl(fd.get(), F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

/// fork(), but the child gets exactly this pid. -1: not available (now).
pid_t fork_as(pid_t number) {
    clone_args arguments{};
    arguments.exit_signal = SIGCHLD;
    arguments.set_tid = reinterpret_cast<std::uintptr_t>(&number);
    arguments.set_tid_size = 1;
    return static_cast<pid_t>(syscall(SYS_clone3, &arguments, sizeof arguments));
}

bool can_choose_pids() {
    const auto gone = fork();
    if (gone == 0) _exit(0);
    waitpid(gone, nullptr, 0);
    const auto child = fork_as(gone);
    if (child == 0) _exit(0);
    if (child > 0) waitpid(child, nullptr, 0);
    return child > 0 || errno == EEXIST;
}

/// A process with the pid of one that is gone. It does `act`, or nothing, forever.
class Reused {
public:
    explicit Reused(pid_t number, const std::function<void()>& act = {}) {
        // The pid is free once the dead process has been reaped.
        REQUIRE(wait_until([&] {
            pid_ = fork_as(number);
            if (pid_ == 0) {
                if (act) act();
                for (;;) pause();
            }
            return pid_ > 0;
        }));
    }
    ~Reused() {
        ::kill(pid_, SIGKILL);
        waitpid(pid_, nullptr, 0);
    }
    Reused(const Reused&) = delete;
    Reused& operator=(const Reused&) = delete;

private:
    pid_t pid_ = -1;
};

/// A process one of whose threads has this number: no process has that pid.
class ReusedByThread {
public:
    explicit ReusedByThread(pid_t number) {
        const auto sign = fs::temp_directory_path() / ("thread-" + std::to_string(getpid()));
        fs::remove(sign);
        pid_ = fork();
        REQUIRE(pid_ >= 0);
        if (pid_ == 0) {
            // Another process may take it between the two steps, so try again and again.
            for (int attempt = 0; attempt < 10'000; ++attempt) {
                put("/proc/sys/kernel/ns_last_pid", std::to_string(number - 1));
                std::thread([&] {
                    if (gettid() != number) return;
                    put(sign, "");
                    for (;;) pause();
                }).detach();
                if (fs::exists("/proc/self/task/" + std::to_string(number)))
                    for (;;) pause();
            }
            _exit(1);
        }
        REQUIRE(wait_until([&] { return fs::exists(sign); }));
        fs::remove(sign);
    }
    ~ReusedByThread() {
        ::kill(pid_, SIGKILL);
        waitpid(pid_, nullptr, 0);
    }
    ReusedByThread(const ReusedByThread&) = delete;
    ReusedByThread& operator=(const ReusedByThread&) = delete;

private:
    pid_t pid_ = -1;
};

/// For before_exec: makes `file` show what `other` contains.
void bind_over(const std::string& file, const fs::path& other) {
    must(mount(other.c_str(), file.c_str(), nullptr, MS_BIND, nullptr), file.c_str());
}

/// A viewpoint from which a job is looked at, and what should be seen from there.
struct Viewpoint {
    std::string name;
    std::string alive, orphan, dead;  ///< "": a case that is impossible
    std::function<void()> before_exec = {};
    Words prefix = {};              ///< in front of the reader's command
    bool has_locks = true;          ///< otherwise neither shim nor reader has them
    bool closed_heartbeat = false;  ///< the heartbeat file is readable for its owner only
    std::string reason = "shim-lost";
};

}  // namespace

TEST_CASE_METHOD(Sandbox, "from every viewpoint the verdict is what can be known there",
                 "[libc][long]") {
    if (geteuid() != 0 || !child_can(enter_private_mounts))
        SKIP_TEST("needs root, for namespaces and users");
    if (!in_path("strace") || !in_path("unshare")) SKIP_TEST("no strace or no unshare");
    Verdicts verdicts("false life: viewpoints");
    const auto program = public_copy(jobctl);
    const auto other_boot = dir / "boot", other_machine = dir / "machine", empty = dir / "empty";
    put(other_boot, "11111111-2222-3333-4444-555555555555\n");
    put(other_machine, "0123456789abcdef0123456789abcdef\n");
    put(empty, "");
    const bool has_machine_id = !slurp("/etc/machine-id").empty();
    const auto rebooted = [=] {
        enter_private_mounts();
        bind_over("/proc/sys/kernel/random/boot_id", other_boot);
    };
    const auto on_machine = [=](const fs::path& id) {
        return [=] {
            rebooted();
            if (fs::exists("/etc/machine-id")) bind_over("/etc/machine-id", id);
        };
    };
    const auto on_host = [=] {
        rebooted();
        must(unshare(CLONE_NEWUTS), "unshare");
        must(sethostname("elsewhere", 9), "sethostname");
    };
    const auto hide_others = [] {
        enter_private_mounts();
        must(mount("proc", "/proc", "proc", 0, "hidepid=2"), "mount /proc");
        become_nobody();
    };
    // f_type is the first word; this value is NFS's.
    const Words nfs{"strace", "-qq",           "-o", "/dev/null",
                    "-e",     "trace=fstatfs", "-e", "inject=fstatfs:poke_exit=@arg2=69690000"};
    const Words other_pids{"unshare", "--pid", "--fork", "--mount-proc", "--"};
    const std::vector<Viewpoint> viewpoints{
        {"the same host", "running", "orphaned", "failed"},
        {"another user", "running", "orphaned", "failed", become_nobody},
        {"another user, no heartbeat file to be read",
         "running",
         "orphaned",
         "failed",
         become_nobody,
         {},
         true,
         true},
        // What is hidden exists, and no more can be said; what does not exist is dead.
        {"another user, /proc with hidepid", "running", "unknown", "failed", hide_others},
        {"another user, hidepid, no heartbeat file to be read",
         "unknown",
         "unknown",
         "failed",
         hide_others,
         {},
         true,
         true},
        {"another pid namespace", "running", "unknown", "unknown", {}, other_pids},
        {"a container with its own pids, host name and mounts", "running", "unknown", "unknown",
         [] {
             enter_private_mounts();
             must(unshare(CLONE_NEWUTS), "unshare");
             must(sethostname("inside", 6), "sethostname");
         },
         other_pids},
        {"another time namespace",
         "running",
         "unknown",
         "unknown",
         {},
         {"unshare", "--time", "--boottime", "100000", "--fork", "--"}},
        {"a pid namespace without a /proc of its own",
         "running",
         "unknown",
         "unknown",
         {},
         {"unshare", "--pid", "--fork", "--"}},
        {"the same host, by NFS", "running", "orphaned", "failed", {}, nfs},
        {"the host after a reboot",
         "running",
         "",
         has_machine_id ? "failed" : "unknown",
         rebooted,
         {},
         true,
         false,
         "host-rebooted"},
        {"the host after a reboot, by NFS", "running", "", "unknown", rebooted, nfs},
        {"another boot, no machine id", "running", "", "unknown", on_machine(empty)},
        {"another boot, another machine id", "running", "", "unknown", on_machine(other_machine)},
        {"another boot, another host's name", "running", "", "unknown", on_host},
        {"no locks: the same host", "running", "orphaned", "failed", {}, {}, false},
        {"no locks: another user", "running", "orphaned", "failed", become_nobody, {}, false},
        {"no locks: another pid namespace", "unknown", "unknown", "unknown", {}, other_pids, false},
        {"no locks: another host", "unknown", "", "unknown", on_machine(other_machine), {}, false},
        {"no locks: the host after a reboot",
         "",
         "",
         has_machine_id ? "failed" : "unknown",
         rebooted,
         {},
         false,
         false,
         "host-rebooted"},
    };
    struct Case {
        const Viewpoint* viewpoint;
        std::string state;  ///< the expected one
        Truth truth;
        bool shim_dies;
        fs::path job;
        Process shim, reader;
        pid_t worker = -1;
        std::string before;
    };
    const auto without_locks = [&](const fs::path& file, const std::string& when) {
        return under_strace("/dev/null",
                            {"-P", heartbeat_of(file), "-e", "trace=fcntl", "-e",
                             "inject=fcntl:error=ENOLCK" + when},
                            {});
    };
    // Only the shim's lock should fail: find it among the calls of that name on that file.
    run(under_strace(dir / "trace", {"-P", heartbeat_of(job), "-e", "trace=fcntl"},
                     {jobshim, "-j", job, "--", "true"}));
    const auto calls = lines_of(slurp(dir / "trace"));
    const auto lock = std::find_if(calls.begin(), calls.end(),
                                   [](const auto& call) { return contains(call, "F_SETLK"); });
    REQUIRE(lock != calls.end());
    const auto at_the_lock = ":when=" + std::to_string(lock - calls.begin() + 1);
    std::vector<Case> cases;
    for (const auto& viewpoint : viewpoints)
        for (const auto& [state, truth, keep] : {std::tuple{viewpoint.alive, Truth::alive, false},
                                                 {viewpoint.orphan, Truth::alive, true},
                                                 {viewpoint.dead, Truth::dead, false}}) {
            if (state.empty()) continue;
            Case one;
            one.viewpoint = &viewpoint;
            one.state = state;
            one.truth = truth;
            one.shim_dies = keep || truth == Truth::dead;
            one.job = dir / (std::to_string(cases.size()) + ".json");
            Words argv = viewpoint.has_locks ? Words{} : without_locks(one.job, at_the_lock);
            argv.insert(argv.end(), {jobshim, "-j", one.job, "--on-shim-death",
                                     keep ? "keep" : "kill", "--", "sh", "-c", until_go});
            one.shim = spawn(argv);
            cases.push_back(std::move(one));
        }
    for (auto& one : cases) {
        one.worker = worker_of(one.job);
        if (!one.viewpoint->has_locks) CHECK_FALSE(shim_lock_is_held(heartbeat_of(one.job)));
        if (one.shim_dies) {
            kill(shim_of(one.job), SIGKILL);
            one.shim.wait();
            if (one.truth == Truth::dead) CHECK(wait_until([&] { return !alive(one.worker); }));
        }
        fs::permissions(one.job, fs::perms(0644));
        if (!one.viewpoint->closed_heartbeat)
            fs::permissions(heartbeat_of(one.job), fs::perms(0644));
        one.before = slurp(one.job);
    }
    for (auto& one : cases) {
        Words argv = one.viewpoint->prefix;
        if (!one.viewpoint->has_locks)
            for (auto& word : without_locks(one.job, "")) argv.push_back(word);
        argv.insert(argv.end(), {program, "status", "--json", one.job});
        Options options{.env = no_leak_check};
        options.before_exec = one.viewpoint->before_exec;
        one.reader = spawn(argv, options);
    }
    for (auto& one : cases) {
        const auto said = parse_status(one.reader.wait());
        CAPTURE(one.viewpoint->name);
        verdicts.count(one.viewpoint->name, said, one.truth, {one.state});
        if (one.truth == Truth::alive || said.state == "unknown")
            CHECK(slurp(one.job) == one.before);
        if (said.state == "failed" && slurp(one.job) != one.before) {
            const auto end = exit_of(one.job);
            CHECK(at(end, "/reason") == one.viewpoint->reason);
            for (const char* unknown : {"/code", "/signal", "/waitStatus"})
                CHECK(at(end, unknown) == nullptr);
        }
    }
    put(dir / "go", "");
    for (auto& one : cases) {
        one.shim.wait();
        CHECK(wait_until([&] { return !alive(one.worker); }));
    }
    verdicts.require_no_lies();
}

TEST_CASE_METHOD(Sandbox, "zombies and processes without a main thread are judged correctly") {
    Verdicts verdicts("false life: zombies");
    const Words keep{"--on-shim-death", "keep"};
    {
        INFO("a dead shim whose parent does not reap");
        auto parent = spawn(
            {"sh", "-c", "\"$JOBSHIM\" -j job.json -- sh -c '" + for_ever + "' & exec sleep 600"},
            {.env = {{"JOBSHIM", jobshim}}});
        const auto worker = worker_of(job);
        const auto shim = shim_of(job);
        kill(shim, SIGKILL);
        REQUIRE(becomes_zombie(shim));
        verdicts.count("zombie shim", ask(*this, job), Truth::dead, {"failed"});
        CHECK(process_state(shim) == 'Z');
        CHECK_FALSE(alive(worker));
        CHECK(at(exit_of(job), "/reason") == "shim-lost");
        parent.kill(SIGKILL);
        parent.wait();
    }
    {
        INFO("a dead worker whose parent does not reap");
        // Before the exec it would end with its shim, whatever the options.
        auto shim = start_job(job, "touch executed; " + for_ever, keep);
        const auto worker = worker_of(job);
        REQUIRE(wait_until([&] { return fs::exists(dir / "executed"); }));
        shim.kill(SIGKILL);
        shim.wait();
        verdicts.count("stopped worker", ask(*this, job), Truth::alive, {"orphaned"});
        kill(worker, SIGSTOP);
        verdicts.count("stopped worker", ask(*this, job), Truth::alive, {"orphaned"});
        kill(worker, SIGKILL);
        REQUIRE(becomes_zombie(worker));
        verdicts.count("zombie worker", ask(*this, job), Truth::dead, {"failed"});
        CHECK(process_state(worker) == 'Z');
    }
    if (!in_path("python3")) SKIP_TEST("no python3");
    INFO("a worker whose main thread has ended, and another goes on");
    const std::string script = R"(
import ctypes, os, platform, threading, time
def go_on():
    while not os.path.exists('go'): time.sleep(0.01)
    os._exit(0)
threading.Thread(target=go_on).start()
ctypes.CDLL(None).syscall({'x86_64': 60}.get(platform.machine(), 93), 0)
)";
    for (const bool shim_dies : {false, true}) {
        CAPTURE(shim_dies);
        fs::remove(dir / "go");
        fs::remove(job);
        fs::remove(heartbeat_of(job));
        auto shim =
            start_shim({"-j", job, "--on-shim-death", "keep", "--", "python3", "-c", script});
        const auto worker = worker_of(job);
        REQUIRE(wait_until([&] { return process_state(worker) == 'Z'; }));
        verdicts.count("worker's main thread ended", ask(*this, job), Truth::alive, {"running"});
        if (shim_dies) {
            shim.kill(SIGKILL);
            shim.wait();
            verdicts.count("worker's main thread ended, shim dead", ask(*this, job), Truth::alive,
                           {"orphaned"});
            put(dir / "go", "");
            REQUIRE(wait_until([&] { return process_state(worker) == 0; }));
            verdicts.count("worker's main thread ended, shim dead", ask(*this, job), Truth::dead,
                           {"failed"});
        } else {
            put(dir / "go", "");
            CHECK(shim.wait().ended() == "exit 0");
            verdicts.count_end("worker's main thread ended", job, 0);
        }
    }
    verdicts.require_no_lies();
}

TEST_CASE_METHOD(Sandbox, "a reused pid does not bring a dead job to life") {
    if (geteuid() != 0 || !can_choose_pids()) SKIP_TEST("cannot choose a pid");
    Verdicts verdicts("false life: pids reused");
    enum class By { process, another_jobshim, thread };
    struct Row {
        std::string name;
        bool shims, workers;  ///< whose pid is reused
        By by;
        std::string heartbeat = "";  ///< what happens to it
    };
    for (const auto& row : {
             Row{"shim's pid reused", true, false, By::process},
             Row{"shim's pid reused, heartbeat file deleted", true, false, By::process, "deleted"},
             Row{"shim's pid reused by another job's shim", true, false, By::another_jobshim},
             Row{"shim's pid reused by a thread", true, false, By::thread},
             Row{"worker's pid reused", false, true, By::process},
             Row{"worker's pid reused by another job's shim", false, true, By::another_jobshim},
             Row{"worker's pid reused by a thread", false, true, By::thread},
             Row{"both pids reused", true, true, By::process},
         }) {
        CAPTURE(row.name);
        const auto other = dir / "other.json";
        for (const auto& file : {job, other}) {
            fs::remove(file);
            fs::remove(heartbeat_of(file));
        }
        fs::remove(dir / "go");
        auto shim = start_job(job, for_ever, {"--on-shim-death", "keep"});
        const auto worker = worker_of(job);
        const auto shim_pid = shim.pid();
        const auto began = start_time_of(worker);
        shim.kill(SIGKILL);
        shim.wait();
        kill(worker, SIGKILL);
        REQUIRE(wait_until([&] { return process_state(worker) == 0; }));
        // Two processes that began within one clock tick could not be distinguished.
        REQUIRE(wait_until([&] {
            auto probe = spawn({"sleep", "600"});
            const auto now = start_time_of(probe.pid());
            probe.kill(SIGKILL);
            probe.wait();
            return now > began;
        }));
        if (!row.heartbeat.empty()) fs::remove(heartbeat_of(job));

        const std::function<void()> act =
            row.by == By::another_jobshim ? [&] {
                close_range(3, ~0U, 0);
                execl(jobshim.c_str(), jobshim.c_str(), "-j", other.c_str(), "--", "sh", "-c",
                      for_ever.c_str(), nullptr);
            } : std::function<void()>{};
        std::optional<Reused> as_shim, as_worker;
        std::optional<ReusedByThread> as_thread;
        if (row.by == By::thread) {
            as_thread.emplace(row.shims ? shim_pid : worker);
        } else {
            if (row.shims) as_shim.emplace(shim_pid, act);
            if (row.workers) as_worker.emplace(worker, act);
        }
        if (row.by == By::another_jobshim) {
            worker_of(other);
            REQUIRE(shim_of(other) == (row.shims ? shim_pid : worker));
        }
        verdicts.count(row.name, ask(*this, job), Truth::dead, {"failed"});
        CHECK(at(exit_of(job), "/reason") == "shim-lost");
        if (row.by == By::another_jobshim) {
            // That process is another job's live shim, which is left alone.
            verdicts.count(row.name, ask(*this, other), Truth::alive, {"running"});
        }
    }
    verdicts.require_no_lies();
}

// The kernel drops the shim's locks before it kills the worker; for up to 20 ms the worker lives on
// without a shim. The job is not orphaned then, and not yet dead either.
TEST_CASE_METHOD(
    Sandbox,
    "after the shim's lock is gone and before its worker dies no job is alive or orphaned") {
    Verdicts verdicts("false life: lock and worker's death");
    int still_alive = 0;
    for (int i = 0; i < 60; ++i) {
        const auto file = dir / (std::to_string(i) + ".json");
        auto shim = start_job(file, "exec sleep 600");
        const auto worker = worker_of(file);
        shim.kill(SIGKILL);
        // The signal takes a while under load. Nothing has been reaped yet.
        const auto limit = Clock::now() + stretched(10s);
        while (shim_lock_is_held(heartbeat_of(file)) && Clock::now() < limit)
            std::this_thread::yield();
        if (alive(worker)) ++still_alive;
        verdicts.count("shim killed this moment", ask(*this, file), Truth::dead, {"failed"});
        CHECK_FALSE(alive(worker));
        CHECK(at(exit_of(file), "/reason") == "shim-lost");
        shim.wait();
    }
    std::cout << still_alive << " workers outlived the lock" << std::endl;
    verdicts.require_no_lies();
}

TEST_CASE_METHOD(Sandbox, "a dead job stays dead whatever its host writes into the record") {
    Verdicts verdicts("false life: host writes");
    put(job, R"({"id":"job","host":1})");
    auto shim = start_job(job, for_ever);
    const auto running = slurp(job);
    kill_shim(shim, job);
    auto theirs = Json::parse(running);
    theirs.erase("jobshim");
    // As codex-companion does: its own pid, and that is alive.
    theirs["pid"] = getpid();
    theirs["status"] = "running";
    const auto record = slurp(job), heartbeat = slurp(heartbeat_of(job));
    auto with_ours = Json::parse(record);
    with_ours["pid"] = getpid();
    for (const auto& [name, text] : {std::pair{"host writes its own record", theirs.dump()},
                                     {"host changes pid", with_ours.dump()},
                                     {"host writes half a record", record}}) {
        put(job, text);
        put(heartbeat_of(job), heartbeat);
        verdicts.count(name, ask(*this, job), Truth::dead, {"failed"});
        CHECK(at(exit_of(job), "/reason") == "shim-lost");
        // If an old copy is written back after that, it is settled again.
        put(job, text);
        verdicts.count(name, ask(*this, job), Truth::dead, {"failed"});
    }
    auto settled = read_json(job);
    settled["status"] = "running";
    put(job, settled.dump());
    verdicts.count("host writes its old status back over the end", ask(*this, job), Truth::dead,
                   {"failed"});
    INFO("a host that writes all the time");
    put(job, record);
    const auto writer =
        spawn({"sh", "-c", "while :; do echo \"$TEXT\" > .theirs; mv .theirs job.json; done"},
              {.env = {{"TEXT", record}}});
    for (int i = 0; i < 10; ++i)
        verdicts.count("host writes all the time", ask(*this, job), Truth::dead,
                       {"lost", "failed", "unknown"});
    writer.kill(SIGKILL);
    const_cast<Process&>(writer).wait();
    verdicts.require_no_lies();
}

// A process loses its POSIX locks on a file as soon as it closes any file descriptor of that file,
// whoever opened it. A launcher that has the previous run's heartbeat file open passes it on, and
// once the worker runs the shim closes what it inherited: it lived on without its locks.
TEST_CASE_METHOD(Sandbox, "closing an inherited heartbeat descriptor keeps the shim's locks",
                 "[quick]") {
    Verdicts verdicts("false life: second close");
    put(job, "{}");
    run_job(job, "exit 0");
    const auto heartbeat = heartbeat_of(job);
    const bool has_namespaces =
        in_path("unshare") && run({"unshare", "-pf", "--mount-proc", "--", "true"}).status == 0;
    for (const int number : {0, 1, 7}) {
        CAPTURE(number);
        fs::remove(dir / "go");
        const Fd leaked(open(heartbeat.c_str(), O_RDONLY | O_CLOEXEC));
        REQUIRE(leaked.get() >= 0);
        // A beat would put it right as well, but that is an hour away.
        auto shim = start_job(job, until_go + "exit 0", {"--heartbeat-interval", "1h"},
                              {.fds = {{number, leaked.get()}}});
        worker_of(job);
        const auto let_go = [&] {
            const auto fds = descriptors_of(shim.pid());
            const auto there = fds.find(number);
            return there == fds.end() || there->second != heartbeat.string() ||
                   there->second == "/dev/null";
        };
        REQUIRE(wait_until(let_go));
        CHECK(wait_until(
            [&] { return shim_lock_is_held(heartbeat) && writer_lock_is_held(heartbeat); }));
        verdicts.count("launcher leaks the heartbeat file", ask(*this, job), Truth::alive,
                       {"running"});
        if (has_namespaces) {
            // From there, the lock is all there is to see.
            const auto seen =
                run({"unshare", "-pf", "--mount-proc", "--", jobctl, "status", "--json", job});
            verdicts.count("launcher leaks the heartbeat file", parse_status(seen), Truth::alive,
                           {"running"});
        }
        put(dir / "go", "");
        CHECK(shim.wait().ended() == "exit 0");
        verdicts.count_end("launcher leaks the heartbeat file", job, 0);
    }
    verdicts.require_no_lies();
}

// The heartbeat file held the exit, but named the job file by the path that it had then: it was
// taken for another job's, and a known end was recorded as shim-lost.
TEST_CASE_METHOD(Sandbox, "a known end stays known where the directory has another name",
                 "[quick]") {
    Verdicts verdicts("false life: directory renamed");
    const auto prepare = [&](const std::string& name) {
        const auto directory = dir / name;
        fs::create_directory(directory);
        put(directory / "job.json", "{}");
        fs::remove(dir / "go");
        auto shim = start_job(directory / "job.json", until_go + "exit 0");
        worker_of(directory / "job.json");
        const auto running = slurp(directory / "job.json");
        put(dir / "go", "");
        CHECK(shim.wait().ended() == "exit 0");
        // As left by a shim that dies between the two writes of the end.
        put(directory / "job.json", running);
        return directory;
    };
    {
        const auto directory = prepare("before");
        fs::rename(directory, dir / "after");
        verdicts.count("directory moved", ask(*this, dir / "after/job.json"), Truth::ended,
                       {"completed"});
        verdicts.count_end("directory moved", dir / "after/job.json", 0);
    }
    if (child_can(enter_private_mounts)) {
        const auto directory = prepare("here"), there = dir / "there";
        fs::create_directory(there);
        const Options mounted{.before_exec = [=] {
            enter_private_mounts();
            bind_over(there, directory);
        }};
        verdicts.count("directory mounted elsewhere", ask(*this, there / "job.json", mounted),
                       Truth::ended, {"completed"});
        verdicts.count_end("directory mounted elsewhere", directory / "job.json", 0);
    }
    verdicts.require_no_lies();
}

// Between any two calls of a reader, another shim takes the job over: its lock, file and record are
// then new, and what the reader saw before is out of date.
TEST_CASE_METHOD(Sandbox, "a shim that starts while a reader looks is not settled", "[long]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    Verdicts verdicts("false life: shim starts");
    const Words reader{jobctl, "status", "--json", job};
    // In a shared process group there is nothing to end, and so no scan of /proc.
    auto first = start_job(job, for_ever, {"--group", "share"});
    const auto worker = worker_of(job);
    kill_shim(first, job);
    REQUIRE(wait_until([&] { return process_state(worker) == 0; }));
    const auto dead_record = slurp(job), dead_heartbeat = slurp(heartbeat_of(job));
    const auto old_shim = shim_of(job);
    const auto lay_out = [&] {
        put(job, dead_record);
        put(heartbeat_of(job), dead_heartbeat);
        fs::remove(dir / "go");
    };
    lay_out();
    const auto calls = Stopped::calls_of(*this, reader);
    REQUIRE(calls.size() > 40);
    std::size_t missed = 0;
    for (const bool unlinked : {false, true}) {
        const std::string fault =
            unlinked ? "heartbeat file removed and recreated" : "shim starts while a reader looks";
        for (const auto& call : calls) {
            CAPTURE(fault, call.name, call.nth);
            lay_out();
            Stopped stopped(*this, call, reader);
            if (!stopped.is_stopped()) {
                // The first look found more to clear up than was set up here.
                ++missed;
                verdicts.count(fault, parse_status(stopped.resume_and_wait()), Truth::dead,
                               {"failed"});
                continue;
            }
            const bool settled = at(read_json(job), "/status") == "failed";
            const bool settling = writer_lock_is_held(heartbeat_of(job));
            // Only a process that holds both bytes removes the file.
            if (unlinked && (settled || settling)) {
                stopped.resume_and_wait();
                continue;
            }
            if (unlinked) fs::remove(heartbeat_of(job));
            auto shim = start_job(job, until_go + "exit 0", {"--group", "share"});
            REQUIRE(wait_until([&] {
                if (settling) return shim_lock_is_held(heartbeat_of(job));
                const auto record = Json::parse(slurp(job), nullptr, false);
                return at(record, "/phase") == "running" &&
                       at(record, "/jobshim/shim/pid") != old_shim;
            }));
            const auto said = parse_status(stopped.resume_and_wait());
            // A settler of the previous run keeps the next one waiting: then the previous run is
            // lost indeed.
            const bool of_previous = (settling || settled) && said.state == "failed";
            verdicts.count(fault, said, of_previous ? Truth::dead : Truth::alive,
                           {settling || settled ? said.state : "running"});
            worker_of(job);
            REQUIRE(wait_until([&] { return shim_of(job) != old_shim; }));
            verdicts.count(fault, ask(*this, job), Truth::alive, {"running"});
            put(dir / "go", "");
            CHECK(shim.wait().ended() == "exit 0");
            verdicts.count_end(fault, job, 0);
            // Without its heartbeat file, a record that was written late may be an old copy.
            const auto previous = at(read_json(job), "/jobshim/previous/reason");
            CHECK((previous == "shim-lost" || (unlinked && previous == "unknown")));
        }
    }
    CHECK(missed < calls.size() / 5);
    verdicts.require_no_lies();
}

// A reader that settles nothing holds no lock while it looks again: it draws a conclusion from a
// free lock only if it finds everything unchanged a second time.
TEST_CASE_METHOD(Sandbox, "a shim that starts before a reader's second look is seen", "[long]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    Verdicts verdicts("false life: second look");
    const std::string fault = "shim starts while a reader looks and settles nothing";
    const Words reader{jobctl, "status", "--no-reap", "--json", job};
    auto first = start_job(job, for_ever);
    const auto worker = worker_of(job);
    kill_shim(first, job);
    REQUIRE(wait_until([&] { return process_state(worker) == 0; }));
    const auto dead_record = slurp(job), dead_heartbeat = slurp(heartbeat_of(job));
    const auto old_shim = shim_of(job);
    auto calls = Stopped::calls_of(*this, reader);
    // After the last look at the record, a start can no longer be seen, so the sweep ends there;
    // but not before the first look and the calls that read what it opened.
    std::vector<std::ptrdiff_t> looks;
    for (std::size_t i = 0; i < calls.size(); ++i)
        if (kind_of(calls[i].name) == "openat" &&
            contains(calls[i].line, "\"" + job.filename().string() + "\""))
            looks.push_back(static_cast<std::ptrdiff_t>(i));
    REQUIRE_FALSE(looks.empty());
    REQUIRE(static_cast<std::ptrdiff_t>(calls.size()) > looks.front() + 5);
    calls.erase(calls.begin() + std::max(looks.back(), looks.front() + 5), calls.end());
    for (const auto& call : calls) {
        CAPTURE(call.name, call.nth);
        put(job, dead_record);
        put(heartbeat_of(job), dead_heartbeat);
        fs::remove(dir / "go");
        Stopped stopped(*this, call, reader);
        REQUIRE(stopped.is_stopped());
        auto shim = start_job(job, until_go + "exit 0");
        REQUIRE(wait_until([&] { return shim_of(job) != old_shim; }));
        worker_of(job);
        verdicts.count(fault, parse_status(stopped.resume_and_wait()), Truth::alive, {"running"});
        put(dir / "go", "");
        CHECK(shim.wait().ended() == "exit 0");
        verdicts.count_end(fault, job, 0);
    }
    verdicts.require_no_lies();
}

// A race of unlink and open: a shim opens the heartbeat file of a run that is about to end, and
// then locks a file that no longer has a name.
TEST_CASE_METHOD(Sandbox, "a shim that is slow to start never runs beside another", "[long]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    Verdicts verdicts("false life: two inodes");
    const std::string fault = "slow start, while two others come and go";
    const auto script = [](const std::string& name) {
        return "mkdir in || touch two; touch " + name + "; " + until_go + "rmdir in; exit 0";
    };
    const Words slow{jobshim, "-j", job, "--", "sh", "-c", script("slow")};
    put(dir / "go", "");
    auto calls = Stopped::calls_of(*this, slow);
    const auto before_worker = std::find_if(
        calls.begin(), calls.end(), [](const auto& call) { return kind_of(call.name) == "clone"; });
    REQUIRE(before_worker != calls.end());
    calls.erase(before_worker, calls.end());
    REQUIRE(calls.size() > 30);
    for (const auto& call : calls) {
        CAPTURE(call.name, call.nth);
        for (const char* name : {"go", "slow", "third", "in"}) fs::remove(dir / name);
        fs::remove(job);
        fs::remove(heartbeat_of(job));
        Stopped stopped(*this, call, slow);
        REQUIRE(stopped.is_stopped());
        const auto second = run_job(job, "mkdir in || touch two; rmdir in");
        CHECK((second.code() == 0 || second.code() == 125));
        auto third = start_job(job, script("third"));
        REQUIRE(wait_until([&] { return fs::exists(dir / "third") || !third.running(); }));
        const bool third_runs = fs::exists(dir / "third");
        stopped.resume();
        if (third_runs) {
            CHECK(stopped.tracer().wait().ended() == "exit 125");
        } else {
            CHECK(third.wait().ended() == "exit 125");
            REQUIRE(wait_until([&] { return fs::exists(dir / "slow"); }));
        }
        worker_of(job);
        verdicts.count(fault, ask(*this, job), Truth::alive, {"running"});
        put(dir / "go", "");
        CHECK((third_runs ? third : stopped.tracer()).wait().ended() == "exit 0");
        CHECK(fs::exists(dir / "slow") != third_runs);
        verdicts.count_end(fault, job, 0);
        verdicts.count(fault, ask(*this, job), Truth::ended, {"completed"});
    }
    CHECK_FALSE(fs::exists(dir / "two"));
    verdicts.require_no_lies();
}

// Found by the model (integration/model): the heartbeat file was removed while a shim started, a
// second shim locked a new one, both found the job free, and both executed their worker.
TEST_CASE_METHOD(Sandbox, "a heartbeat file removed during a start lets no second shim in",
                 "[long]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    Verdicts verdicts("false life: removed at the start");
    const std::string fault = "heartbeat file removed at a step of the start, then a second shim";
    const auto script = [](const std::string& name) {
        return "mkdir in || touch two; touch " + name + "; " + until_go + "rmdir in; exit 0";
    };
    const Words slow{jobshim, "-j", job, "--", "sh", "-c", script("first")};
    put(dir / "go", "");
    auto calls = Stopped::calls_of(*this, slow);
    // From the lock to the byte that lets the worker go.
    const auto locked = std::find_if(calls.begin(), calls.end(), [](const auto& call) {
        return call.name == "fcntl" && contains(call.line, "F_SETLK");
    });
    const auto let_go = std::find_if(locked, calls.end(), [](const auto& call) {
        return call.name == "write" && contains(call.line, "\"x\", 1)");
    });
    REQUIRE(let_go != calls.end());
    calls = {locked, let_go};
    REQUIRE(calls.size() > 30);
    int refused = 0;
    for (const auto& call : calls) {
        CAPTURE(call.name, call.nth);
        for (const char* name : {"go", "first", "second", "in"}) fs::remove(dir / name);
        fs::remove(job);
        fs::remove(heartbeat_of(job));
        Stopped stopped(*this, call, slow);
        REQUIRE(stopped.is_stopped());
        fs::remove(heartbeat_of(job));
        auto second = start_job(job, script("second"));
        REQUIRE(wait_until([&] { return fs::exists(dir / "second") || !second.running(); }));
        const bool second_runs = fs::exists(dir / "second");
        stopped.resume();
        if (second_runs) {
            CHECK(stopped.tracer().wait().ended() == "exit 125");
            ++refused;
        } else {
            CHECK(second.wait().ended() == "exit 125");
            // Each may have refused because of the other. Then neither runs, and the record says
            // so.
            wait_until([&] { return fs::exists(dir / "first") || !stopped.tracer().running(); });
        }
        const bool somebody_runs = second_runs || fs::exists(dir / "first");
        if (somebody_runs)
            verdicts.count(fault, ask(*this, job), Truth::alive, {"running"});
        else
            verdicts.count(fault, ask(*this, job), Truth::dead, {"failed"});
        put(dir / "go", "");
        const auto ended = (second_runs ? second : stopped.tracer()).wait().ended();
        CHECK(ended == (somebody_runs ? "exit 0" : "exit 125"));
        if (somebody_runs) verdicts.count_end(fault, job, 0);
    }
    CHECK(refused > 0);
    CHECK_FALSE(fs::exists(dir / "two"));
    verdicts.require_no_lies();
}

// Otherwise its pid could be reused while the record is still being written.
TEST_CASE_METHOD(Sandbox, "a worker stays a zombie until its end is recorded") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    const Words argv{jobshim, "-j", job, "--", "sh", "-c", "echo $$ > worker; exit 3"};
    const auto calls = Stopped::calls_of(*this, argv);
    // The line in the heartbeat file, and the last rename, which puts the record in place.
    const auto line = std::find_if(calls.begin(), calls.end(), [](const auto& call) {
        return call.name == "write" && contains(call.line, "{\\\"exit\\\":");
    });
    const auto arrival = std::find_if(calls.rbegin(), calls.rend(),
                                      [](const auto& call) { return call.name == "renameat2"; });
    REQUIRE(line != calls.end());
    REQUIRE(arrival != calls.rend());
    for (const auto& call : {*line, *arrival}) {
        CAPTURE(call.line);
        fs::remove(job);
        Stopped stopped(*this, call, argv);
        REQUIRE(stopped.is_stopped());
        CHECK(process_state(static_cast<pid_t>(std::stol(slurp(dir / "worker")))) == 'Z');
        CHECK(stopped.resume_and_wait().ended() == "exit 3");
    }
}
