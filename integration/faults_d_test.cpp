// A prefix must not be noticed: what a launcher has set up before the exec works as without the
// shim. Each test tells the story of a fault.

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>

#include "integration/companion.hpp"
#include "integration/strace.hpp"
#include "integration/support.hpp"

using namespace harness;

namespace {

// For before_exec: a descriptor that survives the exec.
int open_for_exec(const fs::path& file, int flags) {
    const int fd = open(file.c_str(), flags | O_CLOEXEC, 0600);
    must(fd, "open");
    must(fcntl(fd, F_SETFD, 0), "F_SETFD");
    return fd;
}

// For before_exec: takes a record lock that survives the exec, on a new descriptor.
int lock_record(const fs::path& file, short type, int flags = O_RDWR | O_CREAT) {
    const int fd = open_for_exec(file, flags);
    struct flock lock {};
    lock.l_type = type;
    lock.l_len = 1;
    must(fcntl(fd, F_SETLK, &lock), "lock");
    return fd;
}

// Who holds a record lock on the file; 0 if nobody does.
pid_t holder_of(const fs::path& file) {
    const Fd fd(checked(open(file.c_str(), O_RDWR | O_CLOEXEC), "open"));
    struct flock lock {};
    lock.l_type = F_WRLCK;
    checked(fcntl(fd.get(), F_GETLK, &lock), "look for a lock");
    return lock.l_type == F_UNLCK ? 0 : lock.l_pid;
}

bool is_at_root(const Process& shim) {
    std::error_code none;
    return fs::read_symlink("/proc/" + std::to_string(shim.pid()) + "/cwd", none) == "/";
}

// The number of open descriptors of a process that lead to this file.
std::size_t descriptors_to(const Process& process, const fs::path& file) {
    std::size_t count = 0;
    for (const auto& [number, link] : descriptors_of(process.pid())) count += link == file ? 1 : 0;
    return count;
}

// What comes through a pipe until its end; nothing if the end does not come.
std::optional<std::string> read_to_end(const Fd& pipe, Milliseconds limit = 5s) {
    std::string text;
    pollfd readable{pipe.get(), POLLIN, 0};
    char block[256];
    while (poll(&readable, 1, static_cast<int>(stretched(limit).count())) > 0) {
        const auto count = read(pipe.get(), block, sizeof block);
        if (count <= 0) return text;
        text.append(block, static_cast<std::size_t>(count));
    }
    return std::nullopt;
}

// For before_exec: from now on the kernel refuses this system call, as old container profiles do.
void refuse_call(unsigned number, int error) {
    sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(error)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog filter{sizeof program / sizeof *program, program};
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges");
    must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), "seccomp");
}

// For before_exec: a /dev in which only this test's files are.
void hide_devices() {
    enter_private_mounts();
    must(mount("tmpfs", "/dev", "tmpfs", 0, ""), "mount");
}

}  // namespace

// ---------------------------------------------------------------------------------------------
// Record locks

// A launcher that makes sure that it runs only once (lockf() on a pid file, then exec) lost its
// lock as soon as the worker ran: closing any descriptor of a file drops all record locks on it.
TEST_CASE_METHOD(Sandbox, "a record lock of the launcher stays with the shim", "[quick][libc]") {
    const auto guard = dir / "guard", other = dir / "other";
    put(other, "");
    std::function<void()> before_exec;
    bool is_log = false;
    SECTION("on a high number") {
        before_exec = [&] { must(dup2(lock_record(guard, F_WRLCK), 77), "dup2"); };
    }
    SECTION("shared") {
        before_exec = [&] { lock_record(guard, F_RDLCK, O_RDONLY | O_CREAT); };
    }
    SECTION("on standard input") {
        before_exec = [&] {
            close(0);
            lock_record(guard, F_WRLCK);
        };
    }
    SECTION("on standard output") {
        before_exec = [&] {
            close(1);
            lock_record(guard, F_WRLCK);
        };
    }
    SECTION("and the file is open twice") {
        before_exec = [&] {
            open_for_exec(guard, O_RDONLY | O_CREAT);
            lock_record(guard, F_WRLCK);
            open_for_exec(guard, O_RDONLY);
        };
    }
    SECTION("on the log") {
        is_log = true;
        before_exec = [&] { lock_record(guard, F_WRLCK); };
    }
    SECTION("on a FIFO") {
        REQUIRE(mkfifo(guard.c_str(), 0600) == 0);
        before_exec = [&] { lock_record(guard, F_WRLCK, O_RDWR); };
    }
    if (!before_exec) return;
    const Options options{.before_exec = [&] {
        before_exec();
        open_for_exec(other, O_RDWR);
    }};
    const Words extra = is_log ? Words{"--log", guard} : Words{};
    auto shim = start_job(job, until_go + "exit 3", extra, options);
    worker_of(job);
    REQUIRE(wait_until([&] { return descriptors_to(shim, other) == 0; }));
    CHECK(holder_of(guard) == shim.pid());
    put(dir / "go", "");
    CHECK(shim.wait().ended() == "exit 3");
    CHECK(holder_of(guard) == 0);
}

// The locks of flock(2) belong to the open file, which the worker has too: no reason to keep it.
TEST_CASE_METHOD(Sandbox, "a lock of flock is left to the worker", "[quick]") {
    const auto guard = dir / "guard";
    auto shim = start_job(job, until_go, {}, {.before_exec = [&] {
                              const int fd = open_for_exec(guard, O_RDWR | O_CREAT);
                              must(syscall(SYS_flock, fd, 2 | 4), "flock");
                          }});
    worker_of(job);
    CHECK(wait_until([&] { return descriptors_to(shim, guard) == 0; }));
    const Fd mine(checked(open(guard.c_str(), O_RDWR | O_CLOEXEC), "open"));
    CHECK(syscall(SYS_flock, mine.get(), 2 | 4) != 0);
    put(dir / "go", "");
    CHECK(shim.wait().ended() == "exit 0");
    CHECK(syscall(SYS_flock, mine.get(), 2 | 4) == 0);
}

// ---------------------------------------------------------------------------------------------
// The log

// The log was open for reading and writing, so a worker that wrote to a pipe was its reader, too:
// `jobshim --log /dev/stdout -- yes | head -1` never ended.
TEST_CASE_METHOD(Sandbox, "a worker whose log is a pipe notices that nobody reads it",
                 "[quick][libc]") {
    Pipe pipe;
    const auto fifo = dir / "fifo";
    REQUIRE(mkfifo(fifo.c_str(), 0600) == 0);
    Options options{.fds = {{1, pipe.write.get()}}};
    std::string log = "/dev/stdout";
    Fd reader;
    SECTION("standard output") { std::swap(reader, pipe.read); }
    SECTION("another number") {
        options.fds = {{5, pipe.write.get()}};
        log = "/proc/self/fd/5";
        std::swap(reader, pipe.read);
    }
    SECTION("a FIFO") {
        options.fds.clear();
        log = fifo;
        reader = Fd(checked(open(fifo.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC), "open"));
    }
    SECTION("a link to a FIFO") {
        options.fds.clear();
        log = dir / "link";
        fs::create_symlink("fifo", log);
        reader = Fd(checked(open(fifo.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC), "open"));
    }
    if (reader.get() < 0) return;
    auto shim = start_shim({"-j", job, "--log", log, "--", "yes"}, options);
    pipe.write.close();
    pollfd readable{reader.get(), POLLIN, 0};
    REQUIRE(poll(&readable, 1, static_cast<int>(stretched(10s).count())) == 1);
    char byte = 0;
    REQUIRE(read(reader.get(), &byte, 1) == 1);
    reader.close();
    CHECK(shim.wait().ended() == "SIGPIPE");
    CHECK(at(exit_of(job), "/signalName") == "SIGPIPE");
}

// And the shim held it open, so its reader did not see the end when the worker closed it.
TEST_CASE_METHOD(Sandbox, "a pipe that is the log ends when the worker closes it",
                 "[quick][libc]") {
    Pipe pipe;
    auto shim = start_job(job, "echo all; exec >&- 2>&-; " + until_go, {"--log", "/dev/stdout"},
                          {.fds = {{1, pipe.write.get()}}});
    pipe.write.close();
    CHECK(read_to_end(pipe.read) == "all\n");
    CHECK(shim.running());
    put(dir / "go", "");
    CHECK(shim.wait().ended() == "exit 0");
}

// A shell's `mkfifo f; cat f & COMMAND > f` works whichever of the two is first.
// Alone: the moment is a second.
TEST_CASE_METHOD(Sandbox, "a FIFO that is the log may get its reader a moment later", "[serial]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    const auto fifo = dir / "fifo";
    REQUIRE(mkfifo(fifo.c_str(), 0600) == 0);
    auto shim = spawn(under_strace(dir / "trace", {"-e", "trace=openat,open"},
                                   {jobshim, "-j", job, "--log", fifo, "--", "echo", "line"}));
    REQUIRE(wait_until([&] { return contains(slurp(dir / "trace"), "ENXIO"); }));
    const Fd reader(checked(open(fifo.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC), "open"));
    const auto ended = shim.wait();
    INFO(ended.err);
    CHECK(ended.ended() == "exit 0");
    CHECK(read_to_end(reader) == "line\n");
}

TEST_CASE_METHOD(Sandbox, "a log is write-only for the worker and its tail is read all the same",
                 "[quick][libc]") {
    const auto log = dir / "the.log";
    auto shim = start_job(job, "echo line; " + until_go, {"--log", log});
    const pid_t worker = worker_of(job);
    for (const int fd : {1, 2}) {
        const auto info =
            slurp("/proc/" + std::to_string(worker) + "/fdinfo/" + std::to_string(fd));
        const auto flags = std::stol(info.substr(info.find("flags:") + 6), nullptr, 8);
        CHECK((flags & O_ACCMODE) == O_WRONLY);
        CHECK((flags & O_APPEND) != 0);
    }
    fs::rename(log, dir / "rotated.log");
    put(log, "not this run's\n");
    put(dir / "go", "");
    CHECK(shim.wait().ended() == "exit 0");
    CHECK(at(exit_of(job), "/tail") == "line\n");
}

// ---------------------------------------------------------------------------------------------
// The command

// access(2) was asked whether a file can be executed, and a filter of an older container runtime
// answers EPERM to every system call that it does not know: each command was status 126.
TEST_CASE_METHOD(Sandbox, "only the attempt to execute a command decides whether it can be",
                 "[quick][libc]") {
#ifdef SYS_faccessat2
    if (!child_can([] { refuse_call(SYS_faccessat2, EPERM); })) SKIP_TEST("no seccomp filters");
    const Options refused{.before_exec = [] {
        refuse_call(SYS_faccessat2, EPERM);
        refuse_call(SYS_faccessat, EPERM);
    }};
    CHECK(run_job(job, "exit 3", {}, refused).ended() == "exit 3");
    CHECK(run_shim({"-j", dir / "slash.json", "--", "/bin/sh", "-c", "exit 4"}, refused).ended() ==
          "exit 4");
    // And the words say no more than is known.
    put(dir / "plain", "echo hello\n");
    const auto plain = run_shim({"-j", dir / "plain.json", "--", dir / "plain"}, refused);
    CHECK(plain.ended() == "exit 126");
    CHECK(contains(plain.err, "is not executable (mode 06"));
#else
    SKIP_TEST("no faccessat2 in the headers");
#endif
}

// execvp(3) tries the next directory after a file that it cannot execute, whatever made it fail.
TEST_CASE_METHOD(Sandbox, "a command is the first in PATH that can be executed", "[quick][libc]") {
    const auto make = [&](const std::string& directory, const std::string& text, unsigned mode) {
        fs::create_directory(dir / directory);
        put(dir / directory / "tool", text);
        fs::permissions(dir / directory / "tool", fs::perms(mode));
    };
    make("plain", "", 0644);
    make("orphan", "#!/no/such/interpreter\n", 0755);
    make("text", "exit 5\n", 0755);
    make("good", "#!/bin/sh\nexit 6\n", 0755);
    fs::create_directories(dir / "folder" / "tool");
    const auto try_in = [&](const Words& directories) {
        std::string path;
        for (const auto& each : directories)
            path += (path.empty() ? "" : ":") + (dir / each).string();
        // execvp() looks into the PATH of whoever calls it.
        return run_shim({"-j", dir / (std::to_string(std::hash<std::string>{}(path)) + ".json"),
                         "--", "tool", "argument"},
                        {.before_exec = [path] { setenv("PATH", path.c_str(), 1); }});
    };
    CHECK(try_in({"none", "plain", "orphan", "folder", "good"}).ended() == "exit 6");
    CHECK(try_in({"plain", "text", "good"}).ended() == "exit 5");
    const auto plain = try_in({"folder", "plain", "orphan"});
    CHECK(plain.ended() == "exit 126");
    CHECK(contains(plain.err, (dir / "folder" / "tool").string() + ": is a directory"));
    const auto orphan = try_in({"none", "orphan"});
    CHECK(orphan.ended() == "exit 126");
    CHECK(contains(orphan.err, (dir / "orphan" / "tool").string()));
    CHECK(try_in({"none"}).ended() == "exit 127");
}

// ---------------------------------------------------------------------------------------------
// Descriptors where there is no /dev/null

// Nothing was let go of, so the command substitution around a detached start lasted as long as the
// job; and a record got the number of a standard descriptor that the launcher had closed.
TEST_CASE_METHOD(Sandbox, "a missing /dev/null changes nothing", "[quick][libc]") {
    if (!child_can(hide_devices)) SKIP_TEST("no right to mount");
    SECTION("inherited descriptors are closed") {
        Pipe out, extra;
        auto shim = start_job(
            job, "exec >&- 7>&-; " + until_go, {},
            {.fds = {{1, out.write.get()}, {7, extra.write.get()}}, .before_exec = hide_devices});
        out.write.close();
        extra.write.close();
        CHECK(read_to_end(out.read) == "");
        CHECK(read_to_end(extra.read) == "");
        CHECK(shim.running());
        put(dir / "go", "");
        CHECK(shim.wait().ended() == "exit 0");
    }
    SECTION("a detached start returns, and its worker reads nothing") {
        Pipe out, in;
        auto shim = start_shim(
            {"--detach", "-j", job, "--", "sh", "-c", "cat > input; echo $? > status; " + until_go},
            {.fds = {{0, in.read.get()}, {1, out.write.get()}}, .before_exec = hide_devices});
        out.write.close();
        CHECK(read_to_end(out.read) == "job\n");
        CHECK(shim.wait().ended() == "exit 0");
        REQUIRE(wait_until([&] { return slurp(dir / "status") == "0\n"; }));
        CHECK(slurp(dir / "input").empty());
        put(dir / "go", "");
        CHECK(ctl({"wait", job}).ended() == "exit 0");
    }
    SECTION("a closed standard descriptor is no place for a record") {
        for (int closed = 1; closed < 8; ++closed) {
            CAPTURE(closed);
            const Options options{.before_exec = [closed] {
                hide_devices();
                for (int fd = 0; fd < 3; ++fd)
                    if (closed >> fd & 1) close(fd);
            }};
            put(job, R"({"host":1})");
            CHECK(run_job(job, "echo one; echo two >&2; exit 5", {}, options).ended() == "exit 5");
            CHECK(at(read_json(job), "/host") == 1);
            CHECK(at(exit_of(job), "/code") == 5);
            for (const auto& line : lines_of(slurp(heartbeat_of(job)))) CHECK(Json::accept(line));
        }
    }
}

// ---------------------------------------------------------------------------------------------
// The working directory

// The shim stayed in the launcher's directory, so that it could not be unmounted while the job ran.
TEST_CASE_METHOD(Sandbox, "the shim does not hold the launcher's working directory",
                 "[quick][libc]") {
    const auto place = dir / "place";
    fs::create_directories(place / "jobs");
    const Options options{.cwd = place};
    auto shim = start_shim(
        {"--job", "jobs/a.json", "--log", "jobs/a.log", "--heartbeat-interval", "100ms", "--", "sh",
         "-c", "pwd; touch here; until [ -e go ]; do sleep 0.02; done; exit 3"},
        options);
    const auto file = place / "jobs" / "a.json";
    worker_of(file);
    REQUIRE(wait_until([&] { return is_at_root(shim); }));
    for (const auto& [number, link] : descriptors_of(shim.pid())) CHECK(link != place.string());
    REQUIRE(wait_until([&] { return fs::exists(place / "here"); }));
    CHECK(at(read_json(file), "/cwd") == place.string());
    const auto beat = mtime_of(heartbeat_of(file));
    CHECK(wait_until([&] { return mtime_of(heartbeat_of(file)) > beat; }));
    CHECK(ctl({"status", "jobs/a.json"}, options).ended() == "exit 3");
    auto waiter = spawn({jobctl, "wait", "jobs/a.json"}, options);
    wait_until_parked(waiter);
    put(place / "go", "");
    CHECK(shim.wait().ended() == "exit 3");
    CHECK(waiter.wait().ended() == "exit 1");
    CHECK(slurp(place / "jobs" / "a.log") == place.string() + "\n");
    CHECK(at(exit_of(file), "/tail") == place.string() + "\n");
}

TEST_CASE_METHOD(Sandbox, "a companion's directory may be named relative to the launcher's") {
    const Companion plugin{dir / "state"};
    const std::string id = "task-1";
    plugin.write_both(plugin.record(id, "queued"));
    auto shim = start_shim(
        {"--companion", "state", "--id", id, "--", "sh", "-c", plugin.worker(id, for_ever)});
    REQUIRE(wait_until([&] { return plugin.job(id).value("status", "") == "running"; }));
    CHECK(wait_until([&] { return is_at_root(shim); }));
    kill(plugin.job(id)["pid"].get<pid_t>(), SIGKILL);
    CHECK(wait_until([&] { return plugin.statuses(id) == "failed failed"; }));
    shim.kill(SIGTERM);
    shim.wait(60s);
}

// An exec that hangs is counted as a start after a second. When it fails in the end, the shim has
// left the directory in which COMMAND was named, and must not say that it is not there.
TEST_CASE_METHOD(Sandbox, "a failure of a slow exec is explained where the command was named") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    put(dir / "plain", "echo hello\n");
    fs::permissions(dir / "plain", fs::perms(0644));
    const auto ended =
        spawn(under_strace(
                  dir / "trace",
                  {"-f", "-e", "trace=execve", "-e", "inject=execve:delay_exit=2500000:when=1"},
                  {"sh", "-c", "exec \"$@\"", "sh", jobshim, "-j", job, "--", "./plain"}))
            .wait(30s);
    INFO(ended.err);
    CHECK(ended.ended() == "exit 126");
    CHECK(contains(ended.err, "./plain: is not executable (mode 0644)"));
    CHECK(at(exit_of(job), "/reason") == "spawn-failed");
}

// ---------------------------------------------------------------------------------------------
// jobctl logs

// `jobctl logs x >> x.log` copied the log to its own end until the disk was full.
TEST_CASE_METHOD(Sandbox, "logs refuses to print a log into itself", "[quick][libc]") {
    const auto log = dir / "the.log";
    REQUIRE(run_job(job, "echo line", {"--log", log}).ended() == "exit 0");
    const auto refused = [&](const std::string& redirection, const Words& more = {}) {
        CAPTURE(redirection);
        Words words{"sh", "-c", "ulimit -f 2048; exec \"$0\" logs \"$@\" " + redirection, jobctl,
                    job};
        words.insert(words.end(), more.begin(), more.end());
        const auto result = run(words);
        CHECK(result.ended() == "exit 125");
        CHECK(contains(result.err, "the.log: "));
        CHECK(fs::file_size(log) == 5);
    };
    refused(">> the.log");
    refused(">> the.log", {"-n", "1"});
    refused(">> the.log", {"-f"});
    refused("1<> the.log");
    fs::create_symlink(log, dir / "link");
    refused(">> link");
    fs::create_hard_link(log, dir / "second");
    refused(">> second");
    fs::remove(dir / "second");
    // Other files are not refused.
    CHECK(run({"sh", "-c", "\"$0\" logs \"$@\" >> copy", jobctl, job}).ended() == "exit 0");
    CHECK(slurp(dir / "copy") == "line\n");
    // Nor does a worker follow its own log for ever.
    run_job(dir / "own.json",
            until_running + "ulimit -f 2048; exec '" + jobctl + "' logs -f ./own.json",
            {"--log", "own.log"});
    CHECK(fs::file_size(dir / "own.log") < 100'000);
}

// ---------------------------------------------------------------------------------------------
// codex-companion without an id, and a job in a job

// While the plugin's record was not found, the shim woke four times a second, for the whole run.
// Many of the plugin's commands keep no record at all.
TEST_CASE_METHOD(Sandbox, "companion: without an id a shim at rest looks ever less often",
                 "[serial]") {
    const Companion plugin{dir / "state"};
    auto shim = start_shim({"--companion", plugin.dir, "--heartbeat-interval", "1h", "--", "sh",
                            "-c", "touch ready; " + for_ever});
    REQUIRE(wait_until([&] { return fs::exists(dir / "ready"); }));
    const auto begin = Clock::now();
    const auto before = voluntary_switches(shim.pid());
    REQUIRE(wait_until([&] { return Clock::now() - begin >= 5s; }, 30s));
    CHECK(voluntary_switches(shim.pid()) - before <= 12);
    shim.kill(SIGTERM);
    shim.wait(60s);
}

TEST_CASE_METHOD(Sandbox, "companion: without an id a record that comes late is found") {
    const Companion plugin{dir / "state"};
    const std::string id = "task-1";
    auto shim = start_shim({"--companion", plugin.dir, "--heartbeat-interval", "1h", "--", "sh",
                            "-c", until_go + plugin.worker(id, for_ever)});
    REQUIRE(wait_until([&] { return !names_in(plugin.dir / "jobshim", ".json").empty(); }));
    auto queued = plugin.record(id, "queued");
    plugin.write_both(queued);
    put(dir / "go", "");
    REQUIRE(wait_until([&] { return plugin.job(id).value("status", "") == "running"; }));
    kill(plugin.job(id)["pid"].get<pid_t>(), SIGKILL);
    CHECK(wait_until([&] { return plugin.statuses(id) == "failed failed"; }));
    shim.wait(60s);
}

// A worker of which no record was kept was told the job file of the job around it, and would have
// written its own result there.
TEST_CASE_METHOD(Sandbox, "a worker without a record is not told another job's file",
                 "[quick][libc]") {
    put(dir / "folder", "");
    const std::string look = "env | grep -c ^JOBSHIM_JOB_FILE=; true";
    const Words inner{jobshim, "--best-effort", "-j", dir / "folder" / "x.json", "--", "sh", "-c",
                      look};
    const auto alone = run(inner);
    CHECK(alone.out == "0\n");
    const auto set = run(inner, {.env = {{"JOBSHIM_JOB_FILE", "/outer.json"}}});
    CHECK(set.out == "0\n");
    Words nested{"-j", job, "--"};
    nested.insert(nested.end(), inner.begin(), inner.end());
    CHECK(run_shim(nested).out == "0\n");
    CHECK(run_shim({"-j", job, "--", "sh", "-c", look},
                   {.env = {{"JOBSHIM_JOB_FILE", "/outer.json"}}})
              .out == "1\n");
}
