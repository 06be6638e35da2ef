// Who killed it: what can be known cheaply is said, and otherwise where it was looked for.

#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "integration/support.hpp"

using namespace harness;

namespace {

/// The shim finds a journal there, and a journalctl that runs this script.
struct JournalSandbox : Sandbox {
    static bool can_fake() {
        return geteuid() == 0 && child_can([] {
                   enter_private_mounts();
                   must(mount("none", "/run", "tmpfs", 0, nullptr), "mount");
               });
    }
    Options with_journal(const std::string& script) const {
        fs::create_directories(dir / "bin");
        put(dir / "bin/journalctl",
            "#!/bin/sh\necho \"$@\" > '" + (dir / "asked").string() + "'\n" + script + "\n");
        fs::permissions(dir / "bin/journalctl", fs::perms(0755));
        return {.env = {{"PATH", (dir / "bin").string() + ":" + getenv("PATH")}},
                .before_exec = [] {
                    enter_private_mounts();
                    must(mount("none", "/run", "tmpfs", 0, nullptr), "mount");
                    must(mkdir("/run/systemd", 0755), "mkdir");
                    must(mkdir("/run/systemd/journal", 0755), "mkdir");
                    must(mknod("/run/systemd/journal/socket", S_IFREG | 0600, 0), "mknod");
                }};
    }
    std::string sentence() const { return at(read_json(job), "/errorMessage").get<std::string>(); }
};

}  // namespace

TEST_CASE_METHOD(JournalSandbox, "a worker that earlyoom killed was killed for want of memory",
                 "[quick]") {
    if (!can_fake()) SKIP_TEST("needs root, and a mount namespace");
    // The fake journal names whoever the record says is the worker.
    const std::string pid_of_worker =
        "pid=$(sed -n '/\"worker\"/,/}/s/.*\"pid\": \\([0-9]*\\).*/\\1/p' '" + job.string() +
        "')\n";
    for (const int signal : {SIGTERM, SIGKILL}) {
        CAPTURE(signal);
        auto shim = start_job(
            job, for_ever, {},
            with_journal(
                pid_of_worker +
                "echo \"sending SIGTERM to process $pid uid 0 \\\"await\\\": badness 1\""));
        ::kill(worker_of(job), signal);
        shim.wait();
        const auto exit = exit_of(job);
        CHECK(at(exit, "/reason") == "oom-kill");
        CHECK(at(exit, "/certainty") == "observed");
        CHECK(sentence() ==
              "Killed by " + signal_name(signal) + ", sent by earlyoom: memory was short.");
        CHECK(contains(at(exit, "/evidence").dump(), "earlyoom: sending SIGTERM to process "));
        CHECK(contains(slurp(dir / "asked"), "_SYSTEMD_UNIT=earlyoom.service"));
        fs::remove(dir / "asked");
    }
    // Another process was its victim.
    auto shim = start_job(job, for_ever, {},
                          with_journal("echo 'sending SIGTERM to process 1 uid 0 \"x\": badness'"));
    ::kill(worker_of(job), SIGKILL);
    shim.wait();
    CHECK(at(exit_of(job), "/reason") == "signal");
    CHECK(contains(sentence(), "who sent it cannot be known (not through jobshim; "));
    CHECK(contains(sentence(), "the journal of earlyoom and systemd-oomd show"));
}

TEST_CASE_METHOD(JournalSandbox, "a journal that hangs or fails holds up no end", "[quick]") {
    if (!can_fake()) SKIP_TEST("needs root, and a mount namespace");
    for (const char* script : {"exec sleep 600", "exit 1", "kill -9 $$", "exec yes"}) {
        CAPTURE(script);
        auto shim = start_job(job, for_ever, {}, with_journal(script));
        ::kill(worker_of(job), SIGKILL);
        CHECK(shim.wait(10s).ended() == "SIGKILL");
        CHECK(at(exit_of(job), "/reason") == "signal");
        CHECK_FALSE(contains(sentence(), "journal"));
    }
}

TEST_CASE_METHOD(JournalSandbox, "nobody asks the journal about an end that is explained",
                 "[quick]") {
    if (!can_fake()) SKIP_TEST("needs root, and a mount namespace");
    const auto journal = with_journal("exit 0");
    run_job(job, "exit 0", {}, journal);
    run_job(job, "exit 143", {}, journal);
    run_job(job, "exec sleep 600", {"--timeout", "200ms"}, journal);
    auto shim = start_job(job, for_ever, {}, journal);
    worker_of(job);
    shim.kill(SIGTERM);
    shim.wait();
    CHECK(contains(sentence(), "Killed by SIGTERM, sent by uid "));
    CHECK_FALSE(fs::exists(dir / "asked"));
}
