// The real out-of-memory killer at work in a job's memory cgroup (cgroup v1): which process it hit,
// and what the record says.

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <iostream>
#include <set>

#include "integration/memory_group.hpp"
#include "integration/strace.hpp"
#include "integration/support.hpp"

using namespace harness;

namespace {

constexpr int rounds = 50;

bool groups_work() { return MemoryCgroup().works(); }
#define NEEDS_MEMORY_CGROUPS() \
    if (!groups_work()) SKIP_TEST("needs root and cgroup v1's memory controller")

// The kernel logs ten kills in 5 s in full, and further ones in one line each. Returns once the
// next kill will be logged in full. Call it with a MemoryCgroup held: then no other test kills
// meanwhile.
void wait_until_kernel_logs_in_full() {
    // Kept open: to read all of the log at each look would take a whole core.
    static const Fd log(open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    static std::vector<long long> kills;  // seconds since boot
    REQUIRE(log.get() >= 0);
    REQUIRE(wait_until(
        [] {
            std::array<char, 8192> record{};
            for (;;) {
                const auto size = read(log.get(), record.data(), record.size());
                if (size < 0 && errno == EPIPE) continue;
                if (size <= 0) break;
                const std::string text(record.data(), static_cast<std::size_t>(size));
                if (!contains(text, "Killed process ")) continue;
                const auto at = text.find(',', text.find(',') + 1) + 1;
                kills.push_back(std::stoll(text.substr(at)) / 1'000'000);
            }
            timespec now{};
            clock_gettime(CLOCK_MONOTONIC, &now);
            return std::count_if(kills.begin(), kills.end(),
                                 [&](long long at) { return at + 6 >= now.tv_sec; }) < 9;
        },
        30s));
}

pid_t worker_in(const fs::path& job) {
    return at(read_json(job), "/jobshim/worker/pid").get<pid_t>();
}

Json record_of(const fs::path& job) { return at(read_json(job), "/jobshim/exit"); }

Words evidence_of(const Json& exit) { return at(exit, "/evidence").get<Words>(); }

std::string describe_worker(const fs::path& job) {
    return "victim was pid " + std::to_string(worker_in(job)) + ", the worker (/dev/kmsg)";
}

// The evidence comes first: a cut message must not lose it.
std::string describe_difference(const Words& wanted, const Words& evidence, const Json& record) {
    return "wanted " + Json(wanted).dump() + ", got " + Json(evidence).dump() + "; " +
           record.dump();
}

// What is wrong with a record; "" if it is true.
std::string mismatch(const fs::path& job, const std::string& reason, const std::string& certainty,
                     const Json& code, const Json& signal, const std::string& sentence,
                     const Words& evidence) {
    const auto record = read_json(job);
    const auto exit = record_of(job);
    const bool right =
        at(exit, "/reason") == reason && at(exit, "/certainty") == certainty &&
        at(exit, "/code") == code && at(exit, "/signal") == signal &&
        at(record, "/errorMessage") == (sentence.empty() ? Json(nullptr) : Json(sentence)) &&
        evidence_of(exit) == evidence;
    return right ? "" : describe_difference(evidence, evidence_of(exit), record);
}

// One round of each kind: a real death, and what is wrong with its record.
class Deaths : public Sandbox {
public:
    std::string of_the_worker() {
        const MemoryCgroup group;
        run_shim({"-j", job, "--", "tail", "/dev/zero"}, group.joined());
        return mismatch(job, "oom-kill", "observed", nullptr, SIGKILL, group.killed() + ".",
                        {group.rise(), describe_worker(job)});
    }

    std::string of_a_child(int code) {
        const MemoryCgroup group;
        wait_until_kernel_logs_in_full();
        const auto result =
            run_job(job, "tail /dev/zero & echo $! > child; wait; exit " + std::to_string(code), {},
                    group.joined());
        if (result.code() != code) return "the shim: " + result.ended();
        return mismatch(job, code == 0 ? "success" : "exit-code", "observed", code, nullptr,
                        code == 0 ? "" : "Exited with status " + std::to_string(code) + ".",
                        {group.rise(), describe_other(slurp(dir / "child"))});
    }

    std::string of_a_neighbour() {
        for (;;)
            if (const auto failure = try_a_neighbour()) return *failure;
    }

    // No value if the killer hit the worker too, while the neighbour was still dying: that is
    // another kind of death.
    std::optional<std::string> try_a_neighbour() {
        const MemoryCgroup group;
        wait_until_kernel_logs_in_full();
        auto shim = start_job(job, for_ever, {}, group.joined());
        const auto worker = worker_of(job);
        auto neighbour = spawn({"tail", "/dev/zero"}, group.joined());
        if (neighbour.wait().ended() != "SIGKILL") return "the neighbour survived";
        if (alive(worker)) kill(worker, SIGKILL);
        shim.wait();
        if (group.kills() != "1") {
            fs::remove(job);
            return std::nullopt;
        }
        return mismatch(job, "signal", "observed", nullptr, SIGKILL,
                        "Killed by SIGKILL; who sent it cannot be known.",
                        {group.rise(), describe_other(std::to_string(neighbour.pid()))});
    }

    std::string by_hand() {
        const MemoryCgroup group;
        auto shim = start_job(job, for_ever, {}, group.joined());
        kill(worker_of(job), SIGKILL);
        shim.wait();
        return mismatch(job, "signal", "observed", nullptr, SIGKILL,
                        "Killed by SIGKILL; who sent it cannot be known (not through jobshim; the "
                        "OOM killer's counter and the kernel's log show nothing).",
                        {});
    }

    // The killer hits a child; then the shim is killed, and its worker with it.
    std::string of_the_shim_by_hand() {
        const MemoryCgroup group;
        auto shim = start_job(job, "tail /dev/zero; touch hit; exec sleep 600", {}, group.joined());
        if (!wait_until([&] { return fs::exists(dir / "hit"); })) return "the child survived";
        kill_shim(shim, job);
        ctl({"status", job});
        return mismatch_if_lost({group.rise(), oom_active_when_lost});
    }

    // The shim is hit first, because half of the memory belongs to no process (a file in memory,
    // which is stdout here). The worker may be hit too before it learns of the shim's death.
    std::string of_the_shim(bool group_is_gone = false) {
        const MemoryCgroup group;
        if (group_is_gone) wait_until_kernel_logs_in_full();
        Options options;
        options.before_exec = [&] {
            group.join();
            const int score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
            must(write(score, "1000", 4), "oom_score_adj");
        };
        auto shim =
            start_job(job,
                      "head -c " + std::to_string(MemoryCgroup::limit_mib() / 2) +
                          "m /dev/zero; echo 0 > /proc/$$/oom_score_adj; exec tail /dev/zero",
                      {}, options);
        const auto pid = shim.pid();
        if (shim.wait().ended() != "SIGKILL") return "the shim survived";
        if (!wait_until([&] { return !alive(worker_in(job)); })) return "the worker survived";
        const bool both = group.kills() == "2";
        const auto rise = group.rise();
        if (group_is_gone && !wait_until([&] { return group.remove(); }))
            return "the cgroup could not be removed";
        ctl({"status", job});
        Words evidence{"victim was pid " + std::to_string(pid) + ", the shim (/dev/kmsg)"};
        if (!group_is_gone) evidence.insert(evidence.begin(), rise);
        if (both) evidence.push_back(describe_worker(job));
        evidence.push_back(oom_active_when_lost);
        const auto sentence = at(read_json(job), "/errorMessage").get<std::string>();
        if (!sentence.starts_with("The shim was killed by the out-of-memory killer"))
            return sentence;
        return mismatch_if_lost(evidence);
    }

    void sweep(const std::string& kind, const std::function<std::string()>& death) {
        Matrix matrix("oom-" + kind);
        for (int round = 0; round < rounds; ++round) {
            const auto lie = death();
            matrix.count("OOM killer: " + kind,
                         lie.empty() ? ReportedOutcome::true_end : ReportedOutcome::lie);
            if (!lie.empty() && matrix.lies() <= 3) FAIL_CHECK("round " << round << ": " << lie);
            for (const auto& name : names_in(dir, "")) fs::remove_all(dir / name);
        }
        std::cout << "oom, " << kind << ": " << matrix.total() << " rounds\n";
        REQUIRE(matrix.lies() == 0);
    }

private:
    static inline const std::string oom_active_when_lost =
        "the OOM killer was active in the shim's cgroup when the shim was lost";

    static std::string describe_other(const std::string& pid) {
        return "victim was pid " + std::to_string(std::stol(pid)) +
               " (tail), not the worker, in the same cgroup (/dev/kmsg)";
    }

    // For a lost job. Its evidence comes after the two lines that are always there (that both are
    // dead, and the last beat).
    std::string mismatch_if_lost(const Words& evidence) {
        const auto record = read_json(job);
        const auto exit = record_of(job);
        const auto lines = evidence_of(exit);
        const bool right = at(record, "/status") == "failed" &&
                           at(exit, "/reason") == "shim-lost" &&
                           at(exit, "/certainty") == "inferred" && at(exit, "/signal") == nullptr &&
                           lines.size() == evidence.size() + 2 &&
                           std::equal(evidence.rbegin(), evidence.rend(), lines.rbegin());
        return right ? "" : describe_difference(evidence, lines, record);
    }
};

}  // namespace

// The acceptance test of "why it died": systems that guess report all five deaths as the same.
TEST_CASE_METHOD(Deaths, "OOM: five deaths have five different and true records", "[quick][oom]") {
    NEEDS_MEMORY_CGROUPS();
    const std::vector<std::function<std::string()>> deaths{
        [&] { return of_the_worker(); }, [&] { return of_a_child(4); },
        [&] { return of_a_child(0); },   [&] { return of_a_neighbour(); },
        [&] { return by_hand(); },
    };
    std::set<std::string> records;
    for (const auto& death : deaths) {
        CHECK(death() == "");
        auto exit = record_of(job);
        exit = {at(exit, "/reason"), at(exit, "/code"), at(exit, "/signal"),
                evidence_of(exit).size()};
        records.insert(exit.dump());
        fs::remove(job);
        fs::remove(dir / "child");
    }
    CHECK(records.size() == deaths.size());
}

TEST_CASE_METHOD(Deaths, "OOM: the shim is lost while the killer is active in its cgroup",
                 "[oom]") {
    NEEDS_MEMORY_CGROUPS();
    CHECK(of_the_shim_by_hand() == "");
    fs::remove(job);
    fs::remove(dir / "hit");
    CHECK(of_the_shim() == "");
}

// As when systemd removes a unit's cgroup before any reader looks. No counter can be read then, and
// the record said nothing about the OOM killer although the kernel's log named its victims.
TEST_CASE_METHOD(Deaths, "OOM: the shim is lost and its cgroup removed", "[oom]") {
    NEEDS_MEMORY_CGROUPS();
    CHECK(of_the_shim(true) == "");
}

// No counter of the shim's own cgroup rises then, and the record said that nobody can know who sent
// SIGKILL.
TEST_CASE_METHOD(Deaths, "OOM: the worker is hit in a cgroup that it moved to", "[oom]") {
    NEEDS_MEMORY_CGROUPS();
    const MemoryCgroup group;
    const auto inner = group.directory() / "inner";
    wait_until_kernel_logs_in_full();
    run_job(job,
            "cd '" + group.directory().string() + "' && mkdir inner && cd inner && echo " +
                std::to_string(MemoryCgroup::limit_mib()) +
                "M > memory.limit_in_bytes && echo $$ > cgroup.procs && exec tail /dev/zero",
            {}, group.joined());
    CHECK(wait_until([&] { return rmdir(inner.c_str()) == 0; }));
    CHECK(mismatch(job, "oom-kill", "observed", nullptr, SIGKILL,
                   "Killed by the out-of-memory killer (cgroup " + group.name() + "/inner).",
                   {describe_worker(job)}) == "");
}

TEST_CASE_METHOD(Deaths, "OOM rounds: the worker is hit", "[oom][sweep]") {
    NEEDS_MEMORY_CGROUPS();
    sweep("worker", [&] { return of_the_worker(); });
}
TEST_CASE_METHOD(Deaths, "OOM rounds: a child is hit and the worker exits 4", "[oom][sweep]") {
    NEEDS_MEMORY_CGROUPS();
    sweep("child, exit 4", [&] { return of_a_child(4); });
}
TEST_CASE_METHOD(Deaths, "OOM rounds: a child is hit and the worker exits 0", "[oom][sweep]") {
    NEEDS_MEMORY_CGROUPS();
    sweep("child, exit 0", [&] { return of_a_child(0); });
}
TEST_CASE_METHOD(Deaths, "OOM rounds: a neighbour is hit and the worker killed by hand",
                 "[oom][sweep]") {
    NEEDS_MEMORY_CGROUPS();
    sweep("neighbour", [&] { return of_a_neighbour(); });
}
TEST_CASE_METHOD(Deaths, "OOM rounds: nothing is hit and the worker killed by hand",
                 "[oom][sweep]") {
    NEEDS_MEMORY_CGROUPS();
    sweep("nobody", [&] { return by_hand(); });
}
TEST_CASE_METHOD(Deaths, "OOM rounds: the shim is lost while the killer is active",
                 "[oom][sweep]") {
    NEEDS_MEMORY_CGROUPS();
    sweep("shim killed", [&] { return of_the_shim_by_hand(); });
    sweep("shim hit", [&] { return of_the_shim(); });
}

TEST_CASE_METHOD(Deaths,
                 "OOM: without access to the kernel's log the cause is inferred and marked so",
                 "[quick][oom]") {
    NEEDS_MEMORY_CGROUPS();
    if (child_can([] {
            become_nobody();
            must(open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC), "open");
        }))
        SKIP_TEST("anybody may read the kernel's log here");
    const MemoryCgroup group;
    const auto program = public_copy(jobshim);
    const auto directory = dir / "nobody's";
    fs::create_directory(directory);
    must(chown(directory.c_str(), 65534, 65534), "chown");
    Options options;
    options.before_exec = [&] {
        group.join();
        become_nobody();
    };
    const auto file = directory / "job.json";
    run({program, "-j", file, "--", "tail", "/dev/zero"}, options);
    CHECK(mismatch(file, "oom-kill", "inferred", nullptr, SIGKILL,
                   group.killed() +
                       "; inferred: the victim may have been another process in the same cgroup.",
                   {group.rise(), "the victim is unknown: /dev/kmsg cannot be read"}) == "");
}

// The kernel's log uses pids of the initial pid namespace: elsewhere they would name other
// processes.
TEST_CASE_METHOD(Deaths, "OOM: in a pid namespace the pids in the kernel's log are not trusted",
                 "[oom]") {
    NEEDS_MEMORY_CGROUPS();
    if (!child_can([] { must(unshare(CLONE_NEWPID), "unshare"); }))
        SKIP_TEST("needs pid namespaces");
    const MemoryCgroup group;
    run({"unshare", "--fork", "--pid", "--mount-proc", jobshim, "-j", job, "--", "tail",
         "/dev/zero"},
        group.joined());
    CHECK(
        mismatch(job, "oom-kill", "inferred", nullptr, SIGKILL,
                 group.killed() +
                     "; inferred: the victim may have been another process in the same cgroup.",
                 {group.rise(),
                  "the victim is unknown: the kernel's log uses the pids of another namespace"}) ==
        "");
}

TEST_CASE_METHOD(Deaths, "OOM: a timeout stays the reason and the OOM evidence is recorded",
                 "[oom]") {
    NEEDS_MEMORY_CGROUPS();
    const MemoryCgroup group;
    run_job(job, "tail /dev/zero; " + for_ever, {"--timeout", "1s", "--signal", "KILL"},
            group.joined());
    const auto exit = record_of(job);
    INFO(exit.dump(2));
    CHECK(at(exit, "/reason") == "timeout");
    CHECK(contains(at(exit, "/evidence").dump(), group.rise()));
}

// A peak from before the run does not belong to this job.
TEST_CASE_METHOD(Deaths, "the memory cgroup's peak is recorded only if it was reached in this run",
                 "[oom]") {
    NEEDS_MEMORY_CGROUPS();
    const MemoryCgroup group;
    const std::string eat = "head -c 4m /dev/zero | tail > /dev/null";
    run_job(job, eat, {}, group.joined());
    const auto first = at(record_of(job), "/resources/groupPeakKiB");
    INFO(read_json(job).dump(2));
    REQUIRE(first.is_number_integer());
    CHECK(first.get<int>() >= 4096);
    CHECK(first.get<int>() <= MemoryCgroup::limit_mib() * 1024);
    CHECK(contains(ctl({"result", job}).out, "its cgroup's peak "));
    run_job(job, "exit 0", {}, group.joined());
    CHECK(at(record_of(job), "/resources/groupPeakKiB") == "<missing>");
    CHECK_FALSE(contains(ctl({"result", job}).out, "its cgroup's peak "));
}

// A reader of forged files must not open any file they name, nor reveal what only root may know.
TEST_CASE_METHOD(
    Deaths, "a forged baseline never makes a reader open a file other than the kernel's counters") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    auto shim = start_job(job, for_ever);
    kill_shim(shim, job);
    const auto written = slurp(heartbeat_of(job));
    const auto record = slurp(job);
    for (const std::string& counter :
         Words{(dir / "memory.events").string(), "/etc/memory.events",
               "/sys/fs/cgroup/../../.." + (dir / "memory.events").string(),
               "/sys/fs/cgroup/memory/tasks"}) {
        CAPTURE(counter);
        put(job, record);
        auto first = Json::parse(lines_of(written).at(0));
        first["oom"] = {{"group", "/x"}, {"counter", counter}, {"kills", 0}, {"atUs", 1}};
        put(dir / "memory.events", "oom_kill 7\n");
        // The first bytes must stay as they are.
        put(heartbeat_of(job),
            "{\"jobshim\":" + first["jobshim"].dump() + ",\"job\":" + first["job"].dump() +
                ",\"startedAt\":" + first["startedAt"].dump() + ",\"oom\":" + first["oom"].dump() +
                "}\n" + lines_of(written).at(1) + "\n");
        run(under_strace(dir / "trace", {"-f", "-e", "trace=open,openat"},
                         {jobctl, "status", job}));
        CHECK(at(record_of(job), "/reason") == "shim-lost");
        CHECK_FALSE(contains(slurp(dir / "trace"), "\"" + counter + "\""));
        CHECK_FALSE(contains(slurp(job), "OOM killer"));
    }
}

TEST_CASE_METHOD(Sandbox, "the record says where a core dump went according to core_pattern",
                 "[quick]") {
    const auto pattern = lines_of(slurp("/proc/sys/kernel/core_pattern")).at(0);
    Options options;
    options.before_exec = [] {
        const rlimit all{RLIM_INFINITY, RLIM_INFINITY};
        must(setrlimit(RLIMIT_CORE, &all), "setrlimit");
    };
    if (!child_can(options.before_exec)) SKIP_TEST("needs the right to raise a limit");
    run_job(job, "kill -ABRT $$", {}, options);
    const auto exit = record_of(job);
    INFO(exit.dump(2));
    if (at(exit, "/coreDumped") != true) SKIP_TEST("no core is dumped here");
    CHECK(at(exit, "/reason") == "core-dump");
    const auto lines = evidence_of(exit);
    REQUIRE(lines.size() == 1);
    CHECK(contains(lines[0], "core_pattern '" + pattern + "'"));
    const bool is_relative = pattern.find_first_of("|/@") != 0;
    CHECK(contains(lines[0], "(started in " + dir.string() + ")") == is_relative);
    if (is_relative && pattern == "core") CHECK_FALSE(names_in(dir, "core").empty());
}
