// Signals that go nowhere, and words that say they did.

#include <fcntl.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "integration/attackers.hpp"
#include "integration/support.hpp"

using namespace harness;

namespace {

/// A program of root's with the set-user-ID bit, through which a worker of A's becomes root as by
/// sudo. Nothing if that means nothing here.
fs::path make_sudo(const Attacked& box) {
    const fs::path sudo = box.dir / "sudo";
    fs::copy_file("/usr/bin/setpriv", sudo);
    must(::chmod(sudo.c_str(), 04755), "chmod");
    struct statvfs info {};
    const bool counts = ::statvfs(box.dir.c_str(), &info) == 0 && (info.f_flag & ST_NOSUID) == 0 &&
                        contains(slurp("/proc/self/status"), "NoNewPrivs:\t0");
    return counts ? sudo : fs::path();
}

/// Says that it is there, and then ends only by SIGKILL.
const std::string stubborn = "trap '' TERM; echo ready; while :; do sleep 0.05; done";

bool has_evidence(const Json& exit, const std::string& words) {
    const Json evidence = at(exit, "/evidence");
    return std::any_of(evidence.begin(), evidence.end(),
                       [&](const Json& line) { return contains(line.get<std::string>(), words); });
}

void check_lives_on(const fs::path& job, const std::string& reason) {
    const auto record = read_json(job);
    const auto exit = exit_of(job);
    INFO(record.dump(2));
    CHECK(at(exit, "/reason") == reason);
    CHECK(at(exit, "/certainty") == "unknown");
    for (const char* unseen : {"/code", "/signal", "/signalName", "/waitStatus"})
        CHECK(at(exit, unseen) == nullptr);
    const auto sentence = at(record, "/errorMessage").get<std::string>();
    CHECK(contains(sentence, "which lives on"));
    CHECK_FALSE(contains(sentence, "stuck"));
}

}  // namespace

// kill() gave EPERM, and the record said "killed, stuck in the kernel, observed". The worker lived
// on, the next run was started beside it, and `cancel` said that it was cancelled.
TEST_CASE_METHOD(Attacked, "a worker that cannot be signalled is said to live on", "[serial]") {
    NEEDS_USERS();
    if (!in_path("setpriv")) SKIP_TEST("no setpriv");
    const auto sudo = make_sudo(*this);
    if (sudo.empty()) SKIP_TEST("set-user-id bits mean nothing here");
    Matrix matrix("cannot be signalled");
    const Words as_root{sudo, "--reuid", "0", "--clear-groups", "sh", "-c", stubborn};

    auto timed = begin(user_a, joined({{shim_program, "-j", a / "timed.json", "--timeout", "1s",
                                        "--kill-after", "100ms", "--"},
                                       as_root}));
    auto cancelled =
        begin(user_a, joined({{shim_program, "-j", a / "cancelled.json", "--"}, as_root}));
    auto told = begin(user_a, joined({{shim_program, "-j", a / "told.json", "--"}, as_root}));
    for (const Process* shim : {&timed, &cancelled, &told})
        REQUIRE(wait_until([&] { return contains(shim->out(), "ready"); }));

    // What is passed on, and is not received.
    const auto told_worker = worker_of(a / "told.json");
    told.kill(SIGTERM);

    auto canceller = spawn({ctl_program, "cancel", "--kill-after", "100ms", a / "cancelled.json"},
                           as(root, 60s));
    const auto cancel = canceller.wait(60s);
    CHECK(cancel.ended() == "exit 1");
    CHECK(contains(cancel.err, "lives on"));
    CHECK(cancelled.wait(60s).ended() == "exit 137");
    CHECK(timed.wait(60s).ended() == "exit 124");

    for (const char* name : {"timed", "cancelled"}) {
        CAPTURE(name);
        const fs::path file = a / (std::string(name) + ".json");
        check_lives_on(file, name == std::string("timed") ? "timeout" : "cancelled");
        CHECK(has_evidence(exit_of(file),
                           "SIGTERM could not be sent: not permitted (the worker runs as root)"));
        CHECK(has_evidence(exit_of(file),
                           "SIGKILL could not be sent: not permitted (the worker runs as root)"));
        CHECK_FALSE(has_evidence(exit_of(file), "SIGKILL sent"));
        const auto worker = at(read_json(file), "/jobshim/worker/pid").get<pid_t>();
        CHECK(alive(worker));
        matrix.count(name, at(exit_of(file), "/certainty") == "unknown" ? ReportedOutcome::unknown
                                                                        : ReportedOutcome::lie);
        // No second one beside it.
        const auto again = play_shim(user_a, {"-j", file, "--", "true"});
        CHECK(again.ended() == "exit 125");
        CHECK(contains(again.err, "its worker (pid " + std::to_string(worker) + ")"));
        CHECK(::kill(worker, SIGKILL) == 0);
        REQUIRE(wait_until([&] { return !alive(worker); }));
        CHECK(play_shim(user_a, {"-j", file, "--", "true"}).ended() == "exit 0");
    }
    CHECK(::kill(told_worker, SIGKILL) == 0);
    CHECK(told.wait().ended() == "SIGKILL");
    CHECK(has_evidence(exit_of(a / "told.json"), "SIGTERM could not be sent"));
    CHECK(at(exit_of(a / "told.json"), "/requestedBy") == nullptr);
    matrix.count("told", at(exit_of(a / "told.json"), "/signal") == SIGKILL
                             ? ReportedOutcome::true_end
                             : ReportedOutcome::lie);

    // Its shim is killed: it lives, and the next run is not started beside it.
    auto lost = begin(user_a, joined({{shim_program, "-j", a / "lost.json", "--"}, as_root}));
    REQUIRE(wait_until([&] { return contains(lost.out(), "ready"); }));
    const auto orphan = worker_of(a / "lost.json");
    lost.kill(SIGKILL);
    lost.wait();
    CHECK(state_in(play_ctl(user_a, {"status", "--json", a / "lost.json"})) == "orphaned");
    CHECK(play_shim(user_a, {"-j", a / "lost.json", "--", "true"}).ended() == "exit 125");
    matrix.count("orphan", alive(orphan) ? ReportedOutcome::alive : ReportedOutcome::lie);
    CHECK(::kill(orphan, SIGKILL) == 0);
    REQUIRE(wait_until([&] { return !alive(orphan); }));
    CHECK(play_ctl(user_a, {"status", a / "lost.json"}).ended() == "exit 1");
    REQUIRE(matrix.lies() == 0);
}

// SIGKILL is sent, but a debugger keeps what is left of the worker: that is not the kernel's doing.
TEST_CASE_METHOD(Sandbox, "a worker that a debugger keeps is not called stuck in the kernel",
                 "[serial]") {
    auto shim = start_job(job, "echo ready; exec sleep 600",
                          {"--timeout", "1s", "--signal", "KILL", "--kill-after", "0"});
    const auto worker = worker_of(job);
    REQUIRE(wait_until([&] { return contains(command_of(worker), "sleep"); }));
    if (::ptrace(PTRACE_SEIZE, worker, nullptr, PTRACE_O_TRACEEXIT) != 0)
        SKIP_TEST("no right to trace");
    // It stops on its way out, until we let it go on.
    CHECK(shim.wait(60s).ended() == "exit 124");
    CHECK(alive(worker));
    check_lives_on(job, "timeout");
    CHECK(run_job(job, "true").ended() == "exit 125");
    int status = 0;
    ::waitpid(worker, &status, __WALL);
    ::ptrace(PTRACE_DETACH, worker, nullptr, nullptr);
    CHECK(wait_until([&] { return !alive(worker); }));
    CHECK(run_job(job, "true").ended() == "exit 0");
}

// A worker that has left its group got no signal at all.
TEST_CASE_METHOD(Sandbox, "a worker that has left its process group is signalled once all the same",
                 "[quick]") {
    if (!in_path("python3")) SKIP_TEST("no python3");
    put(dir / "leaver.py", R"(
import os, signal, sys
where = sys.argv[1]
if where == "launcher": os.setpgid(0, os.getpgid(os.getppid()))
if where == "child":
    # Leaves its group to a child, and joins the shim's.
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, lambda *_: os.write(1, b"child\n") and os._exit(0))
        os.write(1, b"armed\n")
        while True: signal.pause()
    os.setpgid(0, os.getpgid(os.getppid()))
seen = 0
def on_term(*_):
    global seen
    seen += 1
    os.write(1, b"term\n")
signal.signal(signal.SIGTERM, on_term)
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(40 + seen))
os.write(1, b"ready\n")
while True: signal.pause()
)");
    const auto count = [](const std::string& text, const std::string& line) {
        const auto lines = lines_of(text);
        return std::count(lines.begin(), lines.end(), line);
    };
    for (const char* where : {"launcher", "child", "stays"}) {
        CAPTURE(where);
        auto shim = start_shim({"-j", job, "--", "python3", dir / "leaver.py", where});
        const std::ptrdiff_t children = where == std::string("child") ? 1 : 0;
        const auto is_ready = [&](const Process& it) {
            return count(it.out(), "ready") == 1 && count(it.out(), "armed") == children;
        };
        REQUIRE(wait_until([&] { return is_ready(shim); }));
        shim.kill(SIGTERM);
        REQUIRE(wait_until([&] { return count(shim.out(), "term") == 1; }));
        REQUIRE(wait_until([&] { return count(shim.out(), "child") == children; }));
        shim.kill(SIGUSR1);
        CHECK(shim.wait().ended() == "exit 41");
        // And what does not obey is killed.
        auto other = start_shim({"-j", job, "--", "python3", dir / "leaver.py", where});
        REQUIRE(wait_until([&] { return is_ready(other); }));
        CHECK(ctl({"cancel", "--kill-after", "100ms", job}).ended() == "exit 0");
        CHECK(other.wait().ended() == "SIGKILL");
        CHECK(at(exit_of(job), "/signal") == SIGKILL);
    }
}

// Root that looked first ended nothing, and then nobody did.
TEST_CASE_METHOD(Attacked, "what a lost job of a user's left is ended whoever settles it") {
    NEEDS_USERS();
    for (const uid_t who : {root, user_a}) {
        CAPTURE(who);
        const fs::path file = a / "left.json";
        auto shim = begin(
            user_a, {shim_program, "-j", file, "--", "sh", "-c", "sleep 600 & echo $!; wait"});
        REQUIRE(wait_until([&] { return contains(shim.out(), "\n"); }));
        const auto left = static_cast<pid_t>(std::stol(shim.out()));
        worker_of(file);
        shim.kill(SIGKILL);
        shim.wait();
        CHECK(play_ctl(who, {"status", file}).ended() == "exit 1");
        CHECK(wait_until([&] { return !alive(left); }));
        fs::remove(file);
    }
}

// Signals were blocked before the fork: TERM during the start was ignored, and the job ran.
TEST_CASE_METHOD(Sandbox, "a signal to the launcher of a detached job calls it off while it starts",
                 "[quick]") {
    for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) {
        CAPTURE(signal);
        // A settler holds the writer's byte, so the shim waits.
        Fd settler(
            checked(::open(heartbeat_of(job).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600), "open"));
        struct flock writer {};
        writer.l_type = F_WRLCK;
        writer.l_start = writer.l_len = 1;
        checked(::fcntl(settler.get(), F_OFD_SETLK, &writer), "lock");
        auto launcher = start_shim({"--detach", "-j", job, "--", "touch", dir / "ran"});
        REQUIRE(wait_until([&] { return !children_of(launcher.pid()).empty(); }));
        const auto shim = children_of(launcher.pid()).front();
        REQUIRE(wait_until([&] {  // it has the first byte
            return shim_lock_is_held(heartbeat_of(job));
        }));
        launcher.kill(signal);
        // Until the shim has it.
        const auto pending = [&] {
            const auto status = slurp("/proc/" + std::to_string(shim) + "/status");
            const auto at = status.find("ShdPnd:\t");
            return at != std::string::npos &&
                   (std::stoull(status.substr(at + 8, 16), nullptr, 16) >> (signal - 1) & 1U) != 0;
        };
        REQUIRE(wait_until(pending));
        settler.close();
        const auto result = launcher.wait();
        CHECK(result.ended() == "exit 125");
        CHECK(result.out.empty());
        CHECK(contains(result.err, "cancelled before COMMAND started"));
        CHECK_FALSE(fs::exists(dir / "ran"));
        CHECK(at(read_json(job), "/status") == "cancelled");
        fs::remove(job);
    }
    // One that the launcher ignored does not.
    auto nohup = start_shim({"--detach", "-j", job, "--", "true"},
                            {.before_exec = [] { ::signal(SIGHUP, SIG_IGN); }});
    nohup.kill(SIGHUP);
    CHECK(nohup.wait().ended() == "exit 0");
    CHECK(ctl({"wait", job}).ended() == "exit 0");
}

// Whoever had once sent a SIGHUP or SIGUSR1 that was handled was named as having requested the end.
TEST_CASE_METHOD(Sandbox, "who sent a signal that was handled did not request the end", "[quick]") {
    const std::string handles =
        "trap 'echo seen' HUP USR1; echo ready; while [ ! -e go ]; do "
        "sleep 0.02; done; exit ";
    for (const char* code : {"0", "1"})
        for (const int signal : {SIGHUP, SIGUSR1}) {
            CAPTURE(code, signal);
            fs::remove(dir / "go");
            auto shim = start_job(job, handles + code);
            REQUIRE(wait_until([&] { return contains(shim.out(), "ready"); }));
            shim.kill(signal);
            REQUIRE(wait_until([&] { return contains(shim.out(), "seen"); }));
            put(dir / "go", "");
            CHECK(shim.wait().ended() == "exit " + std::string(code));
            CHECK(at(exit_of(job), "/requestedBy") == nullptr);
            CHECK(has_evidence(exit_of(job), "was passed on"));
            const auto sentence = at(read_json(job), "/errorMessage");
            CHECK_FALSE(contains(sentence.dump(), "uid"));
        }
}

// A duration went through an int: 4294967.3 s became 12 ms, and the worker was killed.
TEST_CASE_METHOD(Sandbox, "a grace period of many days is not a short one", "[quick]") {
    for (const char* grace : {"4294967.3s", "2147484s", "25d", "49.8d", "36500d", "9999999d"}) {
        CAPTURE(grace);
        auto shim = start_job(job, "trap 'echo term' TERM; echo ready; " + for_ever_in_shell,
                              {"--on-shim-death", "keep"});
        REQUIRE(wait_until([&] { return contains(shim.out(), "ready"); }));
        const auto worker = worker_of(job);
        shim.kill(SIGKILL);
        shim.wait();
        const auto result =
            ctl({"cancel", "--kill-after", grace, "--timeout", "700ms", job.string()});
        INFO(result.out << result.err << slurp(job));
        CHECK(result.ended() == "exit 124");
        CHECK(contains(shim.out(), "term"));
        CHECK(alive(worker));
        CHECK(ctl({"cancel", "--kill-after", "1ms", job.string()}).ended() == "exit 0");
        CHECK(wait_until([&] { return !alive(worker); }));
        // By the shim.
        auto under = start_job(job, "trap 'echo term' TERM; echo ready; " + for_ever_in_shell,
                               {"--timeout", "100ms", "--kill-after", grace});
        REQUIRE(wait_until([&] { return contains(under.out(), "term"); }));
        CHECK(ctl({"wait", "--timeout", "300ms", job}).ended() == "exit 124");
        CHECK(under.running());
        CHECK(ctl({"cancel", "--signal", "KILL", job}).ended() == "exit 1");  // it had timed out
        under.wait();
    }
}

// A request that is longer than what its reader reads was never carried out.
TEST_CASE_METHOD(Sandbox, "a reason of any length is cut to what is read", "[quick]") {
    // Only bytes that grow when they are written as JSON, characters of several bytes, and both.
    for (const std::string& reason :
         {std::string(70'000, 'r'), std::string(50'000, '\x01'), std::string(50'000, '\xFF'), [] {
              std::string text;
              while (text.size() < 60'000) text += "\u00e4\u20ac\n";
              return text;
          }()}) {
        CAPTURE(reason.substr(0, 4));
        auto shim = start_job(job, "trap '' TERM; echo ready; " + for_ever_in_shell);
        REQUIRE(wait_until([&] { return contains(shim.out(), "ready"); }));
        CHECK(ctl({"cancel", "--kill-after", "100ms", "--reason", reason, job}).ended() ==
              "exit 0");
        CHECK(shim.wait().ended() == "SIGKILL");
        CHECK(at(read_json(job), "/status") == "cancelled");
        CHECK(slurp(job).size() < 65'536);
        const auto kept = at(read_json(job), "/jobshim/cancel/reason").get<std::string>();
        CHECK(kept.ends_with("\u2026"));
    }
}
