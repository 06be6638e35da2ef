#include "common/oom_evidence.hpp"

#include "tests/catch.hpp"
#include "tests/temp_dir.hpp"

using namespace jobshim;

namespace {

std::optional<std::uint64_t> oom_kills(std::string_view text) {
    return counter_in(text, "oom_kill");
}

OomBaseline baseline(std::string counter, std::uint64_t kills) {
    OomBaseline result;
    result.group = "/jobs/x";
    result.counter = std::move(counter);
    result.kills = kills;
    return result;
}

}  // namespace

TEST_CASE("oom: the count, in cgroup v1's and v2's words") {
    CHECK(oom_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n") == 3);
    CHECK(oom_kills("low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\noom_group_kill 0\n") == 1);
    CHECK_FALSE(oom_kills("oom_kill_disable 0\n"));
    CHECK_FALSE(oom_kills("xoom_kill 1\n"));
    CHECK_FALSE(oom_kills("oom_kill x\n"));
    CHECK_FALSE(oom_kills(""));
}

TEST_CASE("oom: only a counter that rose is a finding") {
    const TempDir dir;
    const std::string counter = dir / "memory.oom_control";
    write_text(counter, "oom_kill 4\n");
    write_text(dir / "memory.limit_in_bytes", "536870912\n");
    CHECK_FALSE(compare_oom_counter(baseline(counter, 4)));
    const auto finding = compare_oom_counter(baseline(counter, 3));
    REQUIRE(finding);
    CHECK(finding->counter_rose);
    CHECK_FALSE(finding->worker_was_the_victim);
    CHECK(finding->limit_bytes == std::uint64_t{512} << 20U);
    CHECK(finding->evidence ==
          std::vector<std::string>{"memory.oom_control oom_kill 3 -> 4 in /jobs/x"});
    write_text(dir / "memory.limit_in_bytes", "9223372036854771712\n");  // v1: no limit
    CHECK_FALSE(compare_oom_counter(baseline(counter, 3))->limit_bytes);
    std::filesystem::remove(counter);
    CHECK_FALSE(compare_oom_counter(baseline(counter, 3)));
}

namespace {

// A fake /proc and /sys/fs/cgroup.
struct Tree {
    TempDir dir;

    std::string operator/(const std::string& path) const { return dir / path; }
    void put(const std::string& path, const std::string& text) const {
        std::filesystem::create_directories(std::filesystem::path(*this / path).parent_path());
        write_text(*this / path, text);
    }
    // Without where the tree is.
    OomBaseline read() const {
        auto found = read_oom_baseline(dir.path());
        if (!found) return {};
        found->counter.erase(0, dir.path().size());
        CHECK(found->at_us > 0);
        found->at_us = 0;
        return *found;
    }
};

const std::string v1_counts = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
const std::string v2_counts = "low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\noom_group_kill 4\n";

}  // namespace

TEST_CASE("oom: the baseline of a group of cgroup v1") {
    const Tree tree;
    tree.put("proc/self/cgroup", "5:cpu,memory:/a/b\n4:cpuset:/\n0::/c\n");
    tree.put("sys/fs/cgroup/memory/memory.oom_control", "oom_kill 99\n");
    tree.put("sys/fs/cgroup/memory/a/memory.oom_control", "oom_kill 98\n");
    tree.put("sys/fs/cgroup/memory/a/b/memory.oom_control", v1_counts);
    CHECK(tree.read() ==
          OomBaseline{"/a/b", "/sys/fs/cgroup/memory/a/b/memory.oom_control", 3, {}, {}, 0});
    tree.put("proc/self/cgroup", "5:memory:/\n");
    CHECK(tree.read() ==
          OomBaseline{"/", "/sys/fs/cgroup/memory/memory.oom_control", 99, {}, {}, 0});
}

TEST_CASE("oom: the baseline in a container whose mount begins at its own group") {
    const Tree tree;
    tree.put("proc/self/cgroup", "5:memory:/docker/1f/x\n");
    tree.put("sys/fs/cgroup/memory/x/memory.oom_control", v1_counts);
    tree.put("sys/fs/cgroup/memory/memory.oom_control", "oom_kill 99\n");
    CHECK(tree.read().group.empty());  // it may be anybody's
    tree.put("proc/self/mountinfo",
             "30 24 0:26 / /sys rw - sysfs sysfs rw\n"
             "35 31 0:32 /docker/1f /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
    CHECK(tree.read().counter == "/sys/fs/cgroup/memory/x/memory.oom_control");
    tree.put("proc/self/cgroup", "5:memory:/docker/1f\n");
    CHECK(tree.read().kills == 99);
    for (const char* elsewhere : {"/docker/1ff", "/docker", "/../x", "/docker/1f/../x"}) {
        tree.put("proc/self/cgroup", std::string("5:memory:") + elsewhere + "\n");
        CHECK(tree.read().group.empty());
    }
}

TEST_CASE("oom: the baseline of a group of cgroup v2") {
    const Tree tree;
    tree.put("proc/self/cgroup", "0::/a/b\n");
    tree.put("sys/fs/cgroup/a/b/memory.events", "oom_kill 5\n");
    const std::string folder = "/sys/fs/cgroup/a/b/";
    CHECK(tree.read() == OomBaseline{"/a/b", folder + "memory.events", 5, {}, {}, 0});
    tree.put("sys/fs/cgroup/a/b/memory.events.local", v2_counts);
    CHECK(tree.read() == OomBaseline{"/a/b", folder + "memory.events.local", 1, 4, 5, 0});
}

TEST_CASE("oom: the baseline of a hybrid, of no memory controller, of nothing at all") {
    const Tree tree;
    CHECK_FALSE(read_oom_baseline(tree.dir.path()));
    tree.put("proc/vmstat", "oom 1\noom_kill 12\n");
    CHECK(tree.read() == OomBaseline{"", "/proc/vmstat", 12, {}, {}, 0});
    for (const char* lines : {"", "0::/\n", "garbage", ":", "::", "5:memory\n", "5:memory:\n"}) {
        tree.put("proc/self/cgroup", lines);
        CHECK(tree.read().counter == "/proc/vmstat");
    }
    tree.put("proc/self/cgroup", "5:memory:/v1\n0::/v2\n");
    tree.put("sys/fs/cgroup/unified/v2/memory.events.local", v2_counts);
    CHECK(tree.read().counter == "/sys/fs/cgroup/unified/v2/memory.events.local");
    tree.put("sys/fs/cgroup/memory/v1/memory.oom_control", "oom_kill_disable 0\n");  // Linux 4.12
    CHECK(tree.read().group == "/v2");
    tree.put("sys/fs/cgroup/memory/v1/memory.oom_control", "oom_kill 1\n");
    CHECK(tree.read().group == "/v1");
}

TEST_CASE("oom: what rose in cgroup v2: the group's own, all of it, those below it") {
    const Tree tree;
    tree.put("x/memory.events.local", "oom_kill 1\noom_group_kill 0\n");
    tree.put("x/memory.events", "oom_kill 3\n");
    tree.put("x/memory.max", "max\n");
    OomBaseline before = baseline(tree / "x/memory.events.local", 1);
    before.group_kills = 0;
    before.kills_below = 3;
    CHECK_FALSE(compare_oom_counter(before));

    tree.put("x/memory.events", "oom_kill 4\n");
    auto found = compare_oom_counter(before);
    REQUIRE(found);
    CHECK_FALSE(found->counter_rose);  // nobody of the group itself
    CHECK(found->evidence ==
          std::vector<std::string>{
              "memory.events oom_kill 3 -> 4 in /jobs/x and the groups below it"});

    tree.put("x/memory.events.local", "oom_kill 2\noom_group_kill 0\n");
    found = compare_oom_counter(before);
    REQUIRE(found);
    CHECK(found->counter_rose);
    CHECK_FALSE(found->worker_was_the_victim);
    CHECK_FALSE(found->limit_bytes);
    CHECK(found->evidence ==
          std::vector<std::string>{"memory.events.local oom_kill 1 -> 2 in /jobs/x"});

    tree.put("x/memory.events.local", "oom_kill 3\noom_group_kill 1\n");
    found = compare_oom_counter(before);
    REQUIRE(found);
    CHECK(found->worker_was_the_victim);
    CHECK(found->evidence.back() ==
          "memory.events.local oom_group_kill 0 -> 1 in /jobs/x: all of the group were hit");
}

// A group below may be hit as a whole without the worker's being so.
TEST_CASE("oom: a whole group hit proves the worker's death only where it is his own") {
    const Tree tree;
    tree.put("x/memory.events", "oom_kill 1\noom_group_kill 1\n");  // before Linux 5.2
    OomBaseline before = baseline(tree / "x/memory.events", 0);
    before.group_kills = 0;
    const auto found = compare_oom_counter(before);
    REQUIRE(found);
    CHECK(found->counter_rose);
    CHECK_FALSE(found->worker_was_the_victim);
}

TEST_CASE("oom: the machine's counter tells of nobody's group") {
    const Tree tree;
    tree.put("vmstat", "oom_kill 2\n");
    OomBaseline before = baseline(tree / "vmstat", 1);
    before.group.clear();
    const auto found = compare_oom_counter(before);
    REQUIRE(found);
    CHECK_FALSE(found->counter_rose);
    CHECK(found->evidence == std::vector<std::string>{"vmstat oom_kill 1 -> 2 on this machine"});
    CHECK_FALSE(group_memory_peak(before));
}

TEST_CASE("oom: the group's peak, of both versions") {
    const Tree tree;
    const OomBaseline v1 = baseline(tree / "memory.oom_control", 0);
    const OomBaseline v2 = baseline(tree / "memory.events.local", 0);
    CHECK_FALSE(group_memory_peak(v1));
    tree.put("memory.max_usage_in_bytes", "4096\n");
    tree.put("memory.peak", "8192\n");
    CHECK(group_memory_peak(v1) == 4096);
    CHECK(group_memory_peak(v2) == 8192);
    tree.put("memory.peak", "garbage\n");
    CHECK_FALSE(group_memory_peak(v2));
}

TEST_CASE("oom: of a heartbeat file's word only the kernel's counters are opened") {
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

constexpr int worker = 42;
constexpr std::int64_t start = 1'000'000'000;  // us after the boot

OomLog log_of(const std::vector<OomVictim>& victims) {
    OomLog log;
    for (const OomVictim& victim : victims) {
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
    return log;
}

OomFinding named(std::uint64_t rise, const std::vector<OomVictim>& victims,
                 bool groups_agree = true, bool gap = false) {
    OomLog log = log_of(victims);
    if (gap) log.note_gap();
    OomBaseline before = baseline("", 0);
    before.at_us = start;
    OomFinding finding;
    name_victims(finding, before, rise, log, {{worker, OomSuspect::worker}}, groups_agree);
    return finding;
}

const OomVictim the_worker{worker, worker, "w", "/jobs/x", start + 5};
const OomVictim neighbour{77, 77, "n", "/jobs/x", start + 5};
const OomVictim stranger{88, 88, "s", "/else", start + 5};
const OomVictim short_of_words{99, {}, "q", {}, start + 5};
const OomVictim thread_of_worker{43, worker, "t", "/jobs/x", start + 5};
const OomVictim some_thread{43, {}, "t", "/jobs/x", start + 5};

OomVictim at(OomVictim victim, std::int64_t time) {
    victim.at_us = time;
    return victim;
}

}  // namespace

TEST_CASE("oom: the worker is a proven victim") {
    for (const auto& victims : std::vector<std::vector<OomVictim>>{
             {the_worker}, {neighbour, stranger, the_worker}, {thread_of_worker}}) {
        const OomFinding finding = named(1, victims);
        CHECK(finding.worker_was_the_victim);
        CHECK_FALSE(finding.others_were_the_victims);
        CHECK(finding.evidence ==
              std::vector<std::string>{"victim was pid 42, the worker (/dev/kmsg)"});
    }
    // The kernel's clock drifts, and a gap takes nothing from what is there.
    CHECK(named(1, {at(the_worker, start - 1'000'000)}).worker_was_the_victim);
    CHECK(named(1, {the_worker}, false, true).worker_was_the_victim);
    CHECK(named(2, {neighbour, the_worker}).evidence.size() == 2);
}

// With memory.oom.group the first victim is killed twice, and the log says so.
TEST_CASE("oom: a victim is told once") {
    CHECK(named(2, {the_worker, the_worker}).evidence.size() == 1);
}

// The worker moved to a group beside its shim's, and was killed there: no counter of the shim's
// group rose, and the record said "who sent it cannot be known" while the kernel's log named it.
// Likewise where the group was removed at once, as systemd does, before a reader came.
TEST_CASE("oom: the log alone proves the worker's death where no counter tells") {
    const auto among = [](const std::vector<OomVictim>& victims, bool groups_agree,
                          const std::optional<std::string>& only_group = {}) {
        OomBaseline before = baseline("", 0);
        before.at_us = start;
        return victims_among({{worker, OomSuspect::worker}}, before, log_of(victims), groups_agree,
                             only_group);
    };
    const auto found = among({stranger, the_worker, neighbour}, true);
    REQUIRE(found);
    CHECK(found->worker_was_the_victim);
    CHECK_FALSE(found->counter_rose);
    CHECK(found->group == "/jobs/x");
    CHECK(found->evidence == std::vector<std::string>{"victim was pid 42, the worker (/dev/kmsg)"});
    CHECK(among({the_worker}, false)->group.empty());
    CHECK(among({the_worker}, true, "/jobs/x"));

    CHECK_FALSE(among({}, true));
    CHECK_FALSE(among({neighbour, stranger, short_of_words}, true));
    CHECK_FALSE(among({at(the_worker, start / 2)}, true));
    // Long after its end its pid may be anybody's: the group must be that of the job.
    CHECK_FALSE(among({the_worker}, true, "/else"));
    CHECK_FALSE(among({the_worker}, false, "/jobs/x"));
}

TEST_CASE("oom: another with the worker's pid, long ago, was not the worker") {
    const OomFinding finding = named(1, {at(the_worker, start / 2)});
    CHECK_FALSE(finding.worker_was_the_victim);
}

TEST_CASE("oom: others are proven victims only if every kill is told of, group and process") {
    CHECK(named(1, {neighbour}).others_were_the_victims);
    CHECK(named(1, {neighbour}).evidence ==
          std::vector<std::string>{
              "victim was pid 77 (n), not the worker, in the same group (/dev/kmsg)"});
    CHECK(named(1, {short_of_words, stranger, neighbour, stranger}).others_were_the_victims);
    CHECK(named(2, {neighbour, neighbour}).others_were_the_victims);
    for (const auto& victims : std::vector<std::vector<OomVictim>>{
             {},
             {stranger},
             {short_of_words},
             {neighbour, short_of_words},  // the last may be the one that counted
             {some_thread},                // it may be the worker's
             {the_worker, neighbour}}) {
        CHECK_FALSE(named(1, victims).others_were_the_victims);
    }
    CHECK_FALSE(named(2, {neighbour}).others_were_the_victims);
    CHECK_FALSE(named(0, {neighbour}).others_were_the_victims);
    CHECK_FALSE(named(1, {neighbour}, true, true).others_were_the_victims);
    CHECK_FALSE(named(1, {neighbour}, false).others_were_the_victims);
    CHECK(named(1, {short_of_words}).evidence ==
          std::vector<std::string>{
              "/dev/kmsg names a victim of that time, perhaps of another group: pid 99 (q)"});
    CHECK(named(1, {at(short_of_words, start - 200'000)}).evidence.empty());
    CHECK(named(20, std::vector<OomVictim>(12, neighbour)).evidence.back() == "and 4 victims more");
}
