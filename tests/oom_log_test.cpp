// What /dev/kmsg says about the OOM killer. The records come from a real kernel (6.18), except for
// the forged ones.
#include "common/oom_log.hpp"

#include "tests/catch.hpp"

using namespace jobshim;

namespace {

OomLog log_of(const std::vector<std::string>& records) {
    OomLog log;
    for (const std::string& record : records) log.add(record);
    return log;
}

const std::string header = "6,901,17150076588,-;Tasks state (memory values in pages):\n";
const std::string task_row =
    "6,903,17150076590,-;[   5206]     0  5206     4769     4451     4064      387         0    "
    "77824        0             0 tail\n";
const std::string summary =
    "6,904,17150076593,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,"
    "mems_allowed=0,oom_memcg=/jobs,task_memcg=/jobs/x,task=tail,pid=5206,uid=0\n";
const std::string kill_line =
    "3,905,17150076606,-;Memory cgroup out of memory: Killed process 5206 (tail) "
    "total-vm:19076kB, anon-rss:16256kB, file-rss:1548kB, shmem-rss:0kB, UID:0 pgtables:76kB "
    "oom_score_adj:0\n SUBSYSTEM=memory\n";

}  // namespace

TEST_CASE("kernel log: a kill reported in full") {
    const OomLog log = log_of({header, task_row, summary, kill_line});
    REQUIRE(log.victims().size() == 1);
    const OomVictim& victim = log.victims()[0];
    CHECK(victim.pid == 5206);
    CHECK(victim.thread_group == 5206);
    CHECK(victim.name == "tail");
    CHECK(victim.group == "/jobs/x");
    CHECK(victim.at_us == 17150076606);
    CHECK(log.is_complete_since(victim));
}

TEST_CASE("kernel log: after a gap it is complete again, and what came before is not mixed in") {
    OomLog log = log_of({header, task_row, summary, kill_line, header, task_row, summary});
    log.note_gap();
    log.add(kill_line);
    REQUIRE(log.victims().size() == 2);
    const OomVictim& before = log.victims()[0];
    const OomVictim& after = log.victims()[1];
    CHECK_FALSE(log.is_complete_since(before));
    CHECK(log.is_complete_since(after));
    CHECK(before.group == "/jobs/x");
    CHECK_FALSE(after.group);
    CHECK_FALSE(after.thread_group);
}

TEST_CASE("kernel log: a kill reported in one line leaves out the rest") {
    const OomLog log = log_of({header, task_row, summary, kill_line, kill_line});
    REQUIRE(log.victims().size() == 2);
    // The process table printed before the first kill does not belong to the second.
    CHECK_FALSE(log.victims()[1].thread_group);
    CHECK_FALSE(log.victims()[1].group);
}

TEST_CASE("kernel log: the wording of other kernels and of a global OOM") {
    for (const std::string text :
         {"Killed process 77 (a b) total-vm:1kB, anon-rss:1kB",
          "Out of memory: Killed process 77 (a b) total-vm:1kB, anon-rss:1kB",
          "Out of memory (oom_kill_allocating_task): Killed process 77 (a b) total-vm:1kB",
          "Memory cgroup out of memory: Killed process 77 (a b), UID 0, total-vm:1kB"}) {
        CAPTURE(text);
        const OomLog log = log_of({"3,1,2,-,caller=T5;" + text + "\n"});
        REQUIRE(log.victims().size() == 1);
        CHECK(log.victims()[0].pid == 77);
        CHECK(log.victims()[0].name == "a b");
    }
    // Linux 4.14 announces a kill beforehand; the announcement itself is not a kill.
    CHECK(log_of({"3,1,2,-;Memory cgroup out of memory: Kill process 77 (x) score 9 or sacrifice "
                  "child\n"})
              .victims()
              .empty());
}

TEST_CASE("kernel log: a thread is reported with its process") {
    const OomLog log = log_of(
        {header, "6,903,1,-;[   5206]  1000  5200     4769     4451 0 0 0 0 0 x\n", kill_line});
    CHECK(log.victims()[0].thread_group == 5200);
}

TEST_CASE("kernel log: names and cgroups with arbitrary bytes") {
    // The kernel escapes backslashes and unprintable bytes.
    const OomLog log = log_of(
        {"6,1,1,-;oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,"
         "global_oom,task_memcg=/user\\x5cx2dslice,a,task=,pid=1,uid=0,pid=9,uid=1000\n",
         "3,2,1,-;Out of memory: Killed process 9 (,pid=1,uid=0) (x) total-vm:1kB\n"});
    REQUIRE(log.victims().size() == 1);
    CHECK(log.victims()[0].pid == 9);
    CHECK(log.victims()[0].group == "/user\\x2dslice,a");
    CHECK(log.victims()[0].name == ",pid=1,uid=0) (x");
    CHECK(log_of({"3,2,1,-;Killed process 9 (a\\x0ab\\x) total-vm:1kB\n"}).victims()[0].name ==
          "a\nb\\x");
}

TEST_CASE("kernel log: a user's line in /dev/kmsg or a forged cgroup name is not the kernel's") {
    const std::string text = "Killed process 42 (x) total-vm:1kB\n";
    CHECK(log_of({"11,1,2,-;" + text}).victims().empty());  // facility "user"
    CHECK(log_of({"6,1,2,-;Tasks in /Killed process 42 (x) are going to be killed\n"})
              .victims()
              .empty());
    CHECK(log_of({"6,1,2,-;usb: Out of memory: " + text}).victims().empty());
}

TEST_CASE("kernel log: garbage is not a record") {
    for (const std::string text : {"",
                                   ";",
                                   "3",
                                   "3,",
                                   "3,1",
                                   "3,1,",
                                   "x,1,2,-;Killed process 1 (x) total-vm:1",
                                   "3,1,x,-;Killed process 1 (x)",
                                   "3,1,2,-;Killed process",
                                   "3,1,2,-;Killed process 1",
                                   "3,1,2,-;Killed process 99999999999999 (x) total-vm:1",
                                   "3,1,2,-;Out of memory",
                                   "3,1,2,-;Out of memory:",
                                   "3,1,2,-;[",
                                   "3,1,2,-;[ 1] x",
                                   "3,1,2,-;[ 1] 1 1",
                                   "3,1,2,-;oom-kill:constraint=",
                                   "3,1,2,-;oom-kill:constraint=,pid=1,uid=1",
                                   "3,1,2,-;oom-kill:constraint=,task=,task_memcg=,pid=1,uid=1",
                                   "3,1,2,-;\\x",
                                   "3,1,2,-;\\xZZ"})
        CHECK(log_of({text}).victims().empty());
    CHECK(log_of({"3,1,2,-;Killed process 1 (x"}).victims().size() == 1);
}
