// The power is cut at each step of a job's life: at that moment the file system of its record loses
// everything that was not flushed. After the next mount the job file is either the old or the new
// record, whole, and what readers say is true.
// Readers see a new boot id, as after a real power cut.

#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <iostream>
#include <set>

#include "integration/mounts.hpp"
#include "integration/strace.hpp"
#include "integration/support.hpp"

using namespace harness;

namespace {

/// What exists before the shim starts.
enum class Before { nothing, queued, ended };

struct Life {
    Before before = Before::nothing;
    std::string sync;
    std::string name() const {
        const std::string file = before == Before::nothing  ? "new file"
                                 : before == Before::queued ? "adopted file"
                                                            : "run again";
        return file + ", --sync " + sync;
    }
};

/// The calls by which the shim changes the file system.
const std::set<std::string> changing{
    "openat", "write",  "pwrite64",  "fsync",     "fdatasync", "renameat2", "rename",    "renameat",
    "link",   "unlink", "ftruncate", "fallocate", "fchmod",    "fchown",    "utimensat", "mkdir"};
constexpr int end_before = 5;  ///< how the previous run ended
constexpr int end_now = 7;

class PowerCut : public Sandbox {
public:
    Words command(const fs::path& file, const Life& life) const {
        return {jobshim,
                "-j",
                file,
                "--sync",
                life.sync,
                "--",
                "sh",
                "-c",
                "touch '" + marker.string() + "'; exit " + std::to_string(end_now)};
    }

    /// A job file in a new directory, as it is before the shim starts, and safely on disk.
    fs::path prepare(const Volume& volume, const Life& life) {
        fs::remove(trace);
        fs::remove(marker);
        fs::remove_all(volume.path() / "job");
        fs::create_directory(volume.path() / "job");
        const auto file = volume.path() / "job" / "job.json";
        if (life.before != Before::nothing)
            put(file, R"({"id":"theirs","status":"queued","precious":1.10})");
        if (life.before == Before::ended) {
            CHECK(run_job(file, "exit " + std::to_string(end_before)).code() == end_before);
        }
        volume.sync();
        return file;
    }

    /// The steps of a whole life.
    std::vector<Call> steps_of(const Volume& volume, const Life& life) {
        const auto file = prepare(volume, life);
        auto steps = calls_of(0, harness::record(*this, command(file, life), file.parent_path()));
        std::erase_if(steps, [](const Call& call) {
            return call.paths.empty() || !changing.contains(call.kind()) ||
                   contains(call.line, "= -1 ") ||
                   (call.kind() == "openat" && !contains(call.line, "O_CREAT"));
        });
        for (const std::string kind : {"openat", "write", "renameat2"})
            REQUIRE(std::any_of(steps.begin(), steps.end(),
                                [&](const Call& call) { return call.kind() == kind; }));
        return steps;
    }

    /// Avoids a scan of every process on the machine, which is slow under load.
    static std::vector<pid_t> only_child_of(pid_t parent) {
        const auto id = std::to_string(parent);
        const auto text = slurp("/proc/" + id + "/task/" + id + "/children");
        return text.empty() ? children_of(parent) : std::vector{pid_t{std::stoi(text)}};
    }

    /// Cuts the power right after this step (or after the end, if there is none), with or without
    /// another process's fsync of another file just before.
    void run_until_cut(Volume& volume, const fs::path& file, const Life& life, const Call* step,
                       bool other_fsync) {
        const auto argv = command(file, life);
        // Only the shim is traced, not its children, so nothing holds up the worker.
        auto tracer = spawn(step != nullptr ? inject(*step, "signal=SIGSTOP", trace, argv) : argv);
        const auto is_held = [&] { return contains(slurp(trace), "--- stopped by SIGSTOP ---"); };
        std::vector<pid_t> shims;
        if (step != nullptr) {
            CHECK(wait_until([&] { return is_held() || !tracer.running(); }, 20s));
            CHECK(is_held());
            shims = only_child_of(tracer.pid());
        } else {
            CHECK(tracer.wait().code() == end_now);
        }
        if (other_fsync) {
            const Fd other(open((volume.path() / "other").c_str(),
                                O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
            must(write(other.get(), "x", 1), "write");
            must(fsync(other.get()), "fsync");
        }
        volume.cut_power();
        for (const pid_t shim : shims) ::kill(shim, SIGKILL);
        tracer.kill(SIGKILL);
        tracer.wait();
        // By now the worker has no shim. It ends at once, or was about to.
        CHECK(wait_until([] {
            return waitid(P_ALL, 0, nullptr, WEXITED | WNOHANG | WNOWAIT) != 0 && errno == ECHILD;
        }));
        volume.unmount();
        volume.mount();
        fake_reboot();
    }

    /// From now on every process sees another boot id, until this test is over.
    void fake_reboot() {
        const auto id = std::to_string(100'000 + ++boots_);
        put(dir / "boot-id", "0b007000-0000-4000-8000-000000" + id + "\n");
        if (!boot_id_)
            boot_id_ = std::make_unique<Mount>(dir / "boot-id", "/proc/sys/kernel/random/boot_id",
                                               "", MS_BIND);
    }

    /// What is on the disk, and what is reported about it. `flushed`: the final record must be
    /// there.
    ReportedOutcome look(const fs::path& file, const Life& life, bool flushed) {
        const bool worker_ran = fs::exists(marker);
        const bool there = fs::exists(file);
        const auto text = slurp(file);
        const auto record = Json::parse(text, nullptr, false);
        const auto status = ctl({"status", "--json", file});
        INFO("worker ran: " << worker_ran << ", file: " << (there ? text : "none")
                            << "\nstatus: " << status.ended() << " " << status.out << status.err);
        const auto lie = [](const char* what) {
            FAIL_CHECK(what);
            return ReportedOutcome::lie;
        };
        if (!there) {
            if (life.before != Before::nothing) return lie("an adopted file is missing");
            if (flushed || (life.sync == "always" && worker_ran))
                return lie("a flushed record is missing");
            return status.ended() == "exit 4" ? ReportedOutcome::nothing
                                              : lie("a job without a file is reported");
        }
        if (!record.is_object()) {
            // A file never flushed may be empty, or all zeros if ext4 had begun to write it: a new
            // one, or any with --sync never.
            if (life.before != Before::nothing && life.sync != "never")
                return lie("an adopted file is not whole");
            if (flushed || life.sync == "always") return lie("a flushed record is not whole");
            if (text.find_first_not_of('\0') != std::string::npos) return lie("a torn file");
            return status.ended() == "exit 6" ? ReportedOutcome::unknown
                                              : lie("an empty file is reported as a job");
        }
        if (life.before != Before::nothing && !contains(text, R"("precious":1.10)"))
            return lie("what the host wrote is gone");
        const auto seen = Json::parse(status.out, nullptr, false);
        if (seen.is_discarded()) return lie("status --json is not JSON");
        const auto& shown = seen.at(0);
        const auto state = at(shown, "/verdict/state");
        if (state == "failed" && at(shown, "/job/jobshim/exit/code") == end_now)
            return worker_ran ? ReportedOutcome::true_end
                              : lie("an end is reported for a worker that never ran");
        if (flushed) return lie("the flushed end is not there");
        // The old record: nothing is reported about this run.
        const bool is_old =
            life.before == Before::queued
                ? state == "queued"
                : life.before == Before::ended && at(shown, "/job/jobshim/exit/code") == end_before;
        if (is_old) {
            return worker_ran && life.sync != "never" ? lie("the worker ran before it was recorded")
                                                      : ReportedOutcome::nothing;
        }
        if (state == "failed" && at(shown, "/job/jobshim/exit/reason") == "host-rebooted" &&
            at(shown, "/job/jobshim/exit/code").is_null())
            return ReportedOutcome::lost;
        return lie("neither the old record nor the new");
    }

    void sweep(const std::string& type) {
        if (const auto why = why_no_volume(type); !why.empty()) SKIP_TEST(why);
        if (!in_path("strace")) SKIP_TEST("no strace");
        if (slurp("/etc/machine-id").empty())
            SKIP_TEST("no machine id: a reboot cannot be detected");
        fake_reboot();
        Volume volume(dir / type, type);
        Matrix matrix("power cut on " + type);
        for (const Life& life : lives) {
            auto steps = steps_of(volume, life);
            REQUIRE(steps.size() >= 10);
            // Nothing is flushed, so only the existing names matter. (A reader of an empty file
            // waits a second for more.)
            if (life.sync == "never")
                std::erase_if(steps, [](const Call& step) { return step.name != "renameat2"; });
            std::size_t last_flush = steps.size();
            if (life.sync != "never") {
                for (std::size_t n = 0; n < steps.size(); ++n)
                    if (steps[n].name == "fsync") last_flush = n;
                REQUIRE(last_flush < steps.size());
            }
            bool tried_empty = false;
            for (const bool other_fsync : {false, true}) {
                for (std::size_t n = 0; n <= steps.size(); ++n) {
                    const Call* step = n < steps.size() ? &steps[n] : nullptr;
                    INFO(type << ", " << life.name() << (other_fsync ? ", somebody's fsync" : "")
                              << ", cut after " << (step != nullptr ? step->line : "the end"));
                    const auto file = prepare(volume, life);
                    run_until_cut(volume, file, life, step, other_fsync);
                    const bool flushed = n >= last_flush && life.sync != "never";
                    const auto outcome = look(file, life, flushed);
                    matrix.count(life.name() + (other_fsync ? ", with an fsync" : ""), outcome);
                    // Nothing stays behind in the next run's way or beside it. An empty file would
                    // get a second's wait each time: once is enough.
                    if (outcome == ReportedOutcome::unknown && tried_empty) continue;
                    tried_empty = tried_empty || outcome == ReportedOutcome::unknown;
                    const auto next = run_job(file, "exit 3");
                    INFO("the next run: " << next.err);
                    CHECK(next.ended() == "exit 3");
                    CHECK(at(exit_of(file), "/code") == 3);
                    CHECK(names_in(file.parent_path(), ".jobshim-") == Words{});
                }
            }
        }
        std::cout << "power cut on " << type << ": " << matrix.total() << " points\n";
        REQUIRE(matrix.lies() == 0);
    }

    const fs::path trace = dir / "trace";
    const fs::path marker = dir / "worker-ran";
    const std::vector<Life> lives{
        {Before::nothing, "final"},  {Before::queued, "final"},  {Before::ended, "final"},
        {Before::nothing, "always"}, {Before::queued, "always"}, {Before::nothing, "never"},
        {Before::queued, "never"},
    };

private:
    std::unique_ptr<Mount> boot_id_;
    int boots_ = 0;
};

}  // namespace

// With --sync final the second write of a run (phase `running`) was not flushed, because it
// replaces a file of this run's own; but the first one had replaced the host's. A cut left 0 bytes
// on both file systems.
TEST_CASE_METHOD(PowerCut, "a power cut on ext4 leaves the old record or the new", "[long]") {
    sweep("ext4");
}

TEST_CASE_METHOD(PowerCut, "a power cut on xfs leaves the old record or the new", "[long]") {
    sweep("xfs");
}
