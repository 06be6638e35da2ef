#include "common/oom_evidence.hpp"

#include "tests/catch.hpp"
#include "tests/temp_dir.hpp"

using namespace jobshim;

TEST_CASE("oom: the count, in cgroup v1's and v2's words") {
    CHECK(oom_kill_count("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n") == 3);
    CHECK(oom_kill_count("low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\noom_group_kill 0\n") == 1);
    CHECK_FALSE(oom_kill_count("oom_kill_disable 0\n"));
    CHECK_FALSE(oom_kill_count("xoom_kill 1\n"));
    CHECK_FALSE(oom_kill_count("oom_kill x\n"));
    CHECK_FALSE(oom_kill_count(""));
}

TEST_CASE("oom: only a counter that rose is a finding") {
    const TempDir dir;
    const std::string counter = dir / "memory.oom_control";
    write_text(counter, "oom_kill 4\n");
    write_text(dir / "memory.limit_in_bytes", "536870912\n");
    CHECK_FALSE(compare_oom_counter({"/jobs/x", counter, 4}));
    const auto finding = compare_oom_counter({"/jobs/x", counter, 3});
    REQUIRE(finding);
    CHECK(finding->counter_rose);
    CHECK_FALSE(finding->worker_was_the_victim);
    CHECK(finding->limit_bytes == std::uint64_t{512} << 20U);
    CHECK(finding->evidence ==
          std::vector<std::string>{"memory.oom_control oom_kill 3 -> 4 in /jobs/x"});
    write_text(dir / "memory.limit_in_bytes", "9223372036854771712\n");  // v1: no limit
    CHECK_FALSE(compare_oom_counter({"/jobs/x", counter, 3})->limit_bytes);
    std::filesystem::remove(counter);
    CHECK_FALSE(compare_oom_counter({"/jobs/x", counter, 3}));
}
