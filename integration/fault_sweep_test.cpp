// Kills the shim at its system calls while the job's files do not stay as they were: its directory
// is moved and another takes the name, or its host lengthens the record on a disk that is full.
// Whatever the moment, what is reported about the job afterwards is true.

#include <signal.h>
#include <unistd.h>

#include <iostream>

#include "integration/mounts.hpp"
#include "integration/strace.hpp"

using namespace harness;

namespace {

class FaultSweep : public Sandbox {
public:
    /// Each of the shim's calls, or every `step`th.
    void kill_at_each_call(Matrix& matrix, const fs::path& directory, const Words& argv,
                           const std::function<void()>& prepare,
                           const std::function<ReportedOutcome()>& look, std::size_t step = 1) {
        const Options options{.cwd = markers()};
        prepare();
        const auto calls = calls_of(0, record(*this, argv, directory, options));
        for (std::size_t i = 0; i < calls.size(); i += step) {
            prepare();
            run(inject(calls[i], "signal=SIGKILL", dir / "trace", argv), options);
            REQUIRE(wait_until([] { return living_descendants().empty(); }));
            const auto outcome = look();
            CAPTURE(calls[i].describe());
            CHECK(outcome != ReportedOutcome::lie);
            matrix.count("killed", outcome);
        }
    }

    /// What readers make of it, once everything is dead.
    ReportedOutcome outcome_of(const fs::path& file) {
        const auto result = ctl({"status", "--json", file});
        if (result.ended() == "exit 4") return ReportedOutcome::nothing;
        const auto seen = Json::parse(result.out, nullptr, false);
        const auto state = at(seen, "/0/verdict/state");
        if (state == "queued") return ReportedOutcome::nothing;  // not started, still requested
        if (state == "unknown") return ReportedOutcome::unknown;
        if (state != "failed") return ReportedOutcome::lie;
        const auto exit = at(seen, "/0/job/jobshim/exit");
        if (at(exit, "/reason") == "shim-lost") return ReportedOutcome::lost;
        return at(exit, "/code") == 3 ? ReportedOutcome::true_end : ReportedOutcome::lie;
    }

    fs::path markers() {
        fs::create_directories(dir / "markers");
        return dir / "markers";
    }
};

void finish(const Matrix& matrix) {
    std::cout << matrix.total() << " points\n";
    REQUIRE(matrix.total() > 20);
    REQUIRE(matrix.lies() == 0);
}

}  // namespace

TEST_CASE_METHOD(FaultSweep, "a shim killed while its directory is moved leaves no lie",
                 "[sweep]") {
    Matrix matrix("directory moved");
    const auto home = dir / "home", here = home / "d", moved = home / "d.old";
    for (const bool is_adopted : {false, true})
        kill_at_each_call(
            matrix, here,
            {jobshim, "-j", here / "j.json", "--", "sh", "-c",
             until_running + "mv '" + here.string() + "' '" + moved.string() + "'; mkdir '" +
                 here.string() + "'; exit 3"},
            [&] {
                fs::remove_all(home);
                fs::create_directories(here);
                if (is_adopted) put(here / "j.json", R"({"id":"j","status":"queued","host":1.10})");
            },
            [&] {
                if (!fs::exists(moved)) return outcome_of(here / "j.json");
                // The new directory, if the worker lived to make it, has nothing to do with it.
                if (fs::exists(here) && !fs::is_empty(here)) return ReportedOutcome::lie;
                if (is_adopted && !contains(slurp(moved / "j.json"), "1.10"))
                    return ReportedOutcome::lie;
                return outcome_of(moved / "j.json");
            });
    finish(matrix);
}

TEST_CASE_METHOD(FaultSweep,
                 "a shim killed while its host lengthens the record on a full disk leaves no lie",
                 "[sweep]") {
    if (const auto why = why_no_volume("tmpfs"); !why.empty()) SKIP_TEST(why);
    Matrix matrix("record lengthened on a full disk");
    const Volume volume(dir / "full", "tmpfs");
    const auto file = volume.path() / "j.json", fill = volume.path() / "fill";
    const std::string grown(1500, 'x');
    // As a host does that keeps the whole record in memory, and then the disk is full.
    put(dir / "host.sh", "text=$(cat '" + file.string() +
                             "'); printf '%s' \"${text%\\}}\",'\"grown\":\"" + grown + "\"}' > '" +
                             file.string() + "'\ncat /dev/zero > '" + fill.string() +
                             "' 2> /dev/null; until [ '" + heartbeat_of(file).string() + "' -nt '" +
                             fill.string() + "' ]; do sleep 0.02; done\n");
    kill_at_each_call(
        matrix, volume.path(),
        {jobshim, "-j", file, "--heartbeat-interval", "100ms", "--", "sh", "-c",
         until_running + ". '" + (dir / "host.sh").string() + "'; exit 3"},
        [&] {
            for (const auto& entry : fs::directory_iterator(volume.path()))
                fs::remove_all(entry.path());
            put(file, R"({"id":"j","status":"queued","host":1.10})");
        },
        [&] {
            const bool was_full = fs::exists(fill);
            // A reader that cannot write says what it sees all the same.
            if (was_full && outcome_of(file) == ReportedOutcome::lie) return ReportedOutcome::lie;
            fs::remove(fill);
            const auto text = slurp(file);
            if (!contains(text, "1.10") || (was_full && !contains(text, grown)))
                return ReportedOutcome::lie;
            return outcome_of(file);
        },
        3);
    finish(matrix);
}
