// Which signals a launcher sends, and which of them the worker gets: as many as without the shim.

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <set>

#include "integration/strace.hpp"
#include "integration/support.hpp"

using namespace harness;

namespace {

/// What the listener printed, one line each: number, sender, counter.
struct Heard {
    int number = 0;
    pid_t sender = 0;
    std::uint64_t counter = 0;
};

std::vector<Heard> heard_in(const std::string& out) {
    std::vector<Heard> all;
    for (const auto& line : lines_of(out)) {
        if (line == "ready") continue;
        std::istringstream in(line);
        Heard one;
        in >> one.number >> one.sender >> one.counter;
        all.push_back(one);
    }
    return all;
}

class Forwarding : public Sandbox {
public:
    Forwarding() {
        put(dir / "counter", std::string(sizeof(std::uint64_t), '\0'));
        const Fd file(open((dir / "counter").c_str(), O_RDWR | O_CLOEXEC));
        void* shared =
            mmap(nullptr, sizeof(std::uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
        REQUIRE(shared != MAP_FAILED);
        counter_ = static_cast<volatile std::uint64_t*>(shared);
    }
    ~Forwarding() { munmap(const_cast<std::uint64_t*>(counter_), sizeof(std::uint64_t)); }
    Forwarding(const Forwarding&) = delete;
    Forwarding& operator=(const Forwarding&) = delete;

    /// A thousand rounds of each signal, as fast as possible, to the process that `prefix` starts.
    std::vector<Heard> storm(const Words& prefix, const std::vector<int>& numbers) {
        Words argv = prefix;
        argv.insert(argv.end(), {LISTENER_BIN, dir / "counter"});
        *counter_ = 0;
        auto target = spawn(argv);
        REQUIRE(wait_until([&] { return contains(target.out(), "ready"); }));
        for (int round = 0; round < 1000; ++round) {
            *counter_ = *counter_ + 1;
            for (const int number : numbers) target.kill(number);
        }
        target.kill(SIGRTMAX);
        const auto result = target.wait(60s);
        CHECK(result.ended() == "exit 0");
        return heard_in(result.out);
    }

private:
    volatile std::uint64_t* counter_ = nullptr;
};

std::ptrdiff_t count(const std::vector<Heard>& all, int number) {
    return std::count_if(all.begin(), all.end(),
                         [number](const Heard& one) { return one.number == number; });
}

}  // namespace

TEST_CASE_METHOD(Forwarding,
                 "all of a thousand real-time signals arrive and of other signals the last",
                 "[quick][libc]") {
    const int first = SIGRTMIN + 1, second = SIGRTMIN + 7;
    const std::vector<int> numbers{SIGUSR1, first, SIGTERM, second, SIGHUP};
    std::cout << "of 1,000 sent      bare  shim\n";
    const auto bare = storm({}, numbers);
    for (const std::string group : {"own", "share"}) {
        CAPTURE(group);
        const auto shimmed = storm({jobshim, "-j", job, "--group", group, "--"}, numbers);
        for (const int number : {first, second}) {
            CAPTURE(number);
            CHECK(count(bare, number) == 1000);
            CHECK(count(shimmed, number) == 1000);
        }
        // At least one, and one that was taken after the last was sent.
        for (const int number : {SIGUSR1, SIGTERM, SIGHUP}) {
            CAPTURE(number);
            CHECK(count(shimmed, number) >= 1);
            CHECK(std::any_of(shimmed.begin(), shimmed.end(), [number](const Heard& one) {
                return one.number == number && one.counter == 1000;
            }));
        }
        for (const int number : numbers)
            std::cout << std::string(group == "own" ? "own group, " : "shared, ")
                      << signal_name(number) << ": " << count(bare, number) << " "
                      << count(shimmed, number) << "\n";
        CHECK(at(exit_of(job), "/code") == 0);
    }
}

TEST_CASE_METHOD(Forwarding, "a signal to a launcher's process group reaches the worker once") {
    struct Row {
        const char* what;
        bool to_worker;
    };
    for (const auto& [what, to_worker] :
         {Row{"the shim's group", false}, Row{"the worker's group", true}}) {
        CAPTURE(what);
        auto shim = start_shim({"-j", job, "--", LISTENER_BIN, dir / "counter"});
        REQUIRE(wait_until([&] { return contains(shim.out(), "ready"); }));
        const auto worker = worker_of(job);
        const pid_t group = to_worker ? worker : shim.pid();
        REQUIRE(process_stat(group).group == group);
        for (const int number : {SIGTERM, SIGINT, SIGUSR2, SIGRTMIN + 3, SIGRTMAX})
            REQUIRE(kill(-group, number) == 0);
        const auto result = shim.wait();
        CHECK(result.ended() == "exit 0");
        const auto heard = heard_in(result.out);
        for (const int number : {SIGTERM, SIGINT, SIGUSR2, SIGRTMIN + 3})
            CHECK(count(heard, number) == 1);
        for (const Heard& one : heard) CHECK(one.sender == (to_worker ? getpid() : shim.pid()));
        // A signal to the shim is on record with its sender; one to the worker only the worker can
        // know.
        CHECK(
            contains(at(exit_of(job), "/evidence").dump() + at(exit_of(job), "/requestedBy").dump(),
                     std::to_string(getpid())) != to_worker);
    }
}

TEST_CASE_METHOD(Sandbox, "KILL to the group of the shim or of the worker leaves neither") {
    for (const bool to_worker : {false, true}) {
        CAPTURE(to_worker);
        auto shim = start_job(job, "exec sleep 600");
        const auto worker = worker_of(job);
        REQUIRE(kill(to_worker ? -worker : -shim.pid(), SIGKILL) == 0);
        CHECK(shim.wait().ended() == "SIGKILL");
        CHECK(wait_until([&] { return !alive(worker); }));
        CHECK(ctl({"wait", job}).ended() == "exit 1");
        CHECK(at(exit_of(job), "/reason") == (to_worker ? "signal" : "shim-lost"));
    }
}

// The two flushes put the end on disk, before and after it is in place.
TEST_CASE_METHOD(Sandbox, "a signal after the worker's end changes nothing") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    // False if the shim had ended before the signal could be sent.
    const auto send_during_flush = [&](int number, std::size_t nth, Milliseconds flush) {
        fs::remove(dir / "trace");
        fs::remove(job);  // with an old file the first flush would be at the start
        auto tracer =
            spawn(under_strace(dir / "trace",
                               {"-e", "trace=fsync", "-e",
                                "inject=fsync:delay_enter=" + std::to_string(flush.count() * 1000) +
                                    ":when=" + std::to_string(nth)},
                               {jobshim, "-j", job, "--", "sh", "-c", "exit 5"}));
        const auto calls = [&] {
            const auto text = slurp(dir / "trace");
            std::size_t found = 0;
            for (std::size_t at = 0; (at = text.find("fsync(", at)) != text.npos; ++at) ++found;
            return found;
        };
        REQUIRE(wait_until([&] { return calls() >= nth || !tracer.running(); }));
        const auto shims = children_of(tracer.pid());
        if (!shims.empty()) kill(shims[0], number);
        CHECK(tracer.wait().ended() == "exit 5");
        CHECK(at(exit_of(job), "/code") == 5);
        CHECK(at(exit_of(job), "/reason") == "exit-code");
        CHECK(at(exit_of(job), "/requestedBy") == nullptr);
        CHECK(contains(at(exit_of(job), "/evidence").dump(), "SIG") == false);
        return !shims.empty();
    };
    for (const std::size_t nth : {1U, 2U}) {
        for (const int number : {SIGTERM, SIGINT, SIGQUIT, SIGUSR1, SIGALRM, SIGRTMIN + 4}) {
            CAPTURE(nth, number);
            auto flush = 300ms;
            while (!send_during_flush(number, nth, flush)) {
                REQUIRE(flush < 10s);
                flush *= 2;
            }
        }
    }
}

// It was pending in the launcher, which had blocked it: the worker must get it too, and get it
// blocked.
TEST_CASE_METHOD(Sandbox, "a signal that is pending when the shim is executed reaches the worker",
                 "[libc]") {
    if (!in_path("python3")) SKIP_TEST("no python3 in PATH");
    const std::string wait_for_it =
        "import signal; print(signal.sigwait({signal.SIGUSR1, signal.SIGTERM}).name)";
    for (const int number : {SIGUSR1, SIGTERM}) {
        const Options options{.before_exec = [number] {
            sigset_t set;
            sigemptyset(&set);
            sigaddset(&set, number);
            sigprocmask(SIG_BLOCK, &set, nullptr);
            raise(number);
        }};
        for (const Words& prefix : {Words{}, Words{jobshim, "-j", job, "--"}}) {
            Words argv = prefix;
            argv.insert(argv.end(), {"python3", "-c", wait_for_it});
            const auto result = run(argv, options);
            CHECK(result.ended() == "exit 0");
            CHECK(result.out == signal_name(number) + "\n");
        }
    }
}

// The idiom of `perl -e 'alarm shift; exec @ARGV' 5 COMMAND`.
TEST_CASE_METHOD(Sandbox, "a launcher's alarm reaches the worker", "[libc]") {
    const Options options{.before_exec = [] { alarm(1); }};
    CHECK(run({"sleep", "600"}, options).ended() == "SIGALRM");
    CHECK(run_shim({"-j", job, "--", "sleep", "600"}, options).ended() == "SIGALRM");
    CHECK(at(exit_of(job), "/signalName") == "SIGALRM");
}

// As supervisors do that want no orphans: the child must end with its parent.
TEST_CASE_METHOD(Sandbox, "a launcher's parent-death signal ends the worker") {
    if (!in_path("setpriv")) SKIP_TEST("no setpriv in PATH");
    for (const std::string name : {"TERM", "KILL"}) {
        CAPTURE(name);
        auto launcher =
            spawn({"sh", "-c",
                   "setpriv --pdeathsig " + name + " $JOBSHIM -j job.json -- sleep 600 & wait"},
                  {.env = {{"JOBSHIM", jobshim}}});
        const auto worker = worker_of(job);
        launcher.kill(SIGKILL);
        launcher.wait();
        CHECK(wait_until([&] { return !alive(worker); }));
        CHECK(ctl({"wait", job}).ended() == "exit 1");
        CHECK(at(exit_of(job), "/reason") == (name == "TERM" ? "signal" : "shim-lost"));
    }
}
