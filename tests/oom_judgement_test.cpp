// What the OOM killer's counters and the kernel log say about a death.
#include "common/oom_judgement.hpp"
#include "common/oom_evidence.hpp"

#include "tests/catch.hpp"
#include "tests/samples.hpp"

using namespace jobshim;

namespace {

std::optional<std::uint64_t> oom_kills(std::string_view text) {
    return counter_in(text, "oom_kill");
}

}  // namespace

TEST_CASE("oom: the count as cgroup v1 and v2 write it") {
    CHECK(oom_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n") == 3);
    CHECK(oom_kills("low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\noom_group_kill 0\n") == 1);
    CHECK_FALSE(oom_kills("oom_kill_disable 0\n"));
    CHECK_FALSE(oom_kills("xoom_kill 1\n"));
    CHECK_FALSE(oom_kills("oom_kill x\n"));
    CHECK_FALSE(oom_kills(""));
}

namespace {

// For the job's own cgroup: v2, with the counters that the kernel has had since Linux 5.2.
OomBaseline before_of(const std::string& counter) {
    OomBaseline before = baseline(counter, 1);
    before.group_kills = 2;
    before.kills_below = 3;
    return before;
}

OomBaseline of_the_machine() {
    OomBaseline before = baseline("/proc/vmstat", 1);
    before.group.clear();
    return before;
}

}  // namespace

TEST_CASE("oom: what a rise of each counter says") {
    struct Row {
        const char* name;
        OomBaseline before;
        OomCounters now;
        bool is_finding;
        std::uint64_t kills;
        bool counter_rose;  // in the cgroup itself
        bool proves_ours;   // the worker and the shim were killed
        std::vector<std::string> evidence;
    };
    const std::string local = "/sys/fs/cgroup/jobs/x/memory.events.local";
    const std::string events = "/sys/fs/cgroup/jobs/x/memory.events";
    const std::string v1 = "/sys/fs/cgroup/memory/jobs/x/memory.oom_control";
    const std::string own_kill = "memory.events.local oom_kill 1 -> 2 in /jobs/x";
    const std::string all_hit =
        "memory.events.local oom_group_kill 2 -> 3 in /jobs/x: the whole cgroup was killed";
    for (const Row& row : std::vector<Row>{
             {"nothing rose", before_of(local), {1, 2, 3}, false, 0, false, false, {}},
             {"the files are gone", before_of(local), {{}, {}, {}}, false, 0, false, false, {}},
             {"a counter that fell is another's",
              before_of(local),
              {0, 0, 0},
              false,
              0,
              false,
              false,
              {}},
             {"a process in the cgroup was killed",
              before_of(local),
              {2, 2, 4},
              true,
              1,
              true,
              false,
              {own_kill}},
             {"a process in a descendant cgroup was killed",
              before_of(local),
              {1, 2, 4},
              true,
              0,
              false,
              false,
              {"memory.events oom_kill 3 -> 4 in /jobs/x and the cgroups below it"}},
             {"both",
              before_of(local),
              {2, 2, 5},
              true,
              1,
              true,
              false,
              {own_kill, "memory.events oom_kill 3 -> 5 in /jobs/x and the cgroups below it"}},
             {"the group was hit as a whole",
              before_of(local),
              {2, 3, 4},
              true,
              1,
              true,
              true,
              {own_kill, all_hit}},
             {"as a whole, and nobody was counted singly",
              before_of(local),
              {1, 3, 3},
              true,
              0,
              true,
              true,
              {all_hit}},
             {"as a whole, or a cgroup below it: memory.events counts both",
              before_of(events),
              {2, 3, {}},
              true,
              1,
              true,
              false,
              {"memory.events oom_kill 1 -> 2 in /jobs/x",
               "memory.events oom_group_kill 2 -> 3 in /jobs/x or a cgroup below it"}},
             {"cgroup v1 counts only kills",
              baseline(v1, 1),
              {4, {}, {}},
              true,
              3,
              true,
              false,
              {"memory.oom_control oom_kill 1 -> 4 in /jobs/x"}},
             {"what was not counted at the start cannot have risen",
              baseline(local, 1),
              {1, 9, 9},
              false,
              0,
              false,
              false,
              {}},
             {"the machine-wide counter belongs to no cgroup",
              of_the_machine(),
              {2, {}, {}},
              true,
              1,
              false,
              false,
              {"vmstat oom_kill 1 -> 2 on this machine"}},
         }) {
        INFO(row.name);
        const auto rise = judge_oom_counters(row.before, row.now);
        REQUIRE(rise.has_value() == row.is_finding);
        if (!rise) continue;
        CHECK(rise->kills == row.kills);
        CHECK(rise->finding.counter_rose == row.counter_rose);
        CHECK(rise->finding.worker_was_the_victim == row.proves_ours);
        CHECK(rise->finding.shim_was_the_victim == row.proves_ours);
        CHECK_FALSE(rise->finding.others_were_the_victims);
        CHECK(rise->finding.group == row.before.group);
        CHECK(rise->finding.evidence == row.evidence);
    }
}

TEST_CASE("oom: the counters in a text and in the text of the cgroups below") {
    const OomCounters own = oom_counters_in("oom_kill 1\noom_group_kill 4\n", "oom_kill 5\n");
    CHECK(own.kills == 1);
    CHECK(own.group_kills == 4);
    CHECK(own.kills_below == 5);
    const OomCounters none = oom_counters_in("", "");
    CHECK_FALSE(none.kills);
    CHECK_FALSE(none.group_kills);
    CHECK_FALSE(none.kills_below);
    CHECK(oom_counter_below("/x/memory.events.local") == "/x/memory.events");
    for (const char* counter : {"", "/x/memory.events", "/x/memory.oom_control", "/proc/vmstat"})
        CHECK(oom_counter_below(counter).empty());
}

TEST_CASE("oom: of the paths in a heartbeat file only the kernel's counters are opened") {
    CHECK(is_oom_counter("/sys/fs/cgroup/memory/jobs/x/memory.oom_control"));
    CHECK(is_oom_counter("/sys/fs/cgroup/jobs/x/memory.events.local"));
    CHECK(is_oom_counter("/sys/fs/cgroup/memory.events"));
    CHECK(is_oom_counter("/proc/vmstat"));
    for (const char* path :
         {"", "/", "/etc/passwd", "/proc/kmsg", "/tmp/memory.events", "memory.events",
          "/sys/fs/cgroup/../../../tmp/memory.events", "/sys/fs/cgroup/x/../memory.events",
          "/sys/fs/cgroup/memory.events/", "/sys/fs/cgroup/x/cgroup.procs",
          "/sys/fs/cgroupx/memory.events", "/proc/../proc/vmstat"})
        CHECK_FALSE(is_oom_counter(path));
}

namespace {

constexpr int worker_pid = 42;
constexpr std::int64_t run_start = 1'000'000'000;  // us since boot

constexpr std::size_t nowhere = 1000;

// With a gap in the log before the kill of that index.
OomLog log_of_kills(const std::vector<OomVictim>& victims, std::size_t gap = nowhere) {
    OomLog log;
    for (const OomVictim& victim : victims) {
        if (log.victims().size() == gap) log.note_gap();
        const std::string at = ",1," + std::to_string(victim.at_us) + ",-;";
        if (victim.thread_group)
            log.add("6" + at + "[ " + std::to_string(victim.pid) + "] 0 " +
                    std::to_string(*victim.thread_group) + " 1 1\n");
        if (victim.group)
            log.add("6" + at + "oom-kill:constraint=x,task_memcg=" + *victim.group +
                    ",task=" + victim.name + ",pid=" + std::to_string(victim.pid) + ",uid=0\n");
        log.add("3" + at + "Out of memory: Killed process " + std::to_string(victim.pid) + " (" +
                victim.name + ") total-vm:1kB\n");
    }
    if (victims.size() == gap) log.note_gap();
    return log;
}

OomFinding named(std::uint64_t rise, const std::vector<OomVictim>& victims,
                 bool groups_agree = true, std::size_t gap = nowhere) {
    const OomLog log = log_of_kills(victims, gap);
    OomBaseline before = baseline("", 0);
    before.at_us = run_start;
    OomFinding finding;
    name_victims(finding, before, rise, log, {{worker_pid, OomSuspect::worker}}, groups_agree);
    return finding;
}

const OomVictim oom_worker{worker_pid, worker_pid, "w", "/jobs/x", run_start + 5};
const OomVictim neighbour{77, 77, "n", "/jobs/x", run_start + 5};
const OomVictim outsider{88, 88, "s", "/else", run_start + 5};
const OomVictim terse_victim{99, {}, "q", {}, run_start + 5};
const OomVictim thread_of_worker{43, worker_pid, "t", "/jobs/x", run_start + 5};
const OomVictim some_thread{43, {}, "t", "/jobs/x", run_start + 5};

OomVictim at(OomVictim victim, std::int64_t time) {
    victim.at_us = time;
    return victim;
}

}  // namespace

TEST_CASE("oom: the worker is a proven victim") {
    for (const auto& victims : std::vector<std::vector<OomVictim>>{
             {oom_worker}, {neighbour, outsider, oom_worker}, {thread_of_worker}}) {
        const OomFinding finding = named(1, victims);
        CHECK(finding.worker_was_the_victim);
        CHECK_FALSE(finding.others_were_the_victims);
        CHECK(finding.evidence ==
              std::vector<std::string>{"victim was pid 42, the worker (/dev/kmsg)"});
    }
    // The kernel's clock drifts; and a gap in the log does not weaken what the log does say.
    CHECK(named(1, {at(oom_worker, run_start - 1'000'000)}).worker_was_the_victim);
    CHECK(named(1, {oom_worker}, false, 1).worker_was_the_victim);
    CHECK(named(2, {neighbour, oom_worker}).evidence.size() == 2);
}

// With memory.oom.group, the first victim is killed twice, and the log shows both.
TEST_CASE("oom: a victim is reported once") {
    CHECK(named(2, {oom_worker, oom_worker}).evidence.size() == 1);
}

// The worker moved to a cgroup beside its shim's, and was killed there: no counter of the shim's
// cgroup rose, and the record said "who sent it cannot be known" although the kernel log named the
// worker. The same happened if the cgroup was removed at once, as systemd does, before a reader
// came.
TEST_CASE("oom: the log alone proves the worker's death where no counter shows it") {
    const auto among = [](const std::vector<OomVictim>& victims, bool groups_agree,
                          const std::optional<std::string>& only_group = {}) {
        OomBaseline before = baseline("", 0);
        before.at_us = run_start;
        return victims_among({{worker_pid, OomSuspect::worker}}, before, log_of_kills(victims),
                             groups_agree, only_group);
    };
    const auto found = among({outsider, oom_worker, neighbour}, true);
    REQUIRE(found);
    CHECK(found->worker_was_the_victim);
    CHECK_FALSE(found->counter_rose);
    CHECK(found->group == "/jobs/x");
    CHECK(found->evidence == std::vector<std::string>{"victim was pid 42, the worker (/dev/kmsg)"});
    CHECK(among({oom_worker}, false)->group.empty());
    CHECK(among({oom_worker}, true, "/jobs/x"));

    CHECK_FALSE(among({}, true));
    CHECK_FALSE(among({neighbour, outsider, terse_victim}, true));
    CHECK_FALSE(among({at(oom_worker, run_start / 2)}, true));
    // Long after its end, its pid may belong to any process: the cgroup must be the job's.
    CHECK_FALSE(among({oom_worker}, true, "/else"));
    CHECK_FALSE(among({oom_worker}, false, "/jobs/x"));
}

TEST_CASE("oom: a process that had the worker's pid long ago was not the worker") {
    const OomFinding finding = named(1, {at(oom_worker, run_start / 2)});
    CHECK_FALSE(finding.worker_was_the_victim);
}

TEST_CASE(
    "oom: others are proven victims only if the log has the cgroup and process of every kill") {
    CHECK(named(1, {neighbour}).others_were_the_victims);
    CHECK(named(1, {neighbour}).evidence ==
          std::vector<std::string>{
              "victim was pid 77 (n), not the worker, in the same cgroup (/dev/kmsg)"});
    CHECK(named(1, {terse_victim, outsider, neighbour, outsider}).others_were_the_victims);
    CHECK(named(2, {neighbour, neighbour}).others_were_the_victims);
    for (const auto& victims : std::vector<std::vector<OomVictim>>{
             {},
             {outsider},
             {terse_victim},
             {neighbour, terse_victim},  // the latter may be the one that was counted
             {some_thread},              // it may be a thread of the worker
             {oom_worker, neighbour}}) {
        CHECK_FALSE(named(1, victims).others_were_the_victims);
    }
    CHECK_FALSE(named(2, {neighbour}).others_were_the_victims);
    CHECK_FALSE(named(0, {neighbour}).others_were_the_victims);
    CHECK_FALSE(named(1, {neighbour}, true, 1).others_were_the_victims);
    CHECK_FALSE(named(1, {neighbour}, false).others_were_the_victims);
    CHECK(named(1, {terse_victim}).evidence ==
          std::vector<std::string>{
              "/dev/kmsg names a victim from that time, possibly in another cgroup: pid 99 (q)"});
    CHECK(named(1, {at(terse_victim, run_start - 200'000)}).evidence.empty());
    CHECK(named(20, std::vector<OomVictim>(12, neighbour)).evidence.back() == "and 4 more victims");
}

// A record was overwritten just as the log was opened, long before the kill: the neighbour's kill
// was reported as one "possibly in another cgroup".
TEST_CASE("oom: a gap in the log counts only if it may hide one of the kills that were counted") {
    CHECK(named(1, {neighbour}, true, 0).others_were_the_victims);
    CHECK(named(2, {outsider, neighbour, neighbour}, true, 1).others_were_the_victims);
    CHECK_FALSE(named(2, {neighbour, neighbour}, true, 1).others_were_the_victims);
}

TEST_CASE("oom: whether the log has enough kills since the start") {
    OomBaseline before = baseline("", 0);
    before.at_us = run_start;
    const OomLog log =
        log_of_kills({at(neighbour, run_start - 1), at(neighbour, run_start), oom_worker});
    CHECK(has_victims_since(log, before, 0));
    CHECK(has_victims_since(log, before, 2));
    CHECK_FALSE(has_victims_since(log, before, 3));
    CHECK_FALSE(has_victims_since(OomLog(), before, 1));
}

// The reader may be any user, who must not learn which other processes the log names as victims.
TEST_CASE("oom: nothing is disclosed about others where only suspects may be named") {
    OomBaseline before = baseline("", 0);
    before.at_us = run_start;
    for (const auto& victims : std::vector<std::vector<OomVictim>>{{neighbour}, {terse_victim}}) {
        OomFinding finding;
        name_victims(finding, before, 1, log_of_kills(victims), {{worker_pid, OomSuspect::worker}},
                     true, OomDisclosure::of_suspects);
        CHECK(finding.evidence.empty());
    }
}

TEST_CASE("oom: the shim can be a proven victim and is not the worker") {
    OomBaseline before = baseline("", 0);
    before.at_us = run_start;
    OomFinding finding;
    name_victims(finding, before, 1, log_of_kills({oom_worker}), {{worker_pid, OomSuspect::shim}},
                 true);
    CHECK(finding.shim_was_the_victim);
    CHECK_FALSE(finding.worker_was_the_victim);
    CHECK(finding.evidence == std::vector<std::string>{"victim was pid 42, the shim (/dev/kmsg)"});
}
