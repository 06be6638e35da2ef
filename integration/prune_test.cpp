// jobctl prune removes jobs that ended long ago and everything that belongs to them, and nothing
// else.

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <iostream>

#include "integration/strace.hpp"
#include "integration/support.hpp"
#include "integration/verdicts.hpp"

using namespace harness;

namespace {

const std::string long_ago = "2020-01-01T00:00:00.000Z";

class Prune : public Sandbox {
public:
    Prune() { fs::create_directory(jobs); }

    const fs::path jobs = dir / "jobs";

    /// As if the job had ended, and its log had been written, long ago.
    void age(const fs::path& file) const {
        auto record = read_json(file);
        record["completedAt"] = long_ago;
        put(file, record.dump(2));
        for (const auto& other : {heartbeat_of(file), fs::path(file).replace_extension(".log")})
            if (fs::exists(other)) make_old(other);
    }
    static void make_old(const fs::path& file) {
        constexpr timespec then{1'577'836'800, 0};
        const timespec times[2] = {then, then};
        REQUIRE(utimensat(AT_FDCWD, file.c_str(), times, 0) == 0);
    }
    /// An old job with every kind of file that may exist beside one.
    void make_job_with_every_file(const std::string& name) {
        const auto file = jobs / (name + ".json");
        put(file, R"({"host":1})");
        run_job(file, "echo line", {"--log", jobs / (name + ".log")});
        age(file);
        for (const char* end :
             {".corrupt-20200101T000000", ".displaced-20200101T000000", ".cancel"})
            put(file.string() + end, "x");
        put(jobs / ("." + name + ".json.jobshim-merged"), "{}");
    }
    Result prune(const Words& more = {}, const Options& options = {}) {
        Words argv{jobctl, "prune", "--dir", jobs, "--older-than", "1h"};
        argv.insert(argv.end(), more.begin(), more.end());
        return run(argv, options);
    }
    Words left() const { return names_in(jobs, ""); }
};

}  // namespace

TEST_CASE_METHOD(Prune, "prune removes an old job and everything that belongs to it", "[quick]") {
    make_job_with_every_file("old");
    // Names with the same beginning belong to other jobs.
    run_job(jobs / "older.json", "exit 3");
    put(jobs / "old.json-notes", "x");
    put(jobs / "old.txt", "x");
    // Its end once could not be written beside the job file.
    const auto unrecorded = dir / "state/jobshim/unrecorded";
    fs::create_directories(unrecorded);
    const auto shim = at(read_json(jobs / "old.json"), "/jobshim/shim");
    const auto copy =
        unrecorded / (at(shim, "/bootId").get<std::string>() + "-" + at(shim, "/pid").dump() + "-" +
                      at(shim, "/startTime").dump() + ".heartbeat");
    fs::copy_file(heartbeat_of(jobs / "old.json"), copy);  // it has the same lines
    const auto all = left();

    const auto dry = prune({"--dry-run"});
    INFO(dry.out << dry.err);
    CHECK(dry.ended() == "exit 0");
    CHECK(contains(dry.out, "1 job would be removed"));
    CHECK(dry.out.starts_with("old  completed  "));
    for (const auto& file : {copy, jobs / "old.log", jobs / "old.heartbeat"})
        CHECK(contains(dry.out, file.string() + "\n"));
    CHECK(left() == all);

    const auto result = prune();
    INFO(result.out << result.err);
    CHECK(result.ended() == "exit 0");
    CHECK(result.out.ends_with("1 job removed\n"));
    CHECK(left() == Words{"old.json-notes", "old.txt", "older.json"});
    CHECK(names_in(unrecorded, "") == Words{});
    CHECK(prune().out == "0 jobs removed\n");
    CHECK(ctl({"status", jobs / "old.json"}).ended() == "exit 4");
    CHECK(Json::parse(prune({"--json"}).out) == Json::array());
    CHECK(ctl({"prune", "--dir", jobs}).ended() == "exit 2");
}

TEST_CASE_METHOD(Prune, "prune spares jobs that are active or young or unknown", "[quick]") {
    put(jobs / "queued.json", R"({"status":"queued","updatedAt":"2020-01-01T00:00:00.000Z"})");
    put(jobs / "none.json", R"({"status":"running","completedAt":"2020-01-01T00:00:00.000Z"})");
    put(jobs / "word.json", R"({"status":"paused","completedAt":"2020-01-01T00:00:00.000Z"})");
    put(jobs / "undated.json", R"({"status":"completed"})");
    put(jobs / "odd.json", R"({"status":"completed","completedAt":"long ago"})");
    put(jobs / "future.json", R"({"status":"failed","completedAt":"2099-01-01T00:00:00.000Z"})");
    run_job(jobs / "young.json", "exit 0");
    auto running = start_job(jobs / "running.json", for_ever);
    // The worker has written its end, dated long ago, and runs on.
    auto reported = start_job(
        jobs / "spoke.json",
        until_running +
            R"(echo '{"status":"completed","completedAt":"2020-01-01T00:00:00.000Z"}' > jobs/spoke.json; )" +
            for_ever);
    auto orphaned =
        start_job(jobs / "orphan.json", "touch ready; " + for_ever, {"--on-shim-death", "keep"});
    const auto worker = worker_of(jobs / "orphan.json");
    REQUIRE(wait_until([&] { return fs::exists(dir / "ready"); }));
    kill_shim(orphaned, jobs / "orphan.json");
    worker_of(jobs / "running.json");
    REQUIRE(wait_until([&] {
        return at(Json::parse(slurp(jobs / "spoke.json"), nullptr, false), "/status") ==
               "completed";
    }));
    const auto all = left();
    const auto result = prune();
    INFO(result.out << result.err);
    CHECK(result.ended() == "exit 0");
    CHECK(result.out == "0 jobs removed\n");
    CHECK(left() == all);
    CHECK(alive(worker));
    for (auto* shim : {&running, &reported}) {
        CHECK(shim->running());
        shim->kill(SIGTERM);
        shim->wait();
    }
    ::kill(worker, SIGKILL);
}

TEST_CASE_METHOD(Prune, "prune --keep spares the jobs that ended last", "[quick]") {
    // Their names and their beginnings are in another order.
    for (const auto& [name, ended] : std::map<std::string, std::string>{
             {"a", "2020-01-03"}, {"b", "2020-01-01"}, {"c", "2020-01-04"}, {"d", "2020-01-02"}})
        put(jobs / (name + ".json"),
            R"({"status":"failed","completedAt":")" + ended + R"(T00:00:00.000Z"})");
    put(jobs / "queued.json", R"({"status":"queued","updatedAt":"2020-01-01T00:00:00.000Z"})");
    auto running = start_job(jobs / "running.json", for_ever);
    worker_of(jobs / "running.json");
    const auto keep = [&](const Words& more) {
        return ctl(joined({{"prune", "--dir", jobs}, more}));
    };
    const auto left_jobs = [&] {
        auto names = names_in(jobs, ".json");
        std::erase_if(names, [](const std::string& name) { return name.starts_with('.'); });
        return names;
    };
    CHECK(contains(keep({"--keep", "2", "--dry-run"}).out, "2 jobs would be removed"));
    CHECK(keep({"--keep", "4"}).out == "0 jobs removed\n");
    CHECK(keep({"--keep", "99999999999"}).out == "0 jobs removed\n");
    CHECK(keep({"--keep", "0", "--older-than", "36500d"}).out == "0 jobs removed\n");
    const auto removed = keep({"--keep", "2"});
    INFO(removed.out << removed.err);
    CHECK(lines_of(removed.out).size() == 3);
    CHECK(left_jobs() == Words{"a.json", "c.json", "queued.json", "running.json"});
    CHECK(keep({"--keep", "1", "--older-than", "1h"}).out.ends_with("1 job removed\n"));
    CHECK(keep({"--keep", "0"}).out.ends_with("1 job removed\n"));
    CHECK(left_jobs() == Words{"queued.json", "running.json"});
    for (const char* wrong : {"", "-1", "x", "1.5", "99999999999999999999999"})
        CHECK(keep({"--keep", wrong}).ended() == "exit 2");
    running.kill(SIGTERM);
    running.wait();
}

TEST_CASE_METHOD(Prune, "prune keeps a log that is not only this job's") {
    const auto log = jobs / "old.log";
    run_job(jobs / "old.json", "echo line", {"--log", log});
    age(jobs / "old.json");
    SECTION("another job's, too") {
        run_job(jobs / "young.json", "echo more", {"--log", log});
        make_old(log);
    }
    SECTION("written to since") { put(log, "line\nmore\n"); }
    SECTION("a symlink by now") {
        fs::rename(log, jobs / "precious");
        fs::create_symlink("precious", log);
    }
    SECTION("another user's") {
        if (geteuid() != 0) SKIP_TEST("needs root, for another user's file");
        REQUIRE(chown(log.c_str(), 65534, 65534) == 0);
        make_old(log);
    }
    const auto result = prune();
    CHECK(result.ended() == "exit 0");
    CHECK(contains(result.out, "1 job removed"));
    CHECK(fs::exists(log));
    CHECK_FALSE(fs::exists(jobs / "old.json"));
}

TEST_CASE_METHOD(Prune, "prune leaves the log that two old jobs share") {
    const auto log = jobs / "both.log";
    for (const char* name : {"one.json", "two.json"}) {
        run_job(jobs / name, "echo line", {"--log", log});
        age(jobs / name);
    }
    make_old(log);
    CHECK(contains(prune({"--logs"}).out, "2 jobs removed"));
    CHECK(left() == Words{"both.log"});
}

TEST_CASE_METHOD(Prune, "prune removes a log that has another name only with --logs") {
    for (const bool elsewhere : {false, true})
        for (const bool begun_by_it : {true, false})
            for (const bool logs : {false, true}) {
                CAPTURE(elsewhere, begun_by_it, logs);
                const auto log = (elsewhere ? dir : jobs) / "output";
                if (!begun_by_it) put(log, "a line of somebody else's\n");
                run_job(jobs / "job.json", "echo line", {"--log", log});
                age(jobs / "job.json");
                make_old(log);
                CHECK(contains(prune(logs ? Words{"--logs"} : Words{}).out, "1 job removed"));
                CHECK(fs::exists(log) == !(logs && begun_by_it));
                fs::remove(log);
                CHECK(left() == Words{});
            }
}

// Nothing used to find a heartbeat file whose job is gone.
TEST_CASE_METHOD(Prune, "prune removes the stale heartbeat file of a deleted job once it is old") {
    for (const char* name : {"adopted", "killed", "young", "live"})
        put(jobs / (std::string(name) + ".json"), "{}");
    run_job(jobs / "adopted.json", "exit 0");
    run_job(jobs / "young.json", "exit 0");
    auto killed = start_job(jobs / "killed.json", for_ever);
    kill_shim(killed, jobs / "killed.json");
    auto live = start_job(jobs / "live.json", for_ever);
    worker_of(jobs / "live.json");
    for (const char* name : {"adopted", "killed", "young", "live"})
        fs::remove(jobs / (std::string(name) + ".json"));
    for (const char* name : {"adopted", "killed", "live"})
        make_old(jobs / (std::string(name) + ".heartbeat"));
    put(jobs / "diary.heartbeat", "not ours");
    make_old(jobs / "diary.heartbeat");
    CHECK(prune({"--dry-run"}).ended() == "exit 0");
    CHECK(fs::exists(jobs / "adopted.heartbeat"));
    CHECK(prune().ended() == "exit 0");
    CHECK(names_in(jobs, ".heartbeat") ==
          Words{"diary.heartbeat", "live.heartbeat", "young.heartbeat"});
    CHECK(shim_lock_is_held(jobs / "live.heartbeat"));
    live.kill(SIGTERM);
    live.wait();
    CHECK(fs::exists(jobs / "live.json"));
}

TEST_CASE_METHOD(Prune, "prune reports a job that it may not remove and leaves it whole") {
    if (geteuid() != 0) SKIP_TEST("needs root, to be somebody else");
    make_job_with_every_file("old");
    fs::permissions(jobs, fs::perms(0755));
    fs::permissions(jobs / "old.json", fs::perms(0644));
    const auto all = left();
    const auto program = public_copy(jobctl);
    const auto result = run({program, "prune", "--dir", jobs, "--older-than", "1h"},
                            {.before_exec = become_nobody});
    INFO(result.out << result.err);
    CHECK(result.ended() == "exit 125");
    CHECK(contains(result.err, "Permission denied"));
    CHECK(contains(result.out, "0 jobs removed"));
    CHECK(left() == all);
}

TEST_CASE_METHOD(Prune, "a prune that is killed at any call is completed by the next one",
                 "[sweep]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    Matrix matrix("prune: killed");
    const auto outside = dir / "outside";
    fs::create_directory(outside);
    const Options options{.env = no_leak_check, .cwd = outside};
    const Words argv{jobctl, "prune", "--dir", jobs, "--older-than", "1h"};
    make_job_with_every_file("old");
    run_job(jobs / "young.json", "echo line", {"--log", jobs / "young.log"});
    std::map<std::string, std::string> files;
    for (const auto& name : left()) files[name] = slurp(jobs / name);
    const auto restore_files = [&] {
        for (const auto& name : left()) fs::remove(jobs / name);
        for (const auto& [name, text] : files) put(jobs / name, text);
        for (const char* name : {"old.log", "old.heartbeat"}) make_old(jobs / name);
    };
    restore_files();
    const auto calls = calls_of(0, record(*this, argv, jobs, options));
    const Words young{"young.json", "young.log"};
    REQUIRE(left() == young);
    int points = 0;
    for (const auto& call : calls) {
        CAPTURE(call.describe(), call.line);
        restore_files();
        run(inject(call, "signal=SIGKILL", dir / "trace", argv), options);
        // What is reported matches what is left.
        const bool is_there = fs::exists(jobs / "old.json");
        const auto said = ask(*this, jobs / "old.json");
        bool good = said.state == (is_there ? "completed" : "no such job");
        // A temporary file is a reaper's to remove.
        good = ctl({"reap", "--dir", jobs}).code() == 0 && good;
        good = run(argv).code() == 0 && left() == young && good;
        for (const auto& name : young) good = slurp(jobs / name) == files[name] && good;
        ++points;
        matrix.count("prune killed", !good      ? ReportedOutcome::lie
                                     : is_there ? ReportedOutcome::true_end
                                                : ReportedOutcome::nothing);
        if (!good && matrix.lies() <= 5) FAIL_CHECK(said.state << Json(left()).dump());
    }
    std::cout << "prune: killed: " << points << " points\n";
    REQUIRE(points > 40);
    REQUIRE(matrix.lies() == 0);
}

// Between any two calls of a prune the host queues the job again, or a shim starts it.
TEST_CASE_METHOD(Prune, "a run that starts at any moment of a prune loses nothing", "[sweep]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    Matrix matrix("prune: meanwhile");
    const Words argv{jobctl, "prune", "--dir", jobs, "--older-than", "1h"};
    const auto file = jobs / "old.json";
    make_job_with_every_file("old");
    std::map<std::string, std::string> files;
    for (const auto& name : left()) files[name] = slurp(jobs / name);
    const auto restore_files = [&] {
        for (const auto& name : left()) fs::remove(jobs / name);
        for (const auto& [name, text] : files) put(jobs / name, text);
        for (const char* name : {"old.log", "old.heartbeat"}) make_old(jobs / name);
        fs::remove(dir / "go");
    };
    restore_files();
    const auto calls = Stopped::calls_of(*this, argv);
    REQUIRE(calls.size() > 40);
    int points = 0;
    for (const bool by_host : {false, true}) {
        const std::string fault = by_host ? "host asks for a new run" : "shim starts";
        for (const auto& call : calls) {
            CAPTURE(fault, call.name, call.nth, call.line);
            restore_files();
            Stopped stopped(*this, call, argv);
            if (!stopped.is_stopped()) continue;
            if (by_host) {
                // By rename, as hosts do.
                put(jobs / "theirs",
                    R"({"id":"old","status":"queued","createdAt":"2099-01-01T00:00:00.000Z","precious":1})");
                fs::rename(jobs / "theirs", file);
                stopped.resume_and_wait();
                const bool good =
                    contains(slurp(file), "precious") && ask(*this, file).state == "queued";
                ++points;
                matrix.count(fault, good ? ReportedOutcome::alive : ReportedOutcome::lie);
                if (!good && matrix.lies() <= 5) FAIL_CHECK(Json(left()).dump());
                continue;
            }
            auto shim = start_job(file, until_go + "echo new", {"--log", jobs / "new.log"});
            // It runs, or waits for the lock that prune holds.
            wait_until(
                [&] {
                    return at(Json::parse(slurp(file), nullptr, false), "/phase") == "running" ||
                           shim_lock_is_held(heartbeat_of(file));
                },
                1s);
            stopped.resume_and_wait();
            worker_of(file);
            const bool runs = ask(*this, file).state == "running";
            put(dir / "go", "");
            const auto end = shim.wait();
            const bool good = runs && end.ended() == "exit 0" && at(exit_of(file), "/code") == 0 &&
                              slurp(jobs / "new.log") == "new\n" &&
                              names_in(jobs, ".jobshim-").empty();
            ++points;
            matrix.count(fault, good ? ReportedOutcome::true_end : ReportedOutcome::lie);
            if (!good && matrix.lies() <= 5)
                FAIL_CHECK(end.ended() << end.err << Json(left()).dump() << slurp(file));
        }
    }
    std::cout << "prune: meanwhile: " << points << " points\n";
    REQUIRE(matrix.lies() == 0);
}
