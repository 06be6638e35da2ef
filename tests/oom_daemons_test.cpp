// What earlyoom and systemd-oomd write into the journal when they kill.
#include "common/oom_daemons.hpp"

#include "tests/catch.hpp"

using namespace jobshim;

TEST_CASE("OOM daemons: a message names the process or its cgroup or no one of ours") {
    struct Row {
        const char* messages;
        const char* by;  // "" for nobody
    };
    const std::string group = "/system.slice/ci.service/job";
    for (const Row& row : {
             Row{"", ""},
             Row{"sending SIGTERM to process 42 uid 1000 \"node\": badness 853, VmRSS 9 MiB\n",
                 "earlyoom"},
             Row{"sending SIGKILL to process 42 \"node\": badness 853, VmRSS 9 MiB", "earlyoom"},
             Row{"mem avail: 1 of 2 MiB\nsending SIGTERM to process 42 uid 0 \"x\": oom_score 1\n"
                 "process exited after 0.1 seconds\n",
                 "earlyoom"},
             Row{"sending SIGTERM to process 421 uid 1000 \"node\": badness 1\n", ""},
             Row{"sending SIGTERM to process 142 uid 1000 \"node\": badness 1\n", ""},
             // A name may say anything.
             Row{"sending SIGTERM to process 7 uid 0 \"sending SIG to process 42 \": badness 1",
                 ""},
             Row{"process 42 exited after 0.1 seconds\n", ""},
             Row{"Killed /system.slice/ci.service/job due to memory pressure for /system.slice\n",
                 "systemd-oomd"},
             Row{"Killed /system.slice/ci.service due to memory used (1) / total (2)\n",
                 "systemd-oomd"},
             Row{"Killed /system.slice/ci.serv due to memory used (1) / total (2)\n", ""},
             Row{"Killed /system.slice/ci.service/job/deeper due to memory pressure\n", ""},
             Row{"Killed / due to memory pressure\n", ""},
             Row{"Killed /system.slice/ci.service/job", ""},
             Row{"Considered 2 cgroups for killing, top candidates were:\n", ""},
         }) {
        CAPTURE(row.messages);
        const auto found = find_oom_daemon(row.messages, 42, group);
        const std::string by = found ? found->name : "";
        CHECK(by == row.by);
        if (found) CHECK(std::string(row.messages).find(found->message) != std::string::npos);
    }
    CHECK_FALSE(find_oom_daemon("Killed /a due to x", 42, ""));
    CHECK_FALSE(find_oom_daemon("Killed / due to x", 42, "/"));
    // Control characters of a process's name do not reach a terminal.
    const auto odd =
        find_oom_daemon("sending SIGTERM to process 42 \"\x1b[2J\": badness 1", 42, "");
    REQUIRE(odd);
    CHECK(odd->message.find('\x1b') == std::string::npos);
}

TEST_CASE("OOM daemons: the journal is asked by unit, which nobody else can claim to be") {
    const auto query = journal_query(1'790'000'000'123);
    CHECK(query == std::vector<std::string>{"--quiet", "--no-pager", "--boot", "--output=cat",
                                            "--since=@1790000000", "_SYSTEMD_UNIT=earlyoom.service",
                                            "+", "_SYSTEMD_UNIT=systemd-oomd.service"});
}
