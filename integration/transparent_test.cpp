// Whatever the launcher sets up reaches the worker as if the shim were not there.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "integration/support.hpp"

using namespace harness;

namespace {

void block(std::initializer_list<int> numbers) {
    sigset_t set;
    sigemptyset(&set);
    for (int number : numbers) sigaddset(&set, number);
    sigprocmask(SIG_BLOCK, &set, nullptr);
}

void limit(decltype(RLIMIT_NOFILE) what, rlim_t value) {
    const rlimit both{value, value};
    must(setrlimit(what, &both), "setrlimit");
}

}  // namespace

TEST_CASE_METHOD(Sandbox, "the worker finds what it would find without the shim", "[quick][libc]") {
    Pipe pipe;
    const std::string own_fds = "cd /proc/$$/fd; for f in *; do echo $f; readlink $f; done";
    const std::string signals =
        "grep -E '^(Sig(Blk|Ign)|Umask|Cap|NoNewPrivs|Seccomp:)' /proc/self/status";
    struct Row {
        const char* what;
        Words argv;
        Options options;
    };
    const Row rows[] = {
        {"arguments",
         {"sh", "-c", "for a; do printf '[%s]' \"$a\"; done", "sh", "", "a b", "two\nlines", "--",
          "-j", "*"},
         {}},
        {"environment",
         {"env", "-u", "JOBSHIM_JOB_FILE"},
         {.env = {{"ODD", "a\nb=c"}, {"EMPTY", ""}}}},
        {"directory", {"pwd", "-P"}, {.cwd = "/"}},
        {"stdin", {"cat"}, {.input = "what the launcher pipes\n"}},
        {"stderr", {"sh", "-c", "echo to stderr >&2; echo to stdout"}, {}},
        {"descriptors",
         {"sh", "-c", own_fds},
         {.fds = {{5, pipe.read.get()}, {9, pipe.write.get()}, {77, pipe.write.get()}}}},
        {"no descriptors", {"sh", "-c", own_fds}, {}},
        {"signals, clean", {"sh", "-c", signals}, {}},
        {"signals, blocked",
         {"sh", "-c", signals},
         {.before_exec =
              [] {
                  block({SIGUSR2, SIGTERM, SIGCHLD, SIGINT, SIGRTMIN + 2});
              }}},
        {"signals, ignored",
         {"sh", "-c", signals},
         {.before_exec =
              [] {
                  for (int n : {SIGHUP, SIGPIPE, SIGCHLD, SIGTERM, SIGUSR1}) signal(n, SIG_IGN);
              }}},
        {"umask", {"sh", "-c", signals}, {.before_exec = [] { umask(0137); }}},
        {"limits",
         {"cat", "/proc/self/limits"},
         {.before_exec = [] { limit(RLIMIT_NOFILE, 99), limit(RLIMIT_STACK, 4 << 20); }}},
        {"nice value",
         {"sh", "-c", "cut -d' ' -f18,19 /proc/self/stat; cat /proc/self/oom_score_adj"},
         {.before_exec = [] { must(nice(3), "nice"); }}},
        {"dumpable, timers, death signal",
         {"sh", "-c",
          "stat -c %U /proc/self/mem; cat /proc/self/timerslack_ns /proc/self/coredump_filter"},
         {}},
    };
    for (const auto& [what, argv, options] : rows) {
        CAPTURE(what);
        const auto bare = run(argv, options);
        Words shimmed{"-j", dir / "job.json", "--"};
        shimmed.insert(shimmed.end(), argv.begin(), argv.end());
        const auto with_shim = run_shim(shimmed, options);
        CHECK(with_shim.ended() == bare.ended());
        CHECK(with_shim.out == bare.out);
        CHECK(with_shim.err == bare.err);
        CHECK(at(exit_of(job), "/code") == bare.code());
    }
}

TEST_CASE_METHOD(Sandbox, "the worker is told the name of its job file", "[quick]") {
    CHECK(run_job(job, "printf %s \"$JOBSHIM_JOB_FILE\"").out == job.string());
}

TEST_CASE_METHOD(Sandbox, "a launcher that ignores or blocks SIGCHLD changes nothing", "[libc]") {
    const std::function<void()> launchers[] = {[] { signal(SIGCHLD, SIG_IGN); },
                                               [] { block({SIGCHLD}); }};
    for (const auto& launcher : launchers) {
        CHECK(run_job(job, "exit 3", {}, {.before_exec = launcher}).ended() == "exit 3");
        CHECK(at(exit_of(job), "/reason") == "exit-code");
        CHECK(at(exit_of(job), "/code") == 3);
        CHECK(run_job(job, "kill -9 $$", {}, {.before_exec = launcher}).ended() == "SIGKILL");
        CHECK(at(exit_of(job), "/signal") == SIGKILL);
    }
}

TEST_CASE_METHOD(Sandbox,
                 "a launcher that blocks or ignores a signal still sees that it ended the worker",
                 "[libc]") {
    const Options deaf{.before_exec = [] {
        block({SIGUSR1});
        signal(SIGUSR2, SIG_IGN);
        signal(SIGINT, SIG_IGN);
    }};
    for (const std::string name : {"USR2", "INT"}) {
        CAPTURE(name);
        const auto result = run_shim(
            {"-j", job, "--", "env", "--default-signal", "sh", "-c", "kill -" + name + " $$"},
            deaf);
        CHECK(result.ended() == "SIG" + name);
    }
    if (!in_path("python3")) return;  // env cannot unblock
    const std::string unblock_and_die =
        "import os, signal; signal.pthread_sigmask(signal.SIG_SETMASK, []); "
        "os.kill(os.getpid(), signal.SIGUSR1)";
    const auto result = run_shim({"-j", job, "--", "python3", "-c", unblock_and_die}, deaf);
    CHECK(result.ended() == "SIGUSR1");
}

TEST_CASE_METHOD(Sandbox, "once the worker runs, the shim holds none of the inherited descriptors",
                 "[quick]") {
    Pipe in, out, err, extra;
    auto shim = start_job(job, "echo ready; " + until_go, {},
                          {.fds = {{0, in.read.get()},
                                   {1, out.write.get()},
                                   {2, err.write.get()},
                                   {7, extra.write.get()},
                                   {8, extra.read.get()}}});
    worker_of(job);
    std::map<int, std::string> held;
    const bool let_go = wait_until(
        [&] {
            held = descriptors_of(shim.pid());
            for (const auto& [number, link] : held)
                for (const auto* pipe : {&in, &out, &err, &extra})
                    if (link == pipe->identity) return false;
            return true;
        },
        2s);
    CAPTURE(Json(held).dump());
    CHECK(let_go);
    put(dir / "go", "");
    CHECK(shim.wait().ended() == "exit 0");
}

TEST_CASE_METHOD(Sandbox,
                 "a pipe ends when the worker closes it, though the worker and the shim live on") {
    Pipe out;
    auto shim =
        start_job(job, "echo all; exec >&-; " + until_go, {}, {.fds = {{1, out.write.get()}}});
    out.write.close();
    std::string read_so_far;
    pollfd readable{out.read.get(), POLLIN, 0};
    char block_of[256];
    while (poll(&readable, 1, static_cast<int>(stretched(5s).count())) > 0) {
        const auto count = read(out.read.get(), block_of, sizeof block_of);
        if (count <= 0) break;
        read_so_far.append(block_of, static_cast<std::size_t>(count));
        readable.revents = 0;
    }
    CHECK((readable.revents & POLLHUP) != 0);
    CHECK(read_so_far == "all\n");
    CHECK(shim.running());
    put(dir / "go", "");
    CHECK(shim.wait().ended() == "exit 0");
}

TEST_CASE_METHOD(
    Sandbox, "standard descriptors that the launcher has closed stay closed and corrupt no record",
    "[quick][libc]") {
    for (int closed = 1; closed < 8; ++closed) {
        CAPTURE(closed);
        const Options options{.before_exec = [closed] {
            for (int fd = 0; fd < 3; ++fd)
                if (closed >> fd & 1) close(fd);
        }};
        const std::string look =
            "for f in 0 1 2; do [ -e /proc/$$/fd/$f ] && list=\"$list $f\"; done; echo \"$list\" "
            "> ";
        put(job, R"({"host":1})");
        CHECK(run({"sh", "-c", look + "bare; exit 5"}, options).ended() == "exit 5");
        CHECK(run_job(job, look + "shimmed; exit 5", {}, options).ended() == "exit 5");
        CHECK(slurp(dir / "shimmed") == slurp(dir / "bare"));
        CHECK(at(read_json(job), "/host") == 1);
        CHECK(at(exit_of(job), "/code") == 5);
        const auto heartbeat = lines_of(slurp(heartbeat_of(job)));
        REQUIRE_FALSE(heartbeat.empty());
        CHECK(Json::accept(heartbeat.front()));
        // A message has nowhere to go then: it must not go into a file that happened to get
        // descriptor 2.
        const auto before = slurp(job);
        CHECK(run_shim({"-j", job, "--id", "not this one", "--", "true"}, options).ended() ==
              "exit 125");
        CHECK(slurp(job) == before);
    }
}
