// A worker that SIGKILL cannot end: it sleeps in the kernel and does not wake for any signal (state
// D), as on a dead disk or network file system. It is recorded as such, and the wait for it is
// bounded. Here it writes to a frozen file system (fsfreeze(8)).

#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <memory>

#include "integration/mounts.hpp"
#include "integration/support.hpp"

using namespace harness;

namespace {

/// A process that writes to this volume is stuck until this object is destroyed or the test process
/// dies: a guard process sees to that, because a stuck process would otherwise keep the volume
/// frozen forever.
class Frozen {
public:
    explicit Frozen(const Volume& volume)
        : root_(open(volume.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
        guard_ = fork();
        REQUIRE(guard_ >= 0);
        if (guard_ == 0) {
            lifeline_.write.close();
            char none = 0;
            (void)!read(lifeline_.read.get(), &none, 1);
            ioctl(root_.get(), FITHAW, 0);
            _exit(0);
        }
        REQUIRE(ioctl(root_.get(), FIFREEZE, 0) == 0);
    }
    ~Frozen() {
        ioctl(root_.get(), FITHAW, 0);
        lifeline_.write.close();
        waitpid(guard_, nullptr, 0);
    }
    Frozen(const Frozen&) = delete;
    Frozen& operator=(const Frozen&) = delete;

private:
    Fd root_;
    Pipe lifeline_;
    pid_t guard_ = -1;
};

bool is_stuck(pid_t pid) {
    const fs::path threads = "/proc/" + std::to_string(pid) + "/task";
    std::error_code error;
    for (const auto& thread : fs::directory_iterator(threads, error))
        if (contains(slurp(thread.path() / "status"), "State:\tD")) return true;
    return false;
}

bool has_kill_pending(pid_t pid) {
    for (const auto& line : lines_of(slurp("/proc/" + std::to_string(pid) + "/status")))
        if (line.starts_with("ShdPnd:") || line.starts_with("SigPnd:"))
            if ((std::stoull(line.substr(7), nullptr, 16) & (1U << (SIGKILL - 1))) != 0)
                return true;
    return false;
}

bool has_evidence(const Json& end, const std::string& part) {
    const auto evidence = at(end, "/evidence");
    return std::any_of(evidence.begin(), evidence.end(),
                       [&](const Json& line) { return contains(line.dump(), part); });
}

struct Hung {
    std::string name;
    Words options;
    Words command;
    fs::path file = {};
    Process shim = {};
    pid_t worker = 0;
};

}  // namespace

TEST_CASE_METHOD(Sandbox, "a worker that KILL cannot end is recorded and not waited for",
                 "[long]") {
    if (const auto why = why_no_volume("ext4"); !why.empty()) SKIP_TEST(why);
    Matrix matrix("stuck in the kernel");
    const Volume volume(dir / "volume", "ext4");
    const Volume other(dir / "other", "ext4");
    auto frozen = std::make_unique<Frozen>(volume);
    auto frozen_for_a_while = std::make_unique<Frozen>(other);

    const auto start = [&](const std::string& name, const Words& options,
                           const Words& command) -> Hung {
        Hung hung{name, options, command, dir / (name + ".json")};
        Words arguments{"-j", hung.file, "--heartbeat-interval", "100ms"};
        arguments.insert(arguments.end(), options.begin(), options.end());
        arguments.emplace_back("--");
        arguments.insert(arguments.end(), command.begin(), command.end());
        hung.shim = start_shim(arguments);
        hung.worker = worker_of(hung.file);
        CAPTURE(name);
        REQUIRE(wait_until([&] { return is_stuck(hung.worker); }));
        return hung;
    };
    // Late enough that on a busy machine, too, the worker is stuck by then.
    const Words soon{"--timeout", "5s", "--kill-after", "100ms"};
    const auto soon_and = [&](Words more) {
        more.insert(more.begin(), soon.begin(), soon.end());
        return more;
    };
    const std::string file = volume.path() / "file";
    const Words touch{"touch", file};

    std::vector<Hung> timed_out;
    timed_out.push_back(start("timeout", soon, touch));
    timed_out.push_back(start("shared", soon_and({"--group", "share"}), touch));
    timed_out.push_back(start("kept", soon_and({"--on-shim-death", "keep"}), touch));
    timed_out.push_back(start("leftovers", soon_and({"--leftovers", "kill"}), touch));
    // KILL at once, and no second one.
    timed_out.push_back(
        start("at-once", {"--timeout", "5s", "--signal", "KILL", "--kill-after", "0"}, touch));
    if (in_path("python3"))  // its first thread ends; another one is stuck
        timed_out.push_back(
            start("thread", soon,
                  {"python3", "-c",
                   "import sys, threading, time\n"
                   "threading.Thread(target=open, args=(sys.argv[1], 'w')).start()\n"
                   "while True: time.sleep(1)",
                   file}));
    auto cancelled = start("cancel", {}, touch);
    auto orphan = start("orphan", {"--on-shim-death", "keep"}, touch);
    auto unkilled = start("no-kill", {"--timeout", "5s", "--kill-after", "0"}, touch);
    auto stopped = start("stopped", soon, touch);
    auto late = start("late", soon, {"touch", other.path() / "file"});

    auto canceller = spawn({jobctl, "cancel", "--kill-after", "100ms", "--reason",
                            "no longer needed", cancelled.file});
    kill_shim(orphan.shim, orphan.file);
    auto orphans_canceller = spawn({jobctl, "cancel", "--kill-after", "100ms", orphan.file});
    // Stopped while it waits for the end, until long after that wait is over.
    REQUIRE(wait_until([&] { return has_kill_pending(stopped.worker); }));
    stopped.shim.kill(SIGSTOP);

    // Released within the grace period, it ends like any other.
    REQUIRE(wait_until([&] { return has_kill_pending(late.worker); }));
    CHECK(ctl({"status", late.file}).ended() == "exit 3");
    frozen_for_a_while.reset();
    CHECK(late.shim.wait().ended() == "exit 124");
    CHECK(at(exit_of(late.file), "/waitStatus").is_number());
    CHECK(contains(at(read_json(late.file), "/errorMessage").dump(), "Timed out after 5 s; "));
    matrix.count("let go in time", at(exit_of(late.file), "/signal").is_number()
                                       ? ReportedOutcome::true_end
                                       : ReportedOutcome::lie);

    const auto check_stuck = [&](Hung& hung, const std::string& ended, const std::string& status,
                                 const std::string& sentence) {
        CAPTURE(hung.name);
        const auto result = hung.shim.wait(60s);
        CHECK(result.ended() == ended);
        CHECK(result.err.empty());
        CHECK(is_stuck(hung.worker));
        const auto record = read_json(hung.file);
        const auto end = exit_of(hung.file);
        INFO(record.dump(2));
        CHECK(at(record, "/status") == status);
        CHECK(at(record, "/pid") == nullptr);
        CHECK(at(record, "/errorMessage") == sentence + "; SIGKILL did not end the worker (pid " +
                                                 std::to_string(hung.worker) +
                                                 ", state D): it is stuck in the kernel.");
        CHECK(at(end, "/certainty") == "observed");
        for (const char* unseen : {"/code", "/signal", "/signalName", "/waitStatus", "/resources"})
            CHECK(at(end, unseen) == nullptr);
        CHECK((at(end, "/coreDumped") == nullptr || at(end, "/coreDumped") == "<missing>"));
        CHECK(at(end, "/durationMs").get<int>() >= 10'000);
        CHECK(has_evidence(end, "state D"));
        CHECK(has_evidence(end, "SIGKILL sent"));
        CHECK(has_evidence(end, "in kernel function "));
        const auto before = slurp(hung.file);
        const auto seen = ctl({"result", hung.file});
        CHECK(seen.ended() == (status == "cancelled" ? "exit 5" : "exit 1"));
        CHECK(contains(seen.out, "stuck in the kernel"));
        CHECK(ctl({"wait", "--mirror", hung.file}).ended() == seen.ended());
        ctl({"reap", "--dir", dir});
        CHECK(slurp(hung.file) == before);
        const bool is_true = at(end, "/waitStatus") == nullptr && at(record, "/status") == status;
        matrix.count(hung.name, is_true ? ReportedOutcome::true_end : ReportedOutcome::lie);
    };
    for (auto& hung : timed_out) {
        check_stuck(hung, "exit 124", "failed", "Timed out after 5 s");
        CHECK(at(exit_of(hung.file), "/reason") == "timeout");
        // If another thread is stuck, the process's first thread is a zombie: not listed.
        if (hung.name != "shared" && hung.name != "thread")
            CHECK(at(exit_of(hung.file), "/leftovers/0/pid") == hung.worker);
    }
    // Not a death by SIGKILL: that would look as if the shim had been killed at work.
    const auto me = " uid " + std::to_string(getuid()) + " (pid " +
                    std::to_string(canceller.pid()) + ", jobctl)";
    check_stuck(cancelled, "exit 137", "cancelled",
                "Cancelled, requested by" + me + ": no longer needed");
    CHECK(at(exit_of(cancelled.file), "/reason") == "cancelled");
    CHECK(canceller.wait().ended() == "exit 0");
    // Nothing is known about the orphan except that it lives.
    const auto refused = orphans_canceller.wait(60s);
    CHECK(refused.ended() == "exit 125");
    CHECK(contains(refused.err, "stuck in the kernel"));
    const auto state = at(ctl_json({"status", orphan.file}), "/0/verdict/state");
    CHECK(state == "orphaned");
    matrix.count("an orphan", state == "orphaned" ? ReportedOutcome::alive : ReportedOutcome::lie);
    // No KILL was sent, so the shim waits, as GNU timeout does.
    CHECK(unkilled.shim.running());
    CHECK(ctl({"status", unkilled.file}).ended() == "exit 3");

    std::map<fs::path, std::string> records;
    for (const auto& hung : timed_out) records[hung.file] = slurp(hung.file);
    records[cancelled.file] = slurp(cancelled.file);
    frozen.reset();
    CHECK(unkilled.shim.wait().ended() == "exit 124");
    CHECK(at(exit_of(unkilled.file), "/signal") == SIGTERM);
    matrix.count("no KILL", at(exit_of(unkilled.file), "/signal") == SIGTERM
                                ? ReportedOutcome::true_end
                                : ReportedOutcome::lie);
    // Its time ran out long ago, but the end can be observed.
    REQUIRE(wait_until([&] { return !alive(stopped.worker); }));
    stopped.shim.kill(SIGCONT);
    CHECK(stopped.shim.wait().ended() == "exit 124");
    CHECK(at(exit_of(stopped.file), "/waitStatus").is_number());
    matrix.count("a stopped shim", at(exit_of(stopped.file), "/waitStatus").is_number()
                                       ? ReportedOutcome::true_end
                                       : ReportedOutcome::lie);
    CHECK(wait_until([&] { return !alive(orphan.worker); }));
    CHECK(ctl({"status", orphan.file}).code() != 3);
    // Once released they end at last, and that changes nothing.
    for (auto& hung : timed_out) CHECK(wait_until([&] { return !alive(hung.worker); }));
    CHECK(wait_until([&] { return !alive(cancelled.worker); }));
    ctl({"reap", "--dir", dir});
    for (const auto& [path, text] : records) CHECK(slurp(path) == text);
    CHECK(run_job(timed_out.front().file, "exit 3").ended() == "exit 3");
    CHECK(at(read_json(timed_out.front().file), "/jobshim/previous/reason") == "timeout");
    std::cout << "stuck in the kernel: " << matrix.total() << " points\n";
    REQUIRE(matrix.lies() == 0);
}
