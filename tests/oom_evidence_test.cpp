#include "common/oom_evidence.hpp"

#include "tests/catch.hpp"
#include "tests/samples.hpp"
#include "tests/temp_dir.hpp"

using namespace jobshim;

namespace {

// What the counters show: the log is not read for a process of an unknown pid namespace.
std::optional<OomFinding> compare_counters(const OomBaseline& before) {
    auto found = look_for_oom(before, ShimIdentity{}, {});
    if (found) {
        CHECK(found->evidence.back() ==
              "the victim is unknown: the kernel's log uses the pids of another namespace");
        found->evidence.pop_back();
    }
    return found;
}

}  // namespace

TEST_CASE("oom: only a counter that rose is a finding") {
    const TempDir dir;
    const std::string counter = dir / "memory.oom_control";
    write_text(counter, "oom_kill 4\n");
    write_text(dir / "memory.limit_in_bytes", "536870912\n");
    CHECK_FALSE(compare_counters(baseline(counter, 4)));
    const auto finding = compare_counters(baseline(counter, 3));
    REQUIRE(finding);
    CHECK(finding->counter_rose);
    CHECK_FALSE(finding->worker_was_the_victim);
    CHECK(finding->limit_bytes == std::uint64_t{512} << 20U);
    CHECK(finding->evidence ==
          std::vector<std::string>{"memory.oom_control oom_kill 3 -> 4 in /jobs/x"});
    write_text(dir / "memory.limit_in_bytes", "9223372036854771712\n");  // v1: no limit
    CHECK_FALSE(compare_counters(baseline(counter, 3))->limit_bytes);
    std::filesystem::remove(counter);
    CHECK_FALSE(compare_counters(baseline(counter, 3)));
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
    // Without the path of the tree.
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

TEST_CASE("oom: the baseline in cgroup v1") {
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

TEST_CASE("oom: the baseline in a container whose mount starts at its own cgroup") {
    const Tree tree;
    tree.put("proc/self/cgroup", "5:memory:/docker/1f/x\n");
    tree.put("sys/fs/cgroup/memory/x/memory.oom_control", v1_counts);
    tree.put("sys/fs/cgroup/memory/memory.oom_control", "oom_kill 99\n");
    CHECK(tree.read().group.empty());  // the counter may be anybody's
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

TEST_CASE("oom: the baseline in cgroup v2") {
    const Tree tree;
    tree.put("proc/self/cgroup", "0::/a/b\n");
    tree.put("sys/fs/cgroup/a/b/memory.events", "oom_kill 5\n");
    const std::string directory = "/sys/fs/cgroup/a/b/";
    CHECK(tree.read() == OomBaseline{"/a/b", directory + "memory.events", 5, {}, {}, 0});
    tree.put("sys/fs/cgroup/a/b/memory.events.local", v2_counts);
    CHECK(tree.read() == OomBaseline{"/a/b", directory + "memory.events.local", 1, 4, 5, 0});
}

TEST_CASE(
    "oom: the baseline in a hybrid hierarchy and without a memory controller and without cgroups") {
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

TEST_CASE("oom: what rose in cgroup v2 in the cgroup itself or below it") {
    const Tree tree;
    tree.put("x/memory.events.local", "oom_kill 1\noom_group_kill 0\n");
    tree.put("x/memory.events", "oom_kill 3\n");
    tree.put("x/memory.max", "max\n");
    OomBaseline before = baseline(tree / "x/memory.events.local", 1);
    before.group_kills = 0;
    before.kills_below = 3;
    CHECK_FALSE(compare_counters(before));

    tree.put("x/memory.events", "oom_kill 4\n");
    auto found = compare_counters(before);
    REQUIRE(found);
    CHECK_FALSE(found->counter_rose);  // no process in the cgroup itself
    CHECK(found->evidence ==
          std::vector<std::string>{
              "memory.events oom_kill 3 -> 4 in /jobs/x and the cgroups below it"});

    tree.put("x/memory.events.local", "oom_kill 2\noom_group_kill 0\n");
    found = compare_counters(before);
    REQUIRE(found);
    CHECK(found->counter_rose);
    CHECK_FALSE(found->worker_was_the_victim);
    CHECK_FALSE(found->limit_bytes);
    CHECK(found->evidence ==
          std::vector<std::string>{"memory.events.local oom_kill 1 -> 2 in /jobs/x"});

    tree.put("x/memory.events.local", "oom_kill 3\noom_group_kill 1\n");
    found = compare_counters(before);
    REQUIRE(found);
    CHECK(found->worker_was_the_victim);
    CHECK(found->evidence.back() ==
          "memory.events.local oom_group_kill 0 -> 1 in /jobs/x: the whole cgroup was killed");
}

// A cgroup below may be killed as a whole without the worker being killed.
TEST_CASE("oom: a cgroup killed as a whole proves the worker's death only if it is its own") {
    const Tree tree;
    tree.put("x/memory.events", "oom_kill 1\noom_group_kill 1\n");  // before Linux 5.2
    OomBaseline before = baseline(tree / "x/memory.events", 0);
    before.group_kills = 0;
    const auto found = compare_counters(before);
    REQUIRE(found);
    CHECK(found->counter_rose);
    CHECK_FALSE(found->worker_was_the_victim);
}

TEST_CASE("oom: the machine's counter says nothing about a cgroup") {
    const Tree tree;
    tree.put("vmstat", "oom_kill 2\n");
    OomBaseline before = baseline(tree / "vmstat", 1);
    before.group.clear();
    const auto found = compare_counters(before);
    REQUIRE(found);
    CHECK_FALSE(found->counter_rose);
    CHECK(found->evidence == std::vector<std::string>{"vmstat oom_kill 1 -> 2 on this machine"});
    CHECK_FALSE(group_memory_peak(before));
}

TEST_CASE("oom: the cgroup's memory peak in both versions") {
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
