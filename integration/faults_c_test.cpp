// Faults in how a record is kept: full disks, limits, folders that go away, and what belongs to a
// file besides its text. Each test tells the story of one.

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "integration/companion.hpp"
#include "integration/mounts.hpp"
#include "integration/strace.hpp"
#include "integration/support.hpp"

using namespace harness;

namespace {

class Faults : public Sandbox {
public:
    /// Where copies of ends go that could not be recorded.
    fs::path unrecorded() const { return dir / "state" / "jobshim" / "unrecorded"; }
    Words copies() const {
        return fs::exists(unrecorded()) ? names_in(unrecorded(), ".heartbeat") : Words{};
    }

    /// Another user, if this process is root's; then nobody can use the sandbox, and everything in
    /// it.
    Options as_nobody() {
        Options options;
        if (geteuid() != 0) return options;
        options.before_exec = become_nobody;
        return options;
    }
    /// A directory of that user's.
    fs::path directory_of_nobody(const std::string& name) {
        const auto made = dir / name;
        fs::create_directory(made);
        if (geteuid() == 0) must(chown(made.c_str(), 65534, 65534), "chown");
        return made;
    }
};

void wait_for_beats(const fs::path& job, int count) {
    for (int i = 0; i < count; ++i) {
        const auto last = mtime_of(heartbeat_of(job));
        REQUIRE(wait_until([&] { return mtime_of(heartbeat_of(job)) != last; }));
    }
}

std::int64_t bytes_on_disk(const fs::path& file) {
    struct stat info {};
    REQUIRE(stat(file.c_str(), &info) == 0);
    return std::int64_t{info.st_blocks} * 512;
}

std::optional<std::string> attribute(const fs::path& file, const char* name) {
    std::array<char, 4096> value;
    const auto length = getxattr(file.c_str(), name, value.data(), value.size());
    return length < 0 ? std::nullopt
                      : std::optional(std::string(value.data(), static_cast<std::size_t>(length)));
}

/// False where the file system has no such attributes.
bool set_attribute(const fs::path& file, const char* name, const std::string& value) {
    return setxattr(file.c_str(), name, value.data(), value.size(), 0) == 0;
}

/// An access control list as the kernel takes it: rw for the owner and for uid 1001, and what is
/// given for the group, the mask and others.
std::string access_list(unsigned group, unsigned mask, unsigned others) {
    std::string list{2, 0, 0, 0};
    const auto add = [&](unsigned tag, unsigned rights, std::uint32_t id) {
        for (const unsigned value : {tag, rights}) {
            list += static_cast<char>(value & 255U);
            list += static_cast<char>(value >> 8U);
        }
        for (unsigned shift = 0; shift < 32; shift += 8)
            list += static_cast<char>((id >> shift) & 255U);
    };
    constexpr std::uint32_t nobody_in_particular = ~0U;
    add(1, 6, nobody_in_particular);
    add(2, 6, 1001);
    add(4, group, nobody_in_particular);
    add(16, mask, nobody_in_particular);
    add(32, others, nobody_in_particular);
    return list;
}
constexpr const char* acl = "system.posix_acl_access";
constexpr const char* default_acl = "system.posix_acl_default";

mode_t mode_of(const fs::path& file) {
    struct stat info {};
    REQUIRE(stat(file.c_str(), &info) == 0);
    return info.st_mode & 07777U;
}

}  // namespace

// The host lengthened its file by 1.5 KB, and the next beat gave the reserve up before the larger
// one was there: on a full disk the end had no room any more.
TEST_CASE_METHOD(Faults, "a full disk costs no record when the host lengthens its file meanwhile") {
    for (const std::string type : {"tmpfs", "ext4"}) {
        if (missing(type)) continue;
        const Volume volume(dir / type, type);
        for (const std::size_t more : {1500, 3000, 12'000}) {
            CAPTURE(type, more);
            const auto fill = volume.path() / "fill", file = volume.path() / "job.json";
            put(file, R"({"id":"theirs","status":"queued"})");
            for (const char* mark : {"started", "go"}) fs::remove(dir / mark);
            auto shim = start_job(file, "touch started; " + until_go + "exit 4",
                                  {"--heartbeat-interval", "100ms"});
            REQUIRE(wait_until([&] { return fs::exists(dir / "started"); }));
            worker_of(file);
            // Before the disk is full, so that the test does not depend on where a block ends.
            auto record = slurp(file);
            record.insert(record.rfind('}'), R"(,"grown":")" + std::string(more, 'x') + "\"");
            auto stopped = shim.pid();
            kill(stopped, SIGSTOP);
            put(file, record);
            use_up_space(fill);
            kill(stopped, SIGCONT);
            wait_for_beats(file, 3);
            use_up_space(fill);
            put(dir / "go", "");
            const auto result = shim.wait(60s);
            INFO(result.err);
            CHECK(result.ended() == "exit 4");
            CHECK(at(read_json(file), "/jobshim/exit/code") == 4);
            CHECK(read_json(file).value("grown", "").size() == more);
            fs::remove(fill);
            fs::remove(heartbeat_of(file));
        }
    }
}

// Any first error at all, such as one of the disk, cost the record its tail and its evidence,
// though the retry a moment later went well.
TEST_CASE_METHOD(Faults, "a write that fails for another reason than room costs nothing of the end",
                 "[quick]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    const auto jobs = dir / "jobs", file = jobs / "job.json";
    fs::create_directory(jobs);
    const Words argv{jobshim,
                     "-j",
                     file,
                     "--log",
                     jobs / "log",
                     "--timeout",
                     "100ms",
                     "--",
                     "sh",
                     "-c",
                     "echo last; " + for_ever};
    // The last exchange: the one that puts the end in place.
    int exchanges = 0;
    for (const auto& call : record(*this, argv, jobs))
        if (call.name == "renameat2" && contains(call.line, ".json.jobshim-")) ++exchanges;
    REQUIRE(exchanges > 1);
    for (const std::string& error : Words{"EIO", "EACCES", "EROFS", "EMFILE"}) {
        CAPTURE(error);
        for (const auto& entry : fs::directory_iterator(jobs)) fs::remove(entry);
        const auto result = run(
            under_strace(dir / "trace",
                         {"-P", jobs, "-e", "trace=renameat2", "-e",
                          "inject=renameat2:error=" + error + ":when=" + std::to_string(exchanges)},
                         argv));
        INFO(result.err);
        CHECK(result.ended() == "exit 124");
        CHECK(contains(result.err, "could not be recorded yet"));
        CHECK(at(exit_of(file), "/tail") == "last\n");
        CHECK(contains(at(exit_of(file), "/evidence").dump(), "SIGTERM sent"));
        CHECK(names_in(jobs, ".jobshim-").empty());
        CHECK(copies().empty());
    }
}

// 30 seconds more, then 125 instead of the worker's status.
TEST_CASE_METHOD(Faults,
                 "with --best-effort a record that cannot be kept delays and changes nothing",
                 "[quick]") {
    for (const std::string& how : Words{"removed", "unwritable", "another's file in its place"}) {
        CAPTURE(how);
        for (const char* mark : {"started", "go"}) fs::remove(dir / mark);
        const auto jobs = directory_of_nobody("jobs"), file = jobs / "job.json";
        Options options = as_nobody();
        const auto program = public_copy(jobshim);
        fs::permissions(dir, fs::perms(0777));
        options.env["XDG_STATE_HOME"] = directory_of_nobody("state-of-" + how.substr(0, 3));
        auto shim = spawn({program, "--best-effort", "-j", file, "--", "sh", "-c",
                           "touch started; " + until_go + "exit 7"},
                          options);
        REQUIRE(wait_until([&] { return fs::exists(dir / "started"); }));
        worker_of(file);
        if (how == "removed") {
            fs::remove_all(jobs);
        } else if (how == "unwritable") {
            fs::permissions(jobs, fs::perms(0555));
        } else {
            fs::remove(file);
            fs::create_directory(file);
        }
        put(dir / "go", "");
        const auto result = shim.wait();
        INFO(result.err);
        CHECK(result.ended() == "exit 7");
        CHECK(result.wall < stretched(15s));
        CHECK(contains(result.err, "the end is not in the job file"));
        if (fs::exists(jobs)) fs::permissions(jobs, fs::perms(0755));
        fs::remove_all(jobs);
    }
}

// Without it the contract says 125; but a folder that was removed never comes back, so there is
// nothing to wait for.
TEST_CASE_METHOD(Faults, "a shim whose folder was removed does not try for 30 seconds", "[quick]") {
    const auto jobs = dir / "jobs", file = jobs / "job.json";
    fs::create_directory(jobs);
    auto shim = start_job(file, until_go + "exit 7");
    worker_of(file);
    fs::remove_all(jobs);
    put(dir / "go", "");
    const auto result = shim.wait();
    INFO(result.err);
    CHECK(result.ended() == "exit 125");
    CHECK(result.wall < stretched(15s));
    CHECK(copies().size() == 1);
}

// The command ran, and 30 seconds after its end the answer was 125.
TEST_CASE_METHOD(Faults, "limits that no record fits into are found out before the start",
                 "[quick]") {
    const std::string members = [] {
        std::string text = R"({"id":"job","status":"queued")";
        for (int i = 0; i < 9990; ++i) text += ",\"k" + std::to_string(i) + "\":1";
        return text + "}";
    }();
    const std::string large = R"({"id":"job","status":"queued","x":")" +
                              std::string((std::size_t{4} << 20U) - 1300, 'x') + "\"}";
    struct Row {
        std::string name;
        rlim_t file_size;
        std::string text;  ///< of the job file; empty: there is none
        std::string message;
    };
    for (const Row& row : {
             Row{"1 KiB", 1024, "", "File too large"},
             Row{"2 KiB", 2048, "", "File too large"},
             Row{"4 KiB", 4096, "", "File too large"},
             Row{"4 KiB, adopted", 4096, R"({"id":"job","status":"queued"})", "File too large"},
             Row{"members", RLIM_INFINITY, members, "more than 10000 members"},
             Row{"size", RLIM_INFINITY, large, "would become larger"},
         }) {
        CAPTURE(row.name);
        for (const auto& path : {job, heartbeat_of(job), dir / "ran"}) fs::remove(path);
        if (!row.text.empty()) put(job, row.text);
        Options options;
        options.before_exec = [&row] {
            const rlimit limit{row.file_size, row.file_size};
            must(setrlimit(RLIMIT_FSIZE, &limit), "setrlimit");
        };
        const auto result = run_job(job, "touch ran; exit 3", {}, options);
        INFO(result.err);
        CHECK(result.ended() == "exit 125");
        CHECK(contains(in_glibc_words(result.err), row.message));
        CHECK_FALSE(fs::exists(dir / "ran"));
        CHECK(slurp(job) == row.text);
        CHECK(names_in(dir, ".jobshim-").empty());
        // And the worker gets no signal for it.
        CHECK(run_job(job, "exit 3", {"--best-effort"}, options).ended() == "exit 3");
    }
    // A limit that leaves enough room is none of our business.
    for (const auto& path : {job, heartbeat_of(job)}) fs::remove(path);
    Options options;
    options.before_exec = [] {
        const rlimit limit{65536, 65536};
        must(setrlimit(RLIMIT_FSIZE, &limit), "setrlimit");
    };
    CHECK(run_job(job, "exit 3", {}, options).ended() == "exit 3");
    CHECK(at(exit_of(job), "/code") == 3);
}

// A umask of 0777 takes the owner's rights, too: the shim could not read what it had written, and
// neither could anybody else but root.
TEST_CASE_METHOD(Faults, "a job's files are their owner's to read whatever the umask", "[quick]") {
    Options options = as_nobody();
    const auto program = public_copy(jobshim), reader = public_copy(jobctl);
    for (const mode_t mask : {0777, 0700, 0277, 0477}) {
        CAPTURE(mask);
        const auto home = directory_of_nobody("home-" + std::to_string(mask));
        options.cwd = home;
        options.env["XDG_STATE_HOME"] = home / "state";
        Options masked = options;
        masked.before_exec = [mask, before = options.before_exec] {
            if (before) before();
            umask(mask);
        };
        for (const bool is_default : {false, true}) {
            CAPTURE(is_default);
            Words argv{program, "--id", "night", "--", "sh", "-c", "umask; exit 3"};
            const auto file =
                is_default ? home / "state/jobshim/jobs/night.json" : home / "night.json";
            if (!is_default) argv.insert(argv.begin() + 1, {"-j", file});
            const auto result = run(argv, masked);
            INFO(result.err);
            CHECK(result.ended() == "exit 3");
            CHECK(std::stoul(result.out, nullptr, 8) == mask);  // the worker's own is untouched
            CHECK(mode_of(file) == 0600);
            const auto status = run({reader, "status", file}, options);
            INFO(status.out << status.err);
            CHECK(contains(status.out, "Exited with status 3."));
        }
    }
}

// 24 KiB on the disk for a record of 1.4 KB.
TEST_CASE_METHOD(Faults, "what was reserved for the end is given back") {
    for (const std::string type : {"tmpfs", "ext4", "xfs"}) {
        if (missing(type)) continue;
        const Volume volume(dir / type, type);
        for (const bool adopted : {false, true}) {
            for (const std::string tail : {"2048", "65536"}) {
                CAPTURE(type, adopted, tail);
                const auto file = volume.path() / ("job-" + tail + (adopted ? "-a" : "") + ".json");
                if (adopted) put(file, R"({"id":"theirs","status":"queued"})");
                CHECK(run_job(file, "exit 4", {"--tail", tail}).ended() == "exit 4");
                CHECK(at(exit_of(file), "/code") == 4);
                volume.sync();
                CHECK(bytes_on_disk(file) <= 4096);
                if (adopted) CHECK(bytes_on_disk(heartbeat_of(file)) <= 4096);
            }
        }
    }
}

// One run, and a user who had been given rights was shut out, while the mask had become the group's
// rights.
TEST_CASE_METHOD(Faults, "access lists and other attributes of a job file survive a run",
                 "[quick]") {
    put(job, "{}");
    const bool has_users = set_attribute(job, "user.mine", "x");
    const bool has_lists = set_attribute(job, acl, access_list(4, 6, 0));
    if (!has_users && !has_lists) SKIP_TEST("no extended attributes here");
    for (const bool before_start : {true, false}) {
        CAPTURE(before_start);
        for (const auto& path : {job, heartbeat_of(job), dir / "go"}) fs::remove(path);
        const std::string list = access_list(4, 6, 0), large(2000, 'v');
        const auto attach = [&] {
            if (has_lists) REQUIRE(set_attribute(job, acl, list));
            if (has_users) REQUIRE(set_attribute(job, "user.mine", large));
            if (has_users) REQUIRE(set_attribute(job, "user.empty", ""));
        };
        if (before_start) {
            put(job, R"({"id":"theirs","status":"queued"})");
            must(chmod(job.c_str(), 0640), "chmod");
            attach();
        }
        auto shim = start_job(job, until_go + "exit 4");
        worker_of(job);
        if (!before_start) attach();
        const auto mode = mode_of(job);
        put(dir / "go", "");
        CHECK(shim.wait().ended() == "exit 4");
        CHECK(at(exit_of(job), "/code") == 4);
        CHECK(mode_of(job) == mode);
        if (has_lists) CHECK(attribute(job, acl) == list);
        if (has_users) CHECK(attribute(job, "user.mine") == large);
        if (has_users) CHECK(attribute(job, "user.empty") == "");
        // A reader that settles replaces it, too.
        auto again = start_job(job, for_ever);
        worker_of(job);
        kill_shim(again, job);
        CHECK(ctl({"status", job}).ended() == "exit 1");
        CHECK(mode_of(job) == mode);
        if (has_lists) CHECK(attribute(job, acl) == list);
        if (has_users) CHECK(attribute(job, "user.mine") == large);
    }
}

// The list that a directory gives to new files is not that of the file that is replaced.
TEST_CASE_METHOD(Faults, "a directory's default access list gives nobody rights to a job file") {
    const auto jobs = dir / "jobs", file = jobs / "job.json";
    fs::create_directory(jobs);
    put(file, R"({"id":"theirs","status":"queued"})");
    must(chmod(file.c_str(), 0660), "chmod");
    if (!set_attribute(jobs, default_acl, access_list(7, 7, 5))) SKIP_TEST("no access lists here");
    CHECK(run_job(file, "exit 4").ended() == "exit 4");
    CHECK(mode_of(file) == 0660);
    CHECK_FALSE(attribute(file, acl));
    // And one that a new file has is kept.
    const auto theirs = jobs / "theirs.json";
    put(theirs, R"({"id":"theirs","status":"queued"})");
    const auto list = attribute(theirs, acl);
    REQUIRE(list);
    CHECK(run_job(theirs, "exit 4").ended() == "exit 4");
    CHECK(attribute(theirs, acl) == list);
    const auto new_one = jobs / "new.json";
    CHECK(run_job(new_one, "exit 4").ended() == "exit 4");
    CHECK(mode_of(new_one) == 0600);
}

// 1 MB of arguments that are not UTF-8 made a heartbeat file that readers ignored: the job could
// not be cancelled, and an old copy of its record that was written back had no proof of the end
// against it.
TEST_CASE_METHOD(Faults, "a command line of any length leaves a heartbeat file that readers take") {
    for (const std::string& byte : Words{"\xff", "x", "\1"}) {
        CAPTURE(byte);
        for (const auto& path : {job, heartbeat_of(job), dir / "go"}) fs::remove(path);
        put(job, R"({"id":"theirs","status":"queued","command":["other"]})");
        Words argv{"-j", job, "--", "sh", "-c", until_go + "exit 4", "sh"};
        const std::size_t arguments = byte == "\1" ? 3 : 6;
        for (std::size_t i = 0; i < arguments; ++i) {
            argv.emplace_back();
            while (argv.back().size() < 100'000) argv.back() += byte;
        }
        auto shim = start_shim(argv);
        worker_of(job);
        CHECK(fs::file_size(heartbeat_of(job)) < 1'000'000);
        const auto running = slurp(job);
        put(dir / "go", "");
        const auto result = shim.wait();
        INFO(result.err);
        CHECK(result.ended() == "exit 4");
        put(job, running);
        CHECK(ctl({"status", job}).code() == 1);
        CHECK(at(exit_of(job), "/code") == 4);
        CHECK(at(exit_of(job), "/reason") == "exit-code");

        fs::remove(dir / "go");
        auto again = start_shim(argv);
        worker_of(job);
        const auto cancelled = ctl({"cancel", job});
        INFO(cancelled.err);
        CHECK(cancelled.ended() == "exit 0");
        again.wait();
    }
}

// The copy of an end whose folder had been removed stayed for ever, and no command knew of it.
TEST_CASE_METHOD(Faults, "list and prune know the copy of an end whose folder was removed",
                 "[quick]") {
    const auto jobs = dir / "jobs", file = jobs / "night.json";
    for (const bool directory_too : {true, false}) {
        CAPTURE(directory_too);
        fs::create_directories(jobs);
        fs::remove(dir / "go");
        auto shim = start_job(file, until_go + "exit 7", {"--best-effort"});
        worker_of(file);
        if (directory_too)
            fs::remove_all(jobs);
        else
            fs::permissions(jobs, fs::perms(0555));
        std::unique_ptr<Immutable> immutable;
        if (!directory_too) immutable = std::make_unique<Immutable>(jobs);
        if (immutable && !immutable->is_set()) {
            fs::permissions(jobs, fs::perms(0755));
            put(dir / "go", "");
            shim.wait();
            SKIP_TEST("no immutable directories here");
        }
        put(dir / "go", "");
        CHECK(shim.wait().ended() == "exit 7");
        REQUIRE(copies().size() == 1);
        if (!directory_too) {
            immutable.reset();
            fs::remove_all(jobs);
            fs::create_directory(jobs);
        }
        const auto listed = ctl_json({"list"});
        REQUIRE(listed.size() == 1);
        CHECK(at(listed, "/0/id") == "night");
        CHECK(at(listed, "/0/file") == file.string());
        CHECK(at(listed, "/0/status") == "failed");
        CHECK(at(listed, "/0/job/jobshim/exit/code") == 7);
        CHECK(at(listed, "/0/verdict/notRecorded") == "its job file is gone");
        CHECK(contains(ctl({"list"}).out, "night"));
        // Other directories are none of its business.
        fs::create_directories(dir / "other");
        CHECK(ctl_json({"list", "--dir", dir / "other"}).empty());
        CHECK(
            contains(ctl({"prune", "--dir", dir / "other", "--older-than", "1ms"}).out, "0 jobs"));
        const auto reaped = ctl({"reap"});
        CHECK(reaped.ended() == "exit 0");
        CHECK(contains(reaped.out, "0 jobs"));
        CHECK(contains(ctl({"prune", "--older-than", "1h"}).out, "0 jobs"));
        REQUIRE(copies().size() == 1);
        const auto dry = ctl({"prune", "--older-than", "1ms", "--dry-run"});
        CHECK(contains(dry.out, "1 job would be removed"));
        CHECK(contains(dry.out, copies().front()));
        REQUIRE(copies().size() == 1);
        CHECK(contains(ctl({"prune", "--older-than", "1ms"}).out, "1 job removed"));
        CHECK(copies().empty());
        CHECK(ctl_json({"list"}).empty());
    }
}

// Nobody who does not know the folder would ever settle it.
TEST_CASE_METHOD(Faults,
                 "reap settles from its copy a job in any folder and removes what is settled",
                 "[quick]") {
    const auto jobs = dir / "jobs", file = jobs / "night.json";
    fs::create_directory(jobs);
    put(file, R"({"id":"night","status":"queued"})");
    auto shim = start_job(file, until_go + "exit 7", {"--best-effort"});
    worker_of(file);
    {
        const Immutable immutable(jobs);
        if (!immutable.is_set()) {
            put(dir / "go", "");
            shim.wait();
            SKIP_TEST("no immutable directories here");
        }
        put(dir / "go", "");
        CHECK(shim.wait().ended() == "exit 7");
        REQUIRE(copies().size() == 1);
        // It cannot be recorded yet, and that is all the same to those who only look.
        CHECK(at(ctl_json({"list"}), "/0/verdict/state") == "failed");
        CHECK(ctl({"reap"}).ended() == "exit 125");
        CHECK(copies().size() == 1);
    }
    const auto copy = unrecorded() / copies().front();
    fs::copy_file(copy, dir / "kept");
    const auto reaped = ctl({"reap"});
    INFO(reaped.out << reaped.err);
    CHECK(contains(reaped.out, "1 job settled"));
    CHECK(at(exit_of(file), "/code") == 7);
    CHECK(copies().empty());
    CHECK(names_in(jobs, ".jobshim-").empty());
    // One that was left although its end is on record.
    fs::copy_file(dir / "kept", copy);
    fs::permissions(copy, fs::perms(0600));
    CHECK(ctl({"reap", "--dry-run"}).ended() == "exit 0");
    CHECK(copies().size() == 1);
    CHECK(ctl({"reap"}).ended() == "exit 0");
    CHECK(copies().empty());
}

// What the worker had left behind wrote an old copy of the record back after the end. The run had
// created the job file, so the heartbeat file was gone, and the job was failed because "the shim
// died".
TEST_CASE_METHOD(Faults, "an old copy written back after the end is never taken for a lost shim",
                 "[quick]") {
    for (const bool in_own_session : {false, true}) {
        for (const std::string& how : Words{"cat old > job.json", "mv old job.json"}) {
            CAPTURE(in_own_session, how);
            for (const char* name : {"job.json", "job.heartbeat", "old", "here", "go", "back"})
                fs::remove(dir / name);
            // It waits until the shim is gone, and half a second, since so long a write may take.
            const std::string later =
                "touch here; " + until_go + "sleep 0.6; " + how + "; touch back";
            const std::string start =
                std::string(in_own_session ? "setsid " : "") + "sh -c '" + later + "'";
            const auto result =
                run_job(job, until_running + "cp job.json old; " + start +
                                 " > /dev/null 2>&1 & \"" AWAIT_BIN "\" here; exit 3");
            CHECK(result.ended() == "exit 3");
            put(dir / "go", "");
            REQUIRE(wait_until([&] { return fs::exists(dir / "back"); }));
            REQUIRE(at(read_json(job), "/status") == "running");
            const auto status = ctl_json({"status", job}).at(0);
            CHECK(at(status, "/verdict/state") == (in_own_session ? "unknown" : "failed"));
            if (!in_own_session) CHECK(at(exit_of(job), "/code") == 3);
            CHECK_FALSE(contains(slurp(job), "shim-lost"));
            // Nothing keeps the next run from starting.
            const auto next = run_job(job, "exit 5");
            INFO(next.err);
            CHECK(next.ended() == "exit 5");
            CHECK(at(exit_of(job), "/code") == 5);
            CHECK_FALSE(contains(slurp(job), "shim-lost"));
        }
    }
}

// A torn index cost seconds for each job that was named, and so did each dead job.
TEST_CASE_METHOD(Faults, "companion: a torn index and dead jobs are waited for once", "[quick]") {
    const Companion plugin(dir / "ws-0123456789abcdef");
    constexpr int count = 8;
    for (const std::string& command : Words{"status", "wait"}) {
        for (const bool is_torn : {true, false}) {
            CAPTURE(command, is_torn);
            Words argv{command, "--companion", plugin.dir};
            for (int i = 0; i < count; ++i) {
                // No process has such a pid.
                const auto id = "task-" + command + (is_torn ? "-torn-" : "-") + std::to_string(i);
                plugin.write_both(plugin.record(id, "running", 4'190'000));
                argv.push_back(id);
            }
            const auto index = slurp(plugin.index);
            if (is_torn) put(plugin.index, index.substr(0, index.size() / 2));
            const auto result = ctl(argv, {.limit = 60s});
            INFO(result.out << result.err);
            CHECK(result.ended() == "exit 1");
            CHECK(lines_of(result.out).size() == count);
            // One after the other they took 4 seconds each.
            CHECK(result.wall < stretched(Milliseconds(count * 2000)));
            put(plugin.index, index);
        }
    }
}

// The job that fills the disk could not be cancelled: the request needed a block.
TEST_CASE_METHOD(Faults, "a job is cancelled on a full disk") {
    for (const std::string type : {"tmpfs", "ext4"}) {  // a full xfs may have no inode left
        if (missing(type)) continue;
        const Volume volume(dir / type, type);
        const auto fill = volume.path() / "fill";
        // It ignores the signal, so that how the job is cancelled matters.
        const std::string stubborn = "trap '' TERM USR1; touch started; " + for_ever;
        for (const std::string& reason : {std::string("full"), std::string(3000, 'r')}) {
            CAPTURE(type, reason);
            const auto file = volume.path() / "job.json";
            for (const auto& path : {file, heartbeat_of(file), dir / "started"}) fs::remove(path);
            auto shim = start_job(file, stubborn);
            worker_of(file);
            REQUIRE(wait_until([&] { return fs::exists(dir / "started"); }));
            use_up_space(fill);
            const auto cancelled = ctl(
                {"cancel", file, "--reason", reason, "--signal", "USR1", "--kill-after", "200ms"},
                {.limit = 60s});
            INFO(cancelled.out << cancelled.err);
            CHECK(cancelled.ended() == "exit 0");
            CHECK(shim.wait(60s).ended() == "SIGKILL");
            CHECK(at(exit_of(file), "/reason") == "cancelled");
            CHECK(at(exit_of(file), "/requestedBy/how") == "jobctl cancel");
            CHECK(at(exit_of(file), "/requestedBy/uid") == geteuid());
            CHECK(contains(at(exit_of(file), "/evidence").dump(), "SIGUSR1 sent"));
            CHECK(
                contains(reason, at(read_json(file), "/jobshim/cancel/reason").get<std::string>()));
            CHECK(names_in(volume.path(), ".cancel").empty());
            fs::remove(fill);
        }
    }
}

// Nor where there was no room for one more file.
TEST_CASE_METHOD(Faults, "a job is ended by cancel where no file can be created") {
    for (const std::string type : {"tmpfs", "ext4"}) {
        if (missing(type)) continue;
        CAPTURE(type);
        const Volume volume(dir / type, type, {.inodes = 64});
        const auto file = volume.path() / "job.json";
        fs::remove(dir / "started");
        auto shim = start_job(file, "touch started; " + for_ever);
        worker_of(file);
        REQUIRE(wait_until([&] { return fs::exists(dir / "started"); }));
        use_up_inodes(volume.path() / "fill");
        const auto cancelled = ctl({"cancel", file}, {.limit = 60s});
        INFO(cancelled.out << cancelled.err);
        CHECK(cancelled.ended() == "exit 1");
        CHECK(contains(cancelled.err, "will not say"));
        CHECK(shim.wait(60s).ended() == "SIGTERM");
        CHECK(at(exit_of(file), "/reason") == "signal");
        CHECK(at(exit_of(file), "/requestedBy/command") == "jobctl");
    }
}
