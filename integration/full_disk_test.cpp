// Space and inodes run out before, during and at the end of a job; a directory turns immutable
// under it. Either the true end is on record, or nothing was started; and where the record itself
// cannot be written, readers report the true end all the same.

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>

#include "integration/mounts.hpp"
#include "integration/support.hpp"

using namespace harness;

namespace {

const Words types{"tmpfs", "ext4", "xfs"};
const std::string host_text = R"({"id":"theirs","status":"queued","precious":1.10})";

/// What the tests of a full disk have in common: jobs whose record is on a small file system, while
/// they work and leave their marks elsewhere.
class FullDisk : public Sandbox {
public:
    /// A new directory for one job on the volume; returns the job file, adopted or not created yet.
    static fs::path place_for_job(const Volume& volume, bool adopted) {
        const auto directory = volume.path() / "job";
        fs::remove_all(directory);
        fs::create_directory(directory);
        if (adopted) put(directory / "job.json", host_text);
        return directory / "job.json";
    }

    /// A job that creates "started" when it runs, and continues once it is let go.
    Process start(const fs::path& file, const Words& extra = {}, const std::string& last = "") {
        for (const char* mark : {"started", "go"}) fs::remove(dir / mark);
        return start_job(file, "touch started; " + until_go + last + "exit 4", extra);
    }
    bool has_started() const { return fs::exists(dir / "started"); }
    void let_go() const { put(dir / "go", ""); }

    /// What the record and its readers say of a job that ended with `exit 4`.
    ReportedOutcome outcome_of_exit_4(const fs::path& file, bool adopted) {
        const auto record = Json::parse(slurp(file), nullptr, false);
        if (record.is_discarded()) return ReportedOutcome::lie;
        if (adopted && !contains(slurp(file), R"("precious":1.10)")) return ReportedOutcome::lie;
        CHECK(names_in(file.parent_path(), ".jobshim-") == Words{});
        const auto seen = ctl_json({"status", file}).at(0);
        return at(seen, "/status") == "failed" && at(seen, "/job/jobshim/exit/code") == 4 &&
                       at(record, "/jobshim/exit/code") == 4
                   ? ReportedOutcome::true_end
                   : ReportedOutcome::lie;
    }

    /// Where copies of ends go that could not be recorded.
    fs::path unrecorded() const { return dir / "state" / "jobshim" / "unrecorded"; }
    bool has_copy() const { return !names_in(unrecorded(), ".heartbeat").empty(); }

    /// Readers report the true end, and that it is not recorded.
    void require_reported_but_not_recorded(const fs::path& file) {
        const auto before = slurp(file);
        const auto status = ctl({"status", file});
        INFO(status.out << status.err);
        CHECK(status.ended() == "exit 1");
        CHECK(contains(status.out, "Exited with status 4."));
        CHECK(contains(status.out, "not recorded"));
        const auto seen = ctl_json({"status", file}).at(0);
        CHECK(at(seen, "/verdict/state") == "failed");
        CHECK(at(seen, "/verdict/notRecorded").is_string());
        CHECK(at(seen, "/job/status") == "running");
        const auto result = ctl({"result", file});
        CHECK(result.ended() == "exit 1");
        CHECK(contains(result.out, "Exited with status 4."));
        ctl({"reap", "--dir", file.parent_path()});
        CHECK(slurp(file) == before);
    }

    /// The shim has kept a copy of the end, holds on to the job, and keeps trying to record it.
    void require_retrying(const Process& shim, const fs::path& file) {
        const bool copied = wait_until([&] { return has_copy(); });
        INFO(shim.err());
        REQUIRE(copied);
        CHECK(wait_until([&] { return contains(shim.err(), "could not be recorded yet"); }));
        CHECK(shim_lock_is_held(heartbeat_of(file)));
        CHECK(ctl({"status", file}).ended() == "exit 3");
        CHECK(shim.running());
    }

    /// Sends TERM until it ends: signals that arrive together count as one.
    static Result term_until_it_ends(Process& shim) {
        const bool ended = wait_until([&] {
            shim.kill(SIGTERM);
            return !shim.running();
        });
        CHECK(ended);
        return shim.wait();
    }
};

}  // namespace

TEST_CASE_METHOD(FullDisk, "a disk that fills up after the start loses no record") {
    struct Kind {
        std::string name;
        Words extra;
        std::string last;
    };
    // A tail of control characters is six times as long in JSON; if it does not fit, it is left
    // out.
    const std::vector<Kind> kinds{
        {"plain", {}, ""},
        {"flushed at every write", {"--sync", "always"}, ""},
        {"log and tail", {"--tail", "4096", "--log"}, "echo last; "},
        {"log with a tail that does not fit", {"--tail", "65536", "--log"}, "echo last; "},
    };
    Matrix matrix("full disk");
    for (const auto& type : types) {
        if (missing(type)) continue;
        const Volume volume(dir / type, type);
        for (const bool adopted : {false, true}) {
            for (const auto& kind : kinds) {
                CAPTURE(type, adopted, kind.name);
                const auto file = place_for_job(volume, adopted);
                auto extra = kind.extra;
                const auto log = file.parent_path() / "log";
                const bool logs = !extra.empty() && extra.back() == "--log";
                if (logs) extra.push_back(log);
                auto shim = start(file, extra, kind.last);
                // Written before the disk fills up; what the worker writes later may be lost.
                REQUIRE(wait_until([&] { return has_started(); }));
                if (logs) {
                    const Fd out(open(log.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
                    std::string said = "one\ntwo\n";
                    if (extra[1] == "65536")
                        for (int line = 0; line < 1000; ++line)
                            said += std::string(69, '\1') + "\n";
                    must(write(out.get(), said.data(), said.size()), "write");
                }
                use_up_space(volume.path() / "fill");
                let_go();
                const auto result = shim.wait(60s);
                INFO(result.err);
                CHECK(result.ended() == "exit 4");
                const auto outcome = outcome_of_exit_4(file, adopted);
                CHECK(outcome == ReportedOutcome::true_end);
                matrix.count("filled after the start (" + type + ")", outcome);
                if (logs && extra[1] == "4096")
                    CHECK(contains(at(exit_of(file), "/tail").dump(), R"(one\ntwo)"));
                fs::remove(volume.path() / "fill");
            }
        }
    }
    std::cout << "full disk: " << matrix.total() << " points\n";
    REQUIRE(matrix.lies() == 0);
}

TEST_CASE_METHOD(FullDisk, "running out of inodes after the start loses no record") {
    Matrix matrix("full inodes");
    for (const std::string type : {"tmpfs", "ext4"}) {
        if (missing(type)) continue;
        const Volume volume(dir / type, type, {.inodes = 64});
        const auto fill = volume.path() / "fill";
        for (const bool adopted : {false, true}) {
            for (const bool logs : {false, true}) {
                CAPTURE(type, adopted, logs);
                const auto file = place_for_job(volume, adopted);
                fs::create_directory(fill);
                auto shim = start(file, logs ? Words{"--log", file.parent_path() / "log"} : Words{},
                                  "echo last; ");
                REQUIRE(wait_until([&] { return has_started(); }));
                use_up_inodes(fill);
                let_go();
                const auto result = shim.wait(60s);
                INFO(result.err);
                CHECK(result.ended() == "exit 4");
                const auto outcome = outcome_of_exit_4(file, adopted);
                CHECK(outcome == ReportedOutcome::true_end);
                if (logs) CHECK(at(exit_of(file), "/tail") == "last\n");
                matrix.count("used up after the start (" + type + ")", outcome);
                fs::remove_all(fill);
            }
        }
    }
    std::cout << "full inodes: " << matrix.total() << " points\n";
    REQUIRE(matrix.lies() == 0);
}

// However little is left: either it is too little, and a message says so before anything runs; or
// what was reserved is enough for the end, even when the rest is gone as well.
TEST_CASE_METHOD(FullDisk, "on a nearly full disk the job is refused or its record is kept",
                 "[sweep]") {
    Matrix matrix("nearly full");
    // Starts a job and, if it was not refused, lets it end once nothing is left.
    const auto attempt = [&](const fs::path& file, bool adopted, const std::string& resource,
                             const std::function<void()>& use_up) {
        auto shim = start(file);
        CHECK(wait_until([&] { return has_started() || !shim.running(); }));
        if (has_started()) {
            use_up();
            let_go();
            const auto result = shim.wait(60s);
            INFO(result.err);
            CHECK(result.ended() == "exit 4");
            return outcome_of_exit_4(file, adopted);
        }
        const auto result = shim.wait();
        INFO(result.err);
        CHECK(result.ended() == "exit 125");
        CHECK(contains(result.err, "No space left on device"));
        CHECK(contains(result.err, resource));
        CHECK_FALSE(has_started());
        CHECK(names_in(file.parent_path(), "") == (adopted ? Words{"job.json"} : Words{}));
        if (adopted) CHECK(slurp(file) == host_text);
        return ReportedOutcome::refused;
    };
    for (const auto& type : types) {
        if (missing(type)) continue;
        for (const bool adopted : {false, true}) {
            const Volume volume(dir / (type + (adopted ? "-adopted" : "-new")), type);
            const auto fill = volume.path() / "fill";
            std::map<ReportedOutcome, int> counts;
            // From none to plenty; xfs needs a lot for itself.
            for (std::uintmax_t pages = 0; pages <= 400; pages += pages < 20 ? 1 : 20) {
                CAPTURE(type, adopted, pages);
                const auto file = place_for_job(volume, adopted);
                use_up_space(fill);
                fs::resize_file(fill, fs::file_size(fill) - pages * 4096);
                const auto outcome =
                    attempt(file, adopted, file.parent_path(), [&] { use_up_space(fill); });
                ++counts[outcome];
                CHECK(outcome != ReportedOutcome::lie);
                matrix.count("pages left (" + type + ")", outcome);
                fs::remove(fill);
            }
            CAPTURE(type, adopted);
            CHECK(counts[ReportedOutcome::refused] > 0);
            CHECK(counts[ReportedOutcome::true_end] > 0);
        }
    }
    for (const std::string type : {"tmpfs", "ext4"}) {
        if (missing(type)) continue;
        const Volume volume(dir / (type + "-inodes"), type, {.inodes = 64});
        const auto fill = volume.path() / "fill";
        for (const bool adopted : {false, true}) {
            std::map<ReportedOutcome, int> counts;
            for (int inodes = 0; inodes <= 5; ++inodes) {
                CAPTURE(type, adopted, inodes);
                const auto file = place_for_job(volume, adopted);
                use_up_inodes(fill);
                for (int n = 0; n < inodes; ++n) fs::remove(fill / std::to_string(n));
                const auto outcome =
                    attempt(file, adopted, file.parent_path(), [&] { use_up_inodes(fill); });
                ++counts[outcome];
                CHECK(outcome != ReportedOutcome::lie);
                matrix.count("inodes left (" + type + ")", outcome);
                fs::remove_all(fill);
            }
            CHECK(counts[ReportedOutcome::refused] > 0);
            CHECK(counts[ReportedOutcome::true_end] > 0);
        }
    }
    std::cout << "nearly full: " << matrix.total() << " points\n";
    REQUIRE(matrix.lies() == 0);
}

// The host's file grows by more than was reserved, and then the disk fills up: that record cannot
// be written, whatever was planned. docs/record.md ("Copies of an end") says what happens instead.
TEST_CASE_METHOD(FullDisk, "an end that does not fit on the disk is reported from its copy",
                 "[libc]") {
    Matrix matrix("no room for the end");
    for (const auto& type : types) {
        if (missing(type)) continue;
        const Volume volume(dir / type, type);
        const auto fill = volume.path() / "fill";
        // What happens next: the disk has room again while the shim still tries; the shim is told
        // to stop; or there was no room for a copy either.
        for (const std::string& then : Words{"room again", "told to stop", "no copy either"}) {
            CAPTURE(type, then);
            const auto file = place_for_job(volume, true);
            // No directory can be created where a file is.
            if (then == "no copy either") {
                put(dir / "file", "");
                setenv("XDG_STATE_HOME", (dir / "file").c_str(), 1);
            } else {
                setenv("XDG_STATE_HOME", (dir / "state").c_str(), 1);
            }
            // No beats, which would renew the reserve.
            auto shim = start(file, {"--heartbeat-interval", "1h"});
            REQUIRE(wait_until([&] { return has_started(); }));
            auto record = slurp(file);
            record.insert(record.rfind('}'), ",\"grown\":\"" + std::string(300'000, 'x') + "\"");
            put(file, record);
            use_up_space(fill);
            let_go();
            if (then == "no copy either") {
                CHECK(wait_until([&] { return contains(shim.err(), "no copy of the end"); }));
                CHECK(shim_lock_is_held(heartbeat_of(file)));
            } else {
                require_retrying(shim, file);
            }
            if (then == "room again") {
                fs::remove(fill);
                const auto result = shim.wait(60s);
                INFO(result.err);
                CHECK(result.ended() == "exit 4");
            } else {
                const auto result = term_until_it_ends(shim);
                INFO(result.err);
                CHECK(result.ended() == "exit 125");
                CHECK(contains(result.err, "the end is not in the job file"));
                CHECK(slurp(file) == record);
                // From the heartbeat file's own last line.
                require_reported_but_not_recorded(file);
                if (then == "told to stop") {
                    fs::remove(heartbeat_of(file));
                    use_up_space(fill);
                    require_reported_but_not_recorded(file);
                    CHECK(has_copy());
                }
                fs::remove(fill);
                CHECK(contains(ctl({"reap", "--dir", file.parent_path()}).out, "1 job"));
            }
            const auto outcome = outcome_of_exit_4(file, true);
            CHECK(outcome == ReportedOutcome::true_end);
            CHECK(read_json(file).value("grown", "").size() == 300'000);
            CHECK_FALSE(has_copy());
            matrix.count(then + " (" + type + ")", outcome);
        }
    }
    std::cout << "no room for the end: " << matrix.total() << " points\n";
    REQUIRE(matrix.lies() == 0);
}

// What the first attempt had begun could not be removed while nothing could be changed there, and
// stayed beside a job that ended well after all.
TEST_CASE_METHOD(FullDisk, "a directory that turns immutable under a job loses no record") {
    Matrix matrix("immutable");
    for (const auto& type : types) {
        if (missing(type)) continue;
        const Volume volume(dir / type, type);
        for (const bool adopted : {false, true}) {
            for (const std::string& then : Words{"changeable again", "told to stop"}) {
                CAPTURE(type, adopted, then);
                const auto file = place_for_job(volume, adopted);
                auto shim = start(file);
                REQUIRE(wait_until([&] { return has_started(); }));
                auto immutable = std::make_unique<Immutable>(file.parent_path());
                if (!immutable->is_set()) {
                    std::cout << "test skipped: no immutable directories on " << type << "\n";
                    let_go();
                    shim.wait();
                    continue;
                }
                REQUIRE(open((file.string() + "-x").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600) <
                        0);
                let_go();
                require_retrying(shim, file);
                if (then == "told to stop") {
                    const auto result = term_until_it_ends(shim);
                    INFO(result.err);
                    CHECK(result.ended() == "exit 125");
                    require_reported_but_not_recorded(file);
                    immutable.reset();
                    // With the heartbeat file gone too, the copy alone must do.
                    fs::remove(heartbeat_of(file));
                    CHECK(contains(ctl({"reap", "--dir", file.parent_path()}).out, "1 job"));
                } else {
                    immutable.reset();
                    const auto result = shim.wait(60s);
                    INFO(result.err);
                    CHECK(result.ended() == "exit 4");
                }
                const auto outcome = outcome_of_exit_4(file, adopted);
                CHECK(outcome == ReportedOutcome::true_end);
                CHECK_FALSE(has_copy());
                matrix.count(then + " (" + type + ")", outcome);
            }
        }
    }
    std::cout << "immutable: " << matrix.total() << " points\n";
    REQUIRE(matrix.lies() == 0);
}

// ext4 as it is mounted nearly everywhere: the first error that it finds in itself makes it
// read-only, even for open files, and what was not flushed by then is gone.
TEST_CASE_METHOD(FullDisk, "an ext4 error under a job loses no record") {
    if (missing("ext4")) return;
    Matrix matrix("ext4 fails");
    for (const bool adopted : {false, true}) {
        CAPTURE(adopted);
        Volume volume(dir / (adopted ? "adopted" : "new"), "ext4");
        volume.unmount();
        volume.mount("errors=remount-ro");
        const auto file = place_for_job(volume, adopted);
        volume.sync();
        auto shim = start(file);
        REQUIRE(wait_until([&] { return has_started(); }));
        if (!adopted) volume.sync();  // otherwise a new file may not be there afterwards
        put("/sys/fs/ext4/" + fs::path(volume.device()).filename().string() + "/trigger_fs_error",
            "test");
        let_go();
        require_retrying(shim, file);
        const auto result = term_until_it_ends(shim);
        INFO(result.err);
        CHECK(result.ended() == "exit 125");
        require_reported_but_not_recorded(file);
        volume.unmount();
        volume.mount();
        CHECK(contains(ctl({"reap", "--dir", file.parent_path()}).out, "1 job"));
        const auto outcome = outcome_of_exit_4(file, adopted);
        CHECK(outcome == ReportedOutcome::true_end);
        CHECK_FALSE(has_copy());
        matrix.count("error, then remounted", outcome);
    }
    REQUIRE(matrix.lies() == 0);
}
