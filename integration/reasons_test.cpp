// Every reason in the contract, reached by a real death: what the record says about it, and in
// which sentence.

#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <iostream>
#include <optional>

#include "integration/memory_group.hpp"
#include "integration/support.hpp"

using namespace harness;

namespace {

void allow_cores() {
    rlimit core{};
    getrlimit(RLIMIT_CORE, &core);
    core.rlim_cur = core.rlim_max;
    setrlimit(RLIMIT_CORE, &core);
}

struct Death {
    std::string reason, certainty, status;
    std::string sentence;  ///< part of it; "" if there is none
    std::function<void(const fs::path& file)> cause;
    std::string why_not = {};  ///< why it cannot be caused here
};

}  // namespace

TEST_CASE_METHOD(Sandbox, "every reason is reached by a real death", "[libc][oom]") {
    Matrix matrix("reasons");
    const MemoryCgroup group;
    // A host that was rebooted, and an unknown one.
    put(dir / "boot", "11111111-2222-3333-4444-555555555555\n");
    put(dir / "no-machine", "");
    const auto bind_file_over = [this](const std::string& file, const std::string& other) {
        must(mount((dir / other).c_str(), file.c_str(), nullptr, MS_BIND, nullptr), file.c_str());
    };
    const Options rebooted{.before_exec = [=] {
        enter_private_mounts();
        bind_file_over("/proc/sys/kernel/random/boot_id", "boot");
    }};
    const Options unknown_host{.before_exec = [=] {
        enter_private_mounts();
        bind_file_over("/proc/sys/kernel/random/boot_id", "boot");
        bind_file_over("/etc/machine-id", "no-machine");
    }};
    const std::string no_mounts =
        child_can(enter_private_mounts) ? "" : "cannot create a mount namespace (needs root)";
    const std::string no_machine = slurp("/etc/machine-id").empty() ? "no machine id" : no_mounts;
    const Words abort_self{"sh", "-c", "kill -ABRT $$"};
    const bool has_cores = WCOREDUMP(run(abort_self, {.before_exec = allow_cores}).status);
    const auto lose = [&](const fs::path& file) {
        auto shim = start_job(file, for_ever);
        const auto worker = worker_of(file);
        kill_shim(shim, file);
        REQUIRE(wait_until([&] { return !alive(worker); }));
    };

    const std::vector<Death> deaths{
        {"success", "observed", "completed", "",
         [&](const fs::path& file) { run_job(file, "exit 0"); }},
        {"exit-code", "observed", "failed", "Exited with status 3.",
         [&](const fs::path& file) { run_job(file, "exit 3"); }},
        {"signal", "observed", "failed", "Killed by SIGKILL; who sent it cannot be known",
         [&](const fs::path& file) { run_job(file, "kill -KILL $$"); }},
        {"core-dump", "observed", "failed", "Killed by SIGABRT (core dumped)",
         [&](const fs::path& file) {
             run_job(file, abort_self.back(), {}, {.before_exec = allow_cores});
         },
         has_cores ? "" : "this system writes no core dumps here"},
        {"oom-kill", "", "failed", "Killed by the out-of-memory killer (cgroup /",
         [&](const fs::path& file) {
             run_job(file, "exec tail /dev/zero", {}, {.before_exec = [&] { group.join(); }});
         },
         group.works() ? "" : "no cgroup v1 memory controller"},
        {"timeout", "observed", "failed",
         "Timed out after 200 ms; the worker was killed by SIGTERM.",
         [&](const fs::path& file) {
             run_job(file, "exec sleep 600", {"--timeout", "200ms"});
         }},
        {"cancelled", "observed", "cancelled",
         "jobctl): no longer needed; the worker was killed by SIGTERM.",
         [&](const fs::path& file) {
             auto shim = start_job(file, "exec sleep 600");
             worker_of(file);
             CHECK(ctl({"cancel", "--reason", "no longer needed", file}).ended() == "exit 0");
             shim.wait();
         }},
        {"spawn-failed", "observed", "failed",
         "Could not be started: no-such-tool: not found in PATH.",
         [&](const fs::path& file) {
             run_shim({"-j", file, "--", "no-such-tool"});
         }},
        {"no-result", "observed", "failed", "Exited with status 0 without recording a result.",
         [&](const fs::path& file) { run_job(file, "exit 0", {"--expect-record"}); }},
        {"shim-lost", "inferred", "failed",
         "The shim died and the worker is gone; how it ended is unknown.",
         [&](const fs::path& file) {
             lose(file);
             ctl({"status", file});
         }},
        {"host-rebooted", "inferred", "failed",
         "The host was rebooted while the job ran; how it ended is unknown.",
         [&](const fs::path& file) {
             lose(file);
             ctl({"status", file}, rebooted);
         },
         no_machine},
        {"unknown", "told", "failed", "jobctl): the host has burnt down.",
         [&](const fs::path& file) {
             lose(file);
             const auto now = fs::file_time_type::clock::now();
             fs::last_write_time(heartbeat_of(file), now - std::chrono::hours(1));
             CHECK(ctl({"status", file}, unknown_host).ended() == "exit 6");
             const auto settled =
                 ctl({"settle", "--as", "failed", "--because", "the host has burnt down", file},
                     unknown_host);
             INFO(settled.err);
             CHECK(settled.ended() == "exit 0");
         },
         no_mounts},
    };
    CHECK(deaths.size() == 12);  // the number of reasons in the contract
    for (const Death& death : deaths) {
        CAPTURE(death.reason);
        if (!death.why_not.empty()) {
            WARN("test skipped: " << death.reason << ": " << death.why_not);
            continue;
        }
        const auto file = dir / (death.reason + ".json");
        death.cause(file);
        const auto record = read_json(file);
        const auto end = exit_of(file);
        INFO(record.dump(2));
        CHECK(at(end, "/reason") == death.reason);
        CHECK(at(record, "/status") == death.status);
        if (!death.certainty.empty()) CHECK(at(end, "/certainty") == death.certainty);
        const auto message = at(record, "/errorMessage");
        const std::string sentence = message.is_string() ? message.get<std::string>() : "";
        CHECK(contains(sentence, death.sentence));
        CHECK(sentence.empty() == death.sentence.empty());
        // Every command reports the same.
        const auto result = ctl({"result", file});
        CHECK(result.code() == (death.status == "completed" ? 0
                                : death.status == "failed"  ? 1
                                                            : 5));
        CHECK(contains(result.out, death.reason + " ("));
        CHECK(contains(result.out, sentence));
        CHECK(at(ctl_json({"status", file}), "/0/verdict/state") == death.status);
        const bool is_true =
            at(end, "/reason") == death.reason && at(record, "/status") == death.status;
        const bool is_seen = at(end, "/certainty") == "observed" || death.reason == "oom-kill";
        matrix.count(death.reason, !is_true                    ? ReportedOutcome::lie
                                   : is_seen                   ? ReportedOutcome::true_end
                                   : death.reason == "unknown" ? ReportedOutcome::unknown
                                                               : ReportedOutcome::lost);
        std::cout << death.reason << std::string(15 - death.reason.size(), ' ')
                  << (sentence.empty() ? "(no sentence: it succeeded)" : sentence) << "\n";
    }
    REQUIRE(matrix.lies() == 0);
}
