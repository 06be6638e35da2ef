// What B may write to must do no harm to A or to root, who run the programs there: no file of
// theirs is written, read out or removed, no process of theirs is signalled, no verdict is false,
// and no command hangs or swallows the machine. What is refused is refused with a sentence that
// says why.

#include <fcntl.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <random>

#include "integration/attackers.hpp"
#include "integration/companion.hpp"
#include "integration/mounts.hpp"
#include "integration/verdicts.hpp"

using namespace harness;

// ---------------------------------------------------------------------------------------------
// Directories and links

namespace {

/// B's directory of jobs, and a link to a directory of root's, which B exchanges.
struct Exchanged {
    explicit Exchanged(Attacked& box)
        : box_(box), jobs(box.make_directory(box.b / "jobs", user_b, 0755)), link(box.b / "link") {
        Attacked::make_link(link, user_b, box.precious);
        Attacked::make_file(box.precious / "both.json", root, 0600,
                            R"({"id":"both","status":"running","secret":")" + secret + "\"}");
        restore();
        before = everything_in(box.precious);
    }
    /// B's jobs, whose shims are dead, as if nothing had been done with them yet.
    void restore() const {
        if (fs::is_symlink(jobs)) exchange(jobs, link);
        for (const auto& name : names_in(jobs, "")) fs::remove_all(jobs / name);
        for (const char* id : {"both", "only"}) {
            Attacked::make_file(jobs / (std::string(id) + ".json"), user_b, 0644,
                                box_.record_of_dead_job(id).dump(2));
            Attacked::make_file(jobs / (std::string(id) + "-old.json"), user_b, 0644,
                                box_.record_of_old_job(id).dump(2));
        }
    }
    bool is_harmless() const {
        const auto& real = fs::is_symlink(jobs) ? link : jobs;
        return everything_in(box_.precious) == before && !found_below(real, secret);
    }

    Attacked& box_;
    const fs::path jobs, link;
    std::map<std::string, std::string> before;
};

const std::vector<Words> surveys{{"list"}, {"reap"}, {"prune", "--older-than", "1h"}};

}  // namespace

TEST_CASE_METHOD(
    Attacked, "a directory exchanged for a link while root lists it: nothing is written outside it",
    "[attacks][long]") {
    NEEDS_USERS();
    const Exchanged scene(*this);
    const auto record = record_of_dead_job("only").dump(2);
    const auto exchange_for_ever = [&] {
        const int real = open(scene.jobs.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        must(real, "open");
        for (unsigned turn = 0;; ++turn) {
            renameat2(AT_FDCWD, scene.jobs.c_str(), AT_FDCWD, scene.link.c_str(), RENAME_EXCHANGE);
            if (turn % 1'000 != 0) continue;
            // So that there is something to settle again.
            const int fresh = openat(real, "fresh", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
            must(fresh, "create");
            must(write(fresh, record.data(), record.size()), "write");
            must(close(fresh), "close");
            must(renameat(real, "fresh", real, "only.json"), "rename");
        }
    };
    for (const auto& command : surveys) {
        scene.restore();
        int runs = 0;
        {
            const Attacker attacker(user_b, {}, exchange_for_ever);
            for (const auto end = Clock::now() + stretched(2s);
                 Clock::now() < end && everything_in(precious) == scene.before; ++runs)
                play_ctl(root, survey_of(command, scene.jobs));
        }
        CAPTURE(command[0], runs);
        judge("exchanged in a loop", scene.is_harmless(), is_lost);
        if (!scene.is_harmless()) return;
    }
}

TEST_CASE_METHOD(
    Attacked,
    "a directory exchanged for a link at any call of a survey: nothing is written outside it",
    "[attacks][sweep]") {
    NEEDS_USERS();
    if (!in_path("strace")) SKIP_TEST("no strace");
    const Exchanged scene(*this);
    for (const auto& command : surveys) {
        auto argv = survey_of(command, scene.jobs);
        argv.insert(argv.begin(), ctl_program);
        scene.restore();
        const auto calls = Stopped::calls_of(*this, argv);
        REQUIRE(calls.size() > 20);
        int harmful = 0;
        for (const auto& call : calls) {
            CAPTURE(command[0], call.name, call.nth, call.line);
            scene.restore();
            Stopped stopped(*this, call, argv);
            if (!stopped.is_stopped()) continue;
            exchange(scene.jobs, scene.link);
            stopped.resume_and_wait();
            const bool harmless = scene.is_harmless();
            judge("exchanged at a call", harmless, is_lost);
            if (!harmless && ++harmful == 3) return;  // each one costs a second scene
            if (!harmless) {
                for (const auto& name : names_in(precious, ""))
                    if (name != "both.json") fs::remove_all(precious / name);
                if (everything_in(precious) != scene.before) return;
            }
        }
    }
}

TEST_CASE_METHOD(Attacked,
                 "a folder moved and replaced by a link during a run: the end goes to the folder",
                 "[attacks]") {
    NEEDS_USERS();
    for (const uid_t user : {root, user_a}) {
        CAPTURE(user);
        const auto scene = make_directory(dir / ("scene-" + std::to_string(user)), user_b, 0755);
        const auto jobs = make_directory(scene / "jobs", user_b, user == root ? 0755 : 0777);
        const auto outside = make_directory(scene / "outside", user, 0755);
        make_file(outside / "job.json", user, 0644, R"({"status":"running"})");
        const auto before = everything_in(outside);
        auto shim = begin(user, {shim_program, "-j", jobs / "job.json", "--heartbeat-interval",
                                 "100ms", "--", await_program, scene / "go"});
        const bool runs = wait_until([&] {
            return !shim.running() || contains(slurp(jobs / "job.json"), R"("phase": "running")") ||
                   contains(slurp(jobs / "job.json"), R"("phase":"running")");
        });
        REQUIRE(runs);
        if (!shim.running()) {
            const auto seen = watch(shim, 1s);
            INFO(said(seen));
            judge("folder moved",
                  is_refused(seen, user_b, jobs) && everything_in(outside) == before, refused);
            continue;
        }
        const auto real = scene / "real";
        {
            const Acting acting(user_b);
            fs::rename(jobs, real);
            fs::create_symlink(outside, jobs);
        }
        // A few beats, each of which looks for the heartbeat file, or the first harm.
        for (int beat = 0; beat < 3; ++beat) {
            const auto last = mtime_of(real / "job.heartbeat");
            (void)wait_until([&] {
                return mtime_of(real / "job.heartbeat") != last || everything_in(outside) != before;
            });
        }
        put(scene / "go", "");
        const auto seen = watch(shim, 10s);
        INFO(said(seen));
        INFO(as_ascii(everything_in(outside)));
        judge("folder moved",
              everything_in(outside) == before &&
                  at(exit_of(real / "job.json"), "/reason") == "success",
              true_end);
    }
}

namespace {

/// B's link at the name of A's or root's next job, to a file that does not exist yet or does.
void play_foreseen_link(Attacked& box, const std::string& scene) {
    for (const uid_t user : {root, user_a})
        for (const bool exists : {false, true}) {
            const auto name = scene + std::to_string(user) + (exists ? "-there" : "-new");
            CAPTURE(name);
            const auto home = box.make_directory(box.dir / ("home-" + name), user, 0755);
            if (exists) Attacked::make_file(home / "file.json", user, 0600, R"({"mine":1})");
            const auto job = box.sticky / (name + ".json");
            Attacked::make_link(job, user_b, home / "file.json");
            const auto before = everything_in(home);
            const auto seen = box.play_shim(user, {"--job", job, "--", "true"});
            INFO(said(seen));
            box.judge("link at a job's name",
                      is_refused(seen, user_b, job) && everything_in(home) == before, refused);
        }
}

}  // namespace

TEST_CASE_METHOD(Attacked, "another user's link at the name of a job is not followed by jobshim",
                 "[attacks]") {
    NEEDS_USERS();
    play_foreseen_link(*this, "backup");
}

TEST_CASE_METHOD(Attacked, "another user's link at the name of a job is not followed by jobctl",
                 "[attacks]") {
    NEEDS_USERS();
    make_file(precious / "queued.json", root, 0644, R"({"id":"queued","status":"queued"})");
    make_file(precious / "dead.json", root, 0644, record_of_dead_job("dead").dump());
    const auto before = everything_in(precious);
    const std::vector<std::pair<std::string, Words>> commands{
        {"queued", {"cancel"}},
        {"dead", {"status"}},
        {"dead", {"result"}},
        {"dead", {"wait", "--timeout", "1s"}},
        {"queued", {"settle", "--as", "failed", "--because", "it is"}}};
    for (const auto& [name, command] : commands) {
        CAPTURE(name, command[0]);
        const auto link = sticky / (command[0] + ".json");
        make_link(link, user_b, precious / (name + ".json"));
        auto words = command;
        words.push_back(link);
        const auto seen = play_ctl(root, words);
        INFO(said(seen));
        judge("link at a job's name", everything_in(precious) == before, refused);
        CHECK(seen.code() != 0);
        CHECK((names_uid(seen, user_b) || contains(seen.err + seen.out, link.string()) ||
               contains(seen.err + seen.out, precious.string())));
    }
}

TEST_CASE_METHOD(Attacked, "one's own link to a job is followed", "[attacks]") {
    NEEDS_USERS();
    for (const uid_t user : {root, user_a}) {
        CAPTURE(user);
        const auto home = make_directory(dir / ("own-" + std::to_string(user)), user, 0755);
        const auto link = home / "link.json";
        make_link(link, user, home / "real.json");
        const auto seen = play_shim(user, {"--job", link, "--", "true"});
        INFO(said(seen));
        judge("one's own link",
              seen.ended() == "exit 0" && fs::is_symlink(link) &&
                  at(exit_of(home / "real.json"), "/reason") == "success",
              true_end);
        CHECK(play_ctl(user, {"status", link}).ended() == "exit 0");
    }
}

TEST_CASE_METHOD(Attacked, "what a link leads to is never moved aside", "[attacks]") {
    NEEDS_USERS();
    const auto diary = a / "diary.txt";
    make_file(diary, user_a, 0600, "dear diary\n");
    make_link(a / "link.json", user_a, diary);
    const auto seen = play_shim(user_a, {"--job", a / "link.json", "--", "true"});
    INFO(said(seen));
    judge("a link to something else", fs::exists(diary) && slurp(diary) == "dear diary\n", refused);
    CHECK(seen.ended() == "exit 125");
    CHECK(names_in(a, ".corrupt-").empty());
}

TEST_CASE_METHOD(Attacked, "a survey of a directory does not follow the links in it", "[attacks]") {
    NEEDS_USERS();
    const auto jobs = make_directory(b / "jobs", user_b, 0755);
    make_file(precious / "dead.json", root, 0600, record_of_dead_job("dead").dump(2));
    make_file(precious / "old.json", root, 0600, record_of_old_job("old").dump(2));
    make_file(precious / "foreign.json", root, 0600,
              R"({"status":"completed","completedAt":"2020-01-01T00:00:00.000Z","precious":1})");
    for (const char* name : {"dead.json", "old.json", "foreign.json"})
        make_link(jobs / name, user_b, precious / name);
    const auto before = everything_in(precious);
    for (const auto& command : surveys) {
        CAPTURE(command[0]);
        const auto seen = play_ctl(root, survey_of(command, jobs));
        INFO(said(seen));
        judge("a link in a directory", everything_in(precious) == before, refused);
    }
}

TEST_CASE_METHOD(Attacked, "prune removes nothing outside its directory because of a boot id",
                 "[attacks]") {
    NEEDS_USERS();
    const auto jobs = make_directory(b / "jobs", user_b, 0755);
    const auto unrecorded = dir / "state/jobshim/unrecorded";
    fs::create_directories(unrecorded);
    make_file(precious / "file-7-9.heartbeat", root, 0600, "precious");
    for (const bool old : {true, false}) {
        auto record = old ? record_of_old_job("job") : record_of_dead_job("job");
        record["jobshim"]["shim"].update(
            {{"bootId",
              (fs::path("..") / precious.lexically_relative(unrecorded.parent_path()) / "file")
                  .string()},
             {"pid", 7},
             {"startTime", 9}});
        make_file(jobs / (old ? "old.json" : "dead.json"), user_b, 0644, record.dump());
    }
    for (const auto& command : surveys) {
        const auto seen = play_ctl(root, survey_of(command, jobs));
        INFO(said(seen));
        judge("boot id with ../", slurp(precious / "file-7-9.heartbeat") == "precious", refused);
    }
}

TEST_CASE_METHOD(Attacked, "prune removes no log elsewhere because a record names it",
                 "[attacks]") {
    NEEDS_USERS();
    // A program in a sandbox of A's has A's uid too, but may write only to this directory.
    const auto jobs = make_directory(a / "sandbox", user_a, 0755);
    const auto elsewhere = make_directory(a / "elsewhere", user_a, 0755);
    make_file(elsewhere / "thesis.txt", user_a, 0600, "precious");
    constexpr timespec then{1'577'836'800, 0};
    const timespec times[2] = {then, then};
    REQUIRE(utimensat(AT_FDCWD, (elsewhere / "thesis.txt").c_str(), times, 0) == 0);
    auto record = record_of_old_job("job");
    record["jobshim"]["log"] = {{"file", elsewhere / "thesis.txt"}, {"offset", 0}};
    make_file(jobs / "job.json", user_a, 0600, record.dump());
    const auto seen = play_ctl(user_a, survey_of({"prune", "--older-than", "1h"}, jobs));
    INFO(said(seen));
    judge("log elsewhere", fs::exists(elsewhere / "thesis.txt"), refused);
}

TEST_CASE_METHOD(Attacked, "prune --logs removes a log elsewhere only if all of it is the job's",
                 "[attacks]") {
    NEEDS_USERS();
    const auto jobs = make_directory(a / "jobs", user_a, 0755);
    const auto logs = make_directory(a / "logs", user_a, 0755);
    constexpr timespec then{1'577'836'800, 0};
    const timespec times[2] = {then, then};
    const auto add_job = [&](const std::string& id, const std::string& log, int offset) {
        auto record = id == "recent" ? record_of_dead_job(id) : record_of_old_job(id);
        record["logFile"] = logs / log;
        record["jobshim"]["log"] = {{"file", logs / log}, {"offset", offset}};
        record["jobshim"]["heartbeat"]["file"] = jobs / (id + ".heartbeat");
        make_file(jobs / (id + ".json"), user_a, 0600, record.dump());
        make_file(logs / log, user_a, 0600, "one line\n");
        REQUIRE(utimensat(AT_FDCWD, (logs / log).c_str(), times, 0) == 0);
    };
    add_job("whole", "whole.log", 0);
    add_job("rest", "rest.log", 4);
    add_job("shared", "shared.log", 0);
    add_job("recent", "shared.log", 0);
    make_file(precious / "root.log", root, 0600, "precious");
    make_link(logs / "link.log", user_a, precious / "root.log");
    auto linked = record_of_old_job("linked");
    linked["jobshim"]["log"] = {{"file", logs / "link.log"}, {"offset", 0}};
    make_file(jobs / "linked.json", user_a, 0600, linked.dump());
    const auto seen = play_ctl(user_a, survey_of({"prune", "--logs", "--older-than", "1h"}, jobs));
    INFO(said(seen));
    judge("logs elsewhere",
          names_in(logs, "") == Words{"link.log", "rest.log", "shared.log"} &&
              fs::exists(precious / "root.log"),
          no_job);
}

TEST_CASE_METHOD(Attacked,
                 "prune removes no log of another user's, whatever is exchanged at any call",
                 "[attacks][sweep]") {
    NEEDS_USERS();
    if (!in_path("strace")) SKIP_TEST("no strace");
    // Root once ran a job in B's directory; that record is root's, and names no log.
    const auto jobs = make_directory(b / "jobs", user_b, 0755);
    const auto log = precious / "audit.log";
    auto forged = record_of_old_job("job");
    forged["jobshim"]["log"] = {{"file", log}, {"offset", 0}};
    const auto restore = [&] {
        for (const auto& name : names_in(jobs, "")) fs::remove(jobs / name);
        make_file(jobs / "job.json", user_b, 0644, forged.dump());
        make_file(jobs / "roots", root, 0644, record_of_old_job("roots").dump());
        make_file(log, root, 0600, "precious");
        constexpr timespec then{1'577'836'800, 0};
        const timespec times[2] = {then, then};
        REQUIRE(utimensat(AT_FDCWD, log.c_str(), times, 0) == 0);
    };
    restore();
    const Words argv{ctl_program, "prune", "--older-than", "1h", "--dir", jobs};
    const auto calls = Stopped::calls_of(*this, argv);
    REQUIRE(calls.size() > 20);
    for (const auto& call : calls) {
        CAPTURE(call.name, call.nth, call.line);
        restore();
        Stopped stopped(*this, call, argv);
        if (!stopped.is_stopped()) continue;
        // The job file may be gone by then.
        if (fs::exists(jobs / "job.json")) exchange(jobs / "job.json", jobs / "roots");
        stopped.resume_and_wait();
        judge("record exchanged during prune", fs::exists(log), refused);
        if (!fs::exists(log)) return;
    }
}

TEST_CASE_METHOD(Attacked, "prune --dry-run names every file that prune removes", "[attacks]") {
    NEEDS_USERS();
    const auto jobs = make_directory(a / "jobs", user_a, 0755);
    make_file(jobs / "job.json", user_a, 0600, "{}");
    CHECK(play_shim(user_a, {"-j", jobs / "job.json", "--log", jobs / "job.log", "--", "true"})
              .ended() == "exit 0");
    put(jobs / "job.json.corrupt-20200101T000000", "x");
    auto record = read_json(jobs / "job.json");
    record["completedAt"] = "2020-01-01T00:00:00.000Z";
    put(jobs / "job.json", record.dump());
    constexpr timespec then{1'577'836'800, 0};
    const timespec times[2] = {then, then};
    REQUIRE(utimensat(AT_FDCWD, (jobs / "job.log").c_str(), times, 0) == 0);
    const auto before = names_in(jobs, "");
    const auto dry =
        play_ctl(user_a, survey_of({"prune", "--older-than", "1h", "--dry-run"}, jobs));
    CHECK(names_in(jobs, "") == before);
    CHECK(play_ctl(user_a, survey_of({"prune", "--older-than", "1h"}, jobs)).ended() == "exit 0");
    INFO(said(dry));
    const auto after = names_in(jobs, "");
    for (const auto& name : before) {
        CAPTURE(name);
        if (std::find(after.begin(), after.end(), name) == after.end())
            judge("removed, but not named", contains(dry.out, name), no_job);
    }
}

// ---------------------------------------------------------------------------------------------
// codex-companion's directories, whose names anybody can work out

namespace {

struct HostileCompanion {
    HostileCompanion(Attacked& box, uid_t user)
        : outside(box.make_directory(box.dir / ("outside-" + std::to_string(user)), user, 0755)),
          state(box.b / ("ws-" + std::to_string(user))) {
        Attacked::make_file(outside / "job.json", user, 0600,
                            R"({"id":"job","status":"running","phase":"running",)"
                            R"("createdAt":"2020-01-01T00:00:00.000Z","title":")" +
                                secret + R"(","request":{"prompt":")" + secret + R"("},"pid":)" +
                                std::to_string(dead_pid()) + "}");
        const Acting acting(user_b);
        Companion plugin(state);
        auto job = plugin.record("job", "running", dead_pid());
        job["createdAt"] = job["startedAt"] = "2020-01-01T00:00:00.000Z";
        plugin.write_both(job);
        fs::create_directory(state / "jobshim");
        fs::permissions(state / "jobshim", fs::perms::all);
        fs::permissions(state, fs::perms::all);
        fs::permissions(state / "jobs", fs::perms::all);
        fs::permissions(state / "state.json", fs::perms(0666));
    }
    void remove_entry() const {
        const Acting acting(user_b);
        Companion(state).dir;  // an empty index
    }
    bool discloses() const {
        for (const auto& where : {state, state / "jobs", state / "real"})
            if (!fs::is_symlink(where) && fs::is_directory(where) && found_below(where, secret))
                return true;
        return false;
    }

    const fs::path outside, state;
};

}  // namespace

TEST_CASE_METHOD(Attacked, "a companion's jobs directory that is a link is not followed",
                 "[attacks][long]") {
    NEEDS_USERS();
    for (const uid_t user : {root, user_a})
        for (const bool in_index : {true, false}) {
            CAPTURE(user, in_index);
            const HostileCompanion scene(*this, user);
            {
                const Acting acting(user_b);
                fs::remove_all(scene.state / "jobs");
                fs::create_symlink(scene.outside, scene.state / "jobs");
                if (!in_index)
                    put(scene.state / "state.json", R"({"version":1,"config":{},"jobs":[]})");
            }
            const auto before = everything_in(scene.outside);
            const auto seen = play_ctl(user, {"list", "--companion", scene.state}, 20s);
            INFO(said(seen));
            judge("companion: jobs is a link", everything_in(scene.outside) == before, refused);
            judge("companion: jobs is a link", !scene.discloses(), refused);
            judge("companion: jobs is a link", !seen.hung, refused);
            fs::remove_all(scene.state);
            fs::remove_all(scene.outside);
        }
}

TEST_CASE_METHOD(Attacked, "a companion's jobs directory exchanged for a link before a rename",
                 "[attacks][long]") {
    NEEDS_USERS();
    if (!in_path("strace")) SKIP_TEST("no strace");
    const HostileCompanion scene(*this, root);
    make_link(scene.state / "link", user_b, scene.outside);
    const auto before = everything_in(scene.outside);
    const auto jobs = scene.state / "jobs", own = scene.state / "jobshim";
    // As soon as the next version is there, B exchanges the directories: the rename that is to put
    // it into place is held back for that.
    const Attacker attacker(user_b, {}, [=] {
        while (names_in(own, "job").empty() && names_in(own, "mirror").empty() &&
               names_in(jobs, ".job").empty()) {
        }
        renameat2(AT_FDCWD, jobs.c_str(), AT_FDCWD, (jobs.parent_path() / "link").c_str(),
                  RENAME_EXCHANGE);
        for (;;) pause();
    });
    auto reader = spawn(under_strace(dir / "trace",
                                     {"-e", "trace=renameat2,rename,renameat", "-e",
                                      "inject=renameat2,rename,renameat:delay_enter=300ms"},
                                     {ctl_program, "list", "--companion", scene.state}));
    const auto seen = watch(reader, 30s);
    INFO(said(seen) << slurp(dir / "trace"));
    judge("companion: jobs exchanged", everything_in(scene.outside) == before, refused);
    judge("companion: jobs exchanged", !scene.discloses(), refused);
}

TEST_CASE_METHOD(Attacked, "a companion's jobshim directory that is a link is not followed",
                 "[attacks][long]") {
    NEEDS_USERS();
    const HostileCompanion scene(*this, root);
    {
        const Acting acting(user_b);
        fs::remove_all(scene.state / "jobshim");
        fs::create_symlink(precious, scene.state / "jobshim");
    }
    make_file(precious / "other.json", root, 0600, record_of_dead_job("other").dump());
    const auto before = everything_in(precious);
    const auto seen = play_ctl(root, {"list", "--companion", scene.state}, 20s);
    INFO(said(seen) << as_ascii(everything_in(precious)));
    judge("companion: jobshim is a link", everything_in(precious) == before, refused);
    const auto shim =
        play_shim(root, {"--companion", scene.state, "--id", "job2", "--", "true"}, 20s);
    INFO(said(shim));
    judge("companion: jobshim is a link", everything_in(precious) == before, refused);
    CHECK(shim.ended() == "exit 125");
}

TEST_CASE_METHOD(Attacked, "a foreign state directory is not touched by --all-states",
                 "[attacks][long]") {
    NEEDS_USERS();
    const HostileCompanion scene(*this, root);
    const auto tmp = dir / "tmp";
    fs::create_directories(tmp / "codex-companion");
    fs::rename(scene.state, tmp / "codex-companion" / "ws-0123456789abcdef");
    const auto before = everything_in(tmp);
    auto options = as(root);
    options.env["TMPDIR"] = tmp;
    options.env["CLAUDE_PLUGIN_DATA"] = "";
    auto reader = spawn({ctl_program, "list", "--all-states"}, options);
    const auto seen = watch(reader, 20s);
    INFO(said(seen));
    judge("companion: --all-states", everything_in(tmp) == before, refused);
}

// ---------------------------------------------------------------------------------------------
// Signals

TEST_CASE_METHOD(Attacked, "cancel does not signal a process because a record calls it the shim",
                 "[attacks]") {
    NEEDS_USERS();
    const auto jobs = make_directory(b / "jobs", user_b, 0755);
    for (const uid_t owner : {root, user_a, user_b}) {
        CAPTURE(owner);
        const auto victim = stranger(owner);
        auto record = record_of_dead_job("job");
        record["jobshim"]["shim"] = identity_of(victim.pid());
        record["jobshim"]["worker"] = nullptr;
        make_file(jobs / "job.json", user_b, 0644, record.dump());
        const auto seen = play_cancel(root, jobs / "job.json");
        INFO(said(seen));
        judge("cancel: a stranger as the shim", is_unharmed(victim.pid()), refused);
        CHECK(seen.code() != 0);
        CHECK_FALSE(seen.hung);
        victim.kill(SIGKILL);
    }
}

TEST_CASE_METHOD(Attacked, "cancel does not signal a process because a lock is held in its name",
                 "[attacks]") {
    NEEDS_USERS();
    const auto jobs = make_directory(b / "jobs", user_b, 0755);
    for (const uid_t owner : {root, user_a}) {
        CAPTURE(owner);
        const auto victim = stranger(owner);
        const auto file = jobs / ("job-" + std::to_string(owner) + ".json");
        auto record = record_of_dead_job("job");
        record["jobshim"]["shim"] = identity_of(victim.pid());
        record["jobshim"]["worker"] = nullptr;
        make_file(file, user_b, 0644, record.dump());
        make_file(heartbeat_of(file), user_b, 0644, heartbeat(file, identity_of(victim.pid())));
        const Attacker holder(user_b, lock_bytes(heartbeat_of(file), F_WRLCK, 0, 2));
        const auto seen = play_cancel(root, file);
        INFO(said(seen));
        judge("cancel: a stranger as the shim, locked", is_unharmed(victim.pid()), refused);
        CHECK(seen.code() != 0);
        victim.kill(SIGKILL);
    }
}

TEST_CASE_METHOD(Attacked, "cancel of one's queued job does not heed another's heartbeat file",
                 "[attacks]") {
    NEEDS_USERS();
    const auto victim = stranger(user_a);
    const auto file = sticky / "job.json";
    make_file(file, user_a, 0644, R"({"id":"job","status":"queued"})");
    make_file(heartbeat_of(file), user_b, 0644, heartbeat(file, identity_of(victim.pid())));
    const Attacker holder(user_b, lock_bytes(heartbeat_of(file), F_WRLCK, 0, 2));
    const auto seen = play_cancel(user_a, file);
    INFO(said(seen));
    judge("cancel: a foreign heartbeat file", is_unharmed(victim.pid()), refused);
    CHECK_FALSE(seen.hung);
    victim.kill(SIGKILL);
}

TEST_CASE_METHOD(Attacked, "cancel gives up on a shim that does not end", "[attacks][long]") {
    NEEDS_USERS();
    // B's own job, in B's directory: its shim is real but for TERM.
    const auto jobs = make_directory(b / "jobs", user_b, 0755);
    const auto file = jobs / "job.json";
    const auto shim = stranger(user_b);
    SECTION("the process that the heartbeat file names") {
        auto record = record_of_dead_job("job");
        record["jobshim"]["shim"] = identity_of(shim.pid());
        record["jobshim"]["worker"] = nullptr;
        make_file(file, user_b, 0644, record.dump());
        make_file(heartbeat_of(file), user_b, 0644, heartbeat(file, identity_of(shim.pid())));
        const auto seen = play_cancel(root, file);
        INFO(said(seen));
        judge("cancel: TERM-proof", !seen.hung, is_unknown);
        CHECK(seen.code() != 0);
    }
    SECTION("the bytes are held by somebody") {
        make_file(heartbeat_of(file), user_b, 0644, "");
        make_file(file, user_b, 0644, record_of_dead_job("job").dump());
        const Attacker holder(user_b, lock_bytes(heartbeat_of(file), F_WRLCK, 0, 2));
        const auto seen = play_cancel(root, file);
        INFO(said(seen));
        judge("cancel: bytes held", !seen.hung, is_unknown);
        CHECK(seen.code() != 0);
    }
    SECTION("the process that holds the bytes, and is named") {
        Attacker holder(user_b, [&] {
            block_all_signals();
            make_file(heartbeat_of(file), user_b, 0644, "");
            lock_bytes(heartbeat_of(file), F_WRLCK, 0, 2)();
        });
        auto record = record_of_dead_job("job");
        record["jobshim"]["shim"] = identity_of(holder.pid());
        record["jobshim"]["worker"] = nullptr;
        make_file(file, user_b, 0644, record.dump());
        make_file(heartbeat_of(file), user_b, 0644, heartbeat(file, identity_of(holder.pid())));
        const auto seen = play_cancel(root, file);
        INFO(said(seen));
        judge("cancel: TERM-proof, locked", !seen.hung, is_unknown);
        CHECK(seen.ended() == "exit 124");
    }
    shim.kill(SIGKILL);
}

namespace {

/// A member of a group whose leader has ended, as a daemon is.
struct LonelyMember {
    pid_t leader = 0, member = 0;
};
LonelyMember lonely_member(Attacked& box, uid_t user, const fs::path& told) {
    auto options = box.as(user);
    options.before_exec = [user] {
        start_limited(user);
        block_all_signals();
    };
    auto leader = box.spawn(
        {"sh", "-c", "'" + box.await_program.string() + "' & echo $! > '" + told.string() + "'"},
        options);
    leader.wait();
    return {leader.pid(), static_cast<pid_t>(std::stol(slurp(told)))};
}

}  // namespace

TEST_CASE_METHOD(Attacked, "a record that a container's root forged kills nothing on the host",
                 "[attacks]") {
    NEEDS_USERS();
    // On a volume that both share. The container's root knows, or guesses, the host's namespace.
    const auto jobs = make_directory(dir / "volume", root, 0755);
    const auto file = jobs / "job.json";
    auto dead_shim = identity_of(getpid());
    dead_shim["pid"] = dead_pid();
    dead_shim["startTime"] = 1;
    SECTION("list, and the rest of a group") {
        const auto daemon = lonely_member(*this, root, dir / "daemon");
        const Json worker{{"pid", daemon.leader},
                          {"startTime", 2},
                          {"group", "own"},
                          {"session", process_stat(daemon.member).session}};
        auto record = record_of_dead_job("job");
        record["jobshim"]["shim"] = dead_shim;
        record["jobshim"]["worker"] = worker;
        make_file(file, root, 0600, record.dump());
        make_file(heartbeat_of(file), root, 0600, heartbeat(file, dead_shim, worker));
        REQUIRE(is_unharmed(daemon.member));
        const auto seen = play_ctl(root, {"list", "--dir", jobs});
        INFO(said(seen));
        judge("container: list", is_unharmed(daemon.member), is_lost);
        ::kill(daemon.member, SIGKILL);
    }
    SECTION("cancel, and an orphan") {
        const auto victim = stranger(root);
        const auto worker = worker_identity_of(victim.pid());
        auto record = record_of_dead_job("job");
        record["jobshim"]["shim"] = dead_shim;
        record["jobshim"]["worker"] = worker;
        make_file(file, root, 0600, record.dump());
        make_file(heartbeat_of(file), root, 0600, heartbeat(file, dead_shim, worker));
        const auto seen = play_cancel(root, file, 5s);
        INFO(said(seen));
        judge("container: cancel", is_unharmed(victim.pid()), refused);
        victim.kill(SIGKILL);
    }
}

TEST_CASE_METHOD(Attacked, "another's process in a heartbeat file is not signalled as an orphan",
                 "[attacks]") {
    NEEDS_USERS();
    const auto jobs = make_directory(b / "jobs", user_b, 0755);
    auto dead_shim = identity_of(getpid());
    dead_shim["pid"] = dead_pid();
    dead_shim["startTime"] = 1;
    for (const uid_t owner : {root, user_a}) {
        CAPTURE(owner);
        const auto victim = stranger(owner);
        const auto worker = worker_identity_of(victim.pid());
        const auto file = jobs / "job.json";
        auto record = record_of_dead_job("job");
        record["jobshim"]["shim"] = dead_shim;
        record["jobshim"]["worker"] = worker;
        make_file(file, user_b, 0644, record.dump());
        make_file(heartbeat_of(file), user_b, 0644, heartbeat(file, dead_shim, worker));
        const auto seen = play_cancel(root, file, 5s);
        INFO(said(seen));
        judge("forged orphan", is_unharmed(victim.pid()), refused);
        CHECK(seen.code() != 0);
        play_ctl(root, {"list", "--dir", jobs});
        judge("forged orphan", is_unharmed(victim.pid()), refused);
        victim.kill(SIGKILL);
    }
}

TEST_CASE_METHOD(Attacked, "a record that was changed from keep to kill kills nobody",
                 "[attacks]") {
    NEEDS_USERS();
    for (const bool in_place : {false, true}) {
        CAPTURE(in_place);
        const auto file = open_ / (in_place ? "written.json" : "replaced.json");
        const auto told = open_ / (in_place ? "pid-1" : "pid-2");
        if (in_place) make_file(file, user_a, 0666, "{}");  // as careless as its directory
        auto shim =
            begin(user_a, {shim_program, "-j", file, "--on-shim-death", "keep", "--", "sh", "-c",
                           "'" + await_program.string() + "' & echo $! > '" + told.string() +
                               "'; exec '" + await_program.string() + "'"});
        const auto worker = worker_of(file);
        REQUIRE(wait_until([&] { return contains(slurp(told), "\n"); }));
        const auto member = static_cast<pid_t>(std::stol(slurp(told)));
        shim.kill(SIGKILL);
        shim.wait();
        ::kill(worker, SIGKILL);
        REQUIRE(wait_until([&] { return !alive(worker); }));
        auto record = read_json(file);
        REQUIRE(at(record, "/jobshim/onShimDeath") == "keep");
        record["jobshim"]["onShimDeath"] = "kill";
        {
            const Acting acting(user_b);
            if (!in_place) fs::rename(file, open_ / "away");
            put(file, record.dump(2));
            if (!in_place) fs::permissions(file, fs::perms(0644));
        }
        const auto seen = play_ctl(user_a, {"list", "--dir", open_});
        INFO(said(seen));
        // A SIGKILL shows at once, or when the process is gone.
        judge("keep became kill", is_unharmed(member), is_lost);
        ::kill(member, SIGKILL);
    }
}

TEST_CASE_METHOD(Attacked,
                 "a heartbeat file that was moved to another job does not keep it running",
                 "[attacks]") {
    NEEDS_USERS();
    const auto dead = open_ / "dead.json", alive = open_ / "alive.json";
    make_file(dead, user_a, 0644, record_of_dead_job("dead").dump(2));
    auto shim = begin(
        user_a, {shim_program, "-j", alive, "--heartbeat-interval", "1h", "--", await_program});
    worker_of(alive);
    {
        const Acting acting(user_b);
        fs::rename(heartbeat_of(alive), heartbeat_of(dead));
    }
    for (const uid_t user : {user_a, root}) {
        CAPTURE(user);
        const auto seen = play_ctl(user, {"status", "--json", dead});
        INFO(said(seen));
        judge("heartbeat file moved",
              state_in(seen) == "failed" && contains(seen.out, "not recorded"), is_lost);
        const auto other = play_ctl(user, {"status", "--json", alive});
        INFO(said(other));
        judge("heartbeat file moved", state_in(other) == "running", true_end);
    }
    kill_shim(shim, alive);
}

// ---------------------------------------------------------------------------------------------
// Another's files beside a job

TEST_CASE_METHOD(Attacked, "an ended job has ended, whatever lock another user holds beside it",
                 "[attacks]") {
    NEEDS_USERS();
    const auto file = sticky / "job.json";
    CHECK(play_shim(user_a, {"-j", file, "--", "true"}).ended() == "exit 0");
    fs::permissions(file, fs::perms(0644));
    REQUIRE_FALSE(fs::exists(heartbeat_of(file)));
    const Attacker other(user_b);
    make_file(heartbeat_of(file), user_b, 0644, heartbeat(file, identity_of(other.pid())));
    const Attacker holder(user_b, lock_bytes(heartbeat_of(file), F_WRLCK, 0, 2));
    for (const uid_t user : {user_a, root}) {
        CAPTURE(user);
        const auto seen = play_ctl(user, {"status", "--json", file});
        INFO(said(seen));
        judge("foreign lock, ended", state_in(seen) == "completed", true_end);
        const auto waited = play_ctl(user, {"wait", file}, 3s);
        INFO(said(waited));
        judge("foreign lock, ended", waited.ended() == "exit 0", true_end);
    }
}

TEST_CASE_METHOD(Attacked, "no end counts that stands in another user's heartbeat file",
                 "[attacks]") {
    NEEDS_USERS();
    auto dead_shim = identity_of(getpid());
    dead_shim["pid"] = dead_pid();
    const auto queued = sticky / "queued.json", dead = sticky / "dead.json";
    make_file(queued, user_a, 0644, R"({"id":"queued","status":"queued"})");
    auto record = record_of_dead_job("dead");
    record["jobshim"]["shim"] = dead_shim;
    make_file(dead, user_a, 0644, record.dump());
    for (const auto& file : {queued, dead})
        make_file(heartbeat_of(file), user_b, 0644, heartbeat(file, dead_shim, nullptr, true));
    for (const uid_t user : {user_b, user_a, root})
        for (const auto& file : {queued, dead}) {
            CAPTURE(user, file);
            const auto seen = play_ctl(user, {"status", "--json", file});
            INFO(said(seen));
            const auto state = state_in(seen);
            judge("foreign end",
                  file == queued ? state == "queued"
                                 : state == "failed" || state == "lost" || state == "unknown",
                  file == queued ? no_job : is_lost);
            CHECK(at(read_json(file), "/status") != "completed");
        }
}

TEST_CASE_METHOD(Attacked, "jobshim does not take over another user's heartbeat file",
                 "[attacks]") {
    NEEDS_USERS();
    for (const mode_t mode : {0666, 0600})
        for (const uid_t user : {user_a, root}) {
            CAPTURE(mode, user);
            const auto file = sticky / (std::to_string(mode) + std::to_string(user) + ".json");
            make_file(heartbeat_of(file), user_b, mode, "");
            const auto seen = play_shim(user, {"-j", file, "--", "true"});
            INFO(said(seen));
            judge("foreign heartbeat file", seen.ended() == "exit 125" && names_uid(seen, user_b),
                  refused);
            CHECK(slurp(heartbeat_of(file)).empty());
        }
}

TEST_CASE_METHOD(Attacked, "a read lock on a heartbeat file means nothing", "[attacks]") {
    NEEDS_USERS();
    const auto jobs = make_directory(a / "jobs", user_a, 0755);
    const auto file = jobs / "job.json";
    auto shim = begin(user_a, {shim_program, "-j", file, "--", await_program});
    kill_shim(shim, file);
    REQUIRE(fs::exists(heartbeat_of(file)));
    fs::permissions(heartbeat_of(file), fs::perms(0644));
    const Attacker holder(user_b, lock_bytes(heartbeat_of(file), F_RDLCK, 0, 2));
    const auto seen = play_ctl(user_a, {"status", "--json", "--no-reap", file});
    INFO(said(seen));
    judge("read lock", state_in(seen) == "lost", is_lost);
    const auto again = play_shim(user_a, {"-j", file, "--", "true"});
    INFO(said(again));
    judge("read lock", again.ended() == "exit 0", true_end);
}

TEST_CASE_METHOD(Attacked, "wait does not wait for another user's process named jobshim",
                 "[attacks]") {
    NEEDS_USERS();
    const auto file = a / "job.json";
    CHECK(play_shim(user_a, {"-j", file, "--", "false"}).ended() == "exit 1");
    const auto fake = b / "jobshim";
    fs::copy_file(await_program, fake);
    fs::permissions(fake, fs::perms(0755));
    // It waits for a file named -j, and so for ever.
    const auto liar = begin(user_b, {fake, "-j", file});
    REQUIRE(wait_until([&] {
        return contains(slurp("/proc/" + std::to_string(liar.pid()) + "/comm"), "jobshim");
    }));
    for (const uid_t user : {user_a, root}) {
        const auto seen = play_ctl(user, {"wait", file}, 3s);
        INFO(said(seen));
        judge("a process named jobshim", seen.ended() == "exit 1", true_end);
    }
    liar.kill(SIGKILL);
}

TEST_CASE_METHOD(Attacked, "a survey waits once, not for each heartbeat file that is locked",
                 "[attacks][long]") {
    NEEDS_USERS();
    const auto jobs = make_directory(b / "jobs", user_b, 0755);
    std::vector<std::unique_ptr<Attacker>> holders;
    for (int number = 0; number < 4; ++number) {
        const auto file = jobs / ("job-" + std::to_string(number) + ".json");
        const auto record = record_of_dead_job("job");
        make_file(file, user_b, 0644, record.dump());
        make_file(heartbeat_of(file), user_b, 0644,
                  heartbeat(file, at(record, "/jobshim/shim"), at(record, "/jobshim/worker")));
        holders.push_back(
            std::make_unique<Attacker>(user_b, lock_bytes(heartbeat_of(file), F_WRLCK, 1)));
    }
    const auto seen = play_ctl(root, {"list", "--dir", jobs}, 25s);
    INFO(said(seen));
    judge("byte 1 held", seen.ended() == "exit 0" && seen.wall < stretched(9s), is_lost);
}

// ---------------------------------------------------------------------------------------------
// Names that were taken before

namespace {

void play_squatted_start(Attacked& box, const std::string& scene) {
    for (const auto& name : temporary_names)
        for (const auto& [kind, how] : squats)
            for (const uid_t user : {user_a, root}) {
                CAPTURE(name, kind, user);
                const auto place = box.make_directory(
                    box.dir / (scene + name + kind + std::to_string(user)), root, 01777);
                squat(place / name, how);
                const auto seen =
                    box.play_shim(user, {"-j", place / "job.json", "--", "sh", "-c", "exit 3"});
                INFO(said(seen));
                box.judge("temporary name taken",
                          seen.ended() == "exit 3" && at(exit_of(place / "job.json"), "/code") == 3,
                          true_end);
            }
}

}  // namespace

TEST_CASE_METHOD(Attacked, "a job starts although another user has taken its temporary names",
                 "[attacks]") {
    NEEDS_USERS();
    play_squatted_start(*this, "start-");
}

TEST_CASE_METHOD(Attacked, "a job is settled although another user has taken its temporary names",
                 "[attacks]") {
    NEEDS_USERS();
    for (const auto& name : temporary_names)
        for (const auto& [kind, how] : squats) {
            CAPTURE(name, kind);
            const auto place = make_directory(dir / ("settle-" + name + kind), root, 01777);
            make_file(place / "job.json", user_a, 0644, record_of_dead_job("job").dump());
            squat(place / name, how);
            const auto seen = play_ctl(user_a, {"status", place / "job.json"});
            INFO(said(seen));
            judge("temporary name taken, settle",
                  at(exit_of(place / "job.json"), "/reason") == "shim-lost", is_lost);
        }
}

TEST_CASE_METHOD(Attacked, "a heartbeat file's name that another user has taken is named",
                 "[attacks]") {
    NEEDS_USERS();
    for (const auto& [kind, how] : squats) {
        CAPTURE(kind);
        const auto place = make_directory(dir / ("heartbeat-" + kind), root, 01777);
        squat(place / "job.heartbeat", how);
        const auto seen = play_shim(user_a, {"-j", place / "job.json", "--", "true"});
        INFO(said(seen));
        judge("heartbeat's name taken",
              is_refused(seen, user_b, place / "job.heartbeat") &&
                  (how != Squat::file || names_uid(seen, user_b)),
              refused);
        // And readers of a dead job say what they know, whether they can record it or not.
        make_file(place / "job.json", user_a, 0644, record_of_dead_job("job").dump());
        const auto shown = play_ctl(user_a, {"status", "--json", place / "job.json"});
        INFO(said(shown));
        judge("heartbeat's name taken, status",
              state_in(shown) == "failed" || state_in(shown) == "lost", is_lost);
        if (at(read_json(place / "job.json"), "/status") != "failed")
            CHECK(contains(shown.out + shown.err, "not recorded"));
    }
}

TEST_CASE_METHOD(Attacked, "a job is cancelled although another user has taken the request's name",
                 "[attacks][long]") {
    NEEDS_USERS();
    for (const auto& [kind, how] : squats)
        for (const bool orphaned : {false, true}) {
            CAPTURE(kind, orphaned);
            const auto place =
                make_directory(dir / ("cancel-" + kind + (orphaned ? "-orphan" : "")), root, 01777);
            const auto file = place / "job.json";
            auto shim = begin(
                user_a, {shim_program, "-j", file, "--on-shim-death", "keep", "--", await_program});
            const auto worker = worker_of(file);
            if (orphaned) kill_shim(shim, file);
            squat(place / "job.json.cancel", how);
            const auto seen = play_cancel(user_a, file);
            INFO(said(seen));
            judge("request's name taken",
                  seen.ended() == "exit 0" && at(exit_of(file), "/reason") == "cancelled",
                  true_end);
            shim.kill(SIGKILL);
            ::kill(worker, SIGKILL);
            shim.wait();
        }
}

TEST_CASE_METHOD(Attacked, "a request to cancel one job does not cancel another", "[attacks]") {
    NEEDS_USERS();
    const auto one = open_ / "one.json", other = open_ / "other.json";
    const auto stubborn = "trap '' TERM; touch '" + (open_ / "deaf").string() + "'; while :; do '" +
                          await_program.string() + "' '" + (open_ / "one-go").string() +
                          "' && exit 0; done";
    auto first = begin(user_a, {shim_program, "-j", one, "--", "sh", "-c", stubborn});
    auto second = begin(
        user_a, {shim_program, "-j", other, "--", "sh", "-c",
                 "'" + await_program.string() + "' '" + (open_ / "go").string() + "'; exit 3"});
    worker_of(one);
    worker_of(other);
    REQUIRE(wait_until([&] { return fs::exists(open_ / "deaf"); }));
    auto canceller = begin(user_a, {ctl_program, "cancel", one, "--kill-after", "60s"});
    const auto is_request = [](const std::string& name) { return contains(name, "cancel"); };
    std::string request;
    REQUIRE(wait_until([&] {
        for (const auto& name : names_in(open_, "one.json"))
            if (is_request(name)) request = name;
        return !request.empty() && !slurp(open_ / request).empty();
    }));
    {
        const Acting acting(user_b);
        auto name = request;
        name.replace(name.find("one"), 3, "other");
        fs::rename(open_ / request, open_ / name);
    }
    put(open_ / "go", "");
    const auto seen = watch(second, 10s);
    INFO(said(seen));
    judge("request moved", at(exit_of(other), "/reason") == "exit-code", true_end);
    CHECK(at(read_json(other), "/status") == "failed");
    put(open_ / "one-go", "");
    watch(first, 10s);
    watch(canceller, 10s);
}

// ---------------------------------------------------------------------------------------------
// Logs

TEST_CASE_METHOD(Attacked, "logs does not print a file that a record of another's names",
                 "[attacks]") {
    NEEDS_USERS();
    const auto jobs = make_directory(b / "jobs", user_b, 0755);
    make_file(precious / "shadow", root, 0600, secret + "\n");
    make_file(a / "letter", user_a, 0600, secret + "\n");
    make_link(jobs / "link.log", user_b, precious / "shadow");
    {
        const Acting acting(user_b);
        REQUIRE(mkfifo((jobs / "fifo.log").c_str(), 0666) == 0);
        fs::create_directory(jobs / "directory.log");
    }
    for (const auto& log : {precious / "shadow", a / "letter", jobs / "link.log", jobs / "fifo.log",
                            jobs / "directory.log", fs::path("/dev/zero")})
        for (const bool old : {true, false}) {
            CAPTURE(log, old);
            auto record = old ? record_of_old_job("job") : record_of_dead_job("job");
            record["logFile"] = log;
            record["jobshim"]["log"] = {{"file", log}, {"offset", 0}};
            make_file(jobs / "job.json", user_b, 0644, record.dump());
            const auto seen = play_ctl(root, {"logs", jobs / "job.json"}, 5s);
            INFO(said(seen));
            // /dev/zero gives as much as anybody takes.
            judge("log named by a record",
                  !contains(seen.out, secret) && !seen.hung && seen.out.size() < 1'000'000,
                  refused);
            CHECK(seen.code() != 0);
            CHECK((names_uid(seen, user_b) || names_uid(seen, user_a) || names_uid(seen, root) ||
                   contains(seen.err, log.filename().string())));
        }
}

namespace {

void play_implied_log(Attacked& box, const std::string& scene) {
    for (const uid_t user : {user_a, root})
        for (const char* kind : {"link", "dangling", "fifo", "file"}) {
            CAPTURE(user, kind);
            const auto place = box.make_directory(
                box.dir / (scene + kind + "-" + std::to_string(user)), root, 01777);
            const auto home = box.make_directory(
                box.dir / (scene + "home-" + kind + std::to_string(user)), user, 0755);
            Attacked::make_file(home / ".bashrc", user, 0600, "alias ll='ls -l'\n");
            const auto before = everything_in(home);
            const auto others = living_descendants();
            const auto log = place / "job.log";
            const std::string what = kind;
            if (what == "link") Attacked::make_link(log, user_b, home / ".bashrc");
            if (what == "dangling") Attacked::make_link(log, user_b, home / ".profile");
            if (what == "file") Attacked::make_file(log, user_b, 0666, "");
            if (what == "fifo") {
                const Acting acting(user_b);
                REQUIRE(mkfifo(log.c_str(), 0222) == 0);
                fs::permissions(log, fs::perms(0222));
            }
            const auto seen = box.play_shim(
                user, {"--detach", "--job", place / "job.json", "--", "sh", "-c", "echo evil"}, 4s);
            if (seen.ended() == "exit 0") box.play_ctl(user, {"wait", place / "job.json"});
            INFO(said(seen));
            box.judge("implied log", !seen.hung && everything_in(home) == before, refused);
            CHECK(is_refused(seen, user_b, log));
            // What hangs there cannot be reached otherwise.
            for (const pid_t pid : living_descendants())
                if (std::find(others.begin(), others.end(), pid) == others.end())
                    ::kill(pid, SIGKILL);
        }
}

}  // namespace

TEST_CASE_METHOD(Attacked, "the log that --detach implies is never another user's", "[attacks]") {
    NEEDS_USERS();
    play_implied_log(*this, "log-");
}

TEST_CASE_METHOD(Attacked, "a log that was named by hand may be a link or a pipe", "[attacks]") {
    NEEDS_USERS();
    make_link(a / "link.log", user_a, a / "real.log");
    const auto seen =
        play_shim(user_a, {"-j", a / "job.json", "--log", a / "link.log", "--", "echo", "line"});
    INFO(said(seen));
    judge("one's own log", seen.ended() == "exit 0" && slurp(a / "real.log") == "line\n", true_end);

    // A pipe that may only be written to.
    const auto pipe = a / "pipe.log";
    {
        const Acting acting(user_a);
        must(mkfifo(pipe.c_str(), 0600), "mkfifo");
    }
    const Fd reader(open(pipe.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    fs::permissions(pipe, fs::perms(0222));
    const auto piped =
        play_shim(user_a, {"-j", a / "piped.json", "--log", pipe, "--", "echo", "line"});
    INFO(said(piped));
    char line[16];
    judge("one's own pipe", piped.ended() == "exit 0" && read(reader.get(), line, sizeof line) == 5,
          true_end);
}

TEST_CASE_METHOD(Attacked, "jobshim waits for nobody to open the log that was named", "[attacks]") {
    NEEDS_USERS();
    const auto pipe = sticky / "pipe.log", leased = sticky / "leased.log";
    const Attacker other(user_b, [&] {
        must(mkfifo(pipe.c_str(), 0600), "mkfifo");
        fs::permissions(pipe, fs::perms(0222));
        put(leased, "");
        fs::permissions(leased, fs::perms(0666));
        block_all_signals();
        const int fd = checked(open(leased.c_str(), O_RDONLY | O_CLOEXEC), "open");
        if (fcntl(fd, F_SETLEASE, F_RDLCK) != 0) fs::remove(leased);
    });
    for (const auto& log : {pipe, leased}) {
        if (!fs::exists(log)) SKIP_TEST("no leases on this file system");
        CAPTURE(log);
        const auto seen = play_shim(user_a, {"-j", a / "job.json", "--log", log, "--", "true"}, 5s);
        INFO(said(seen));
        judge("another's log", !seen.hung && is_refused(seen, user_b, log), refused);
    }
}

// ---------------------------------------------------------------------------------------------
// Privilege, and whose home it is

namespace {

/// Gives a program what makes the kernel start it with more than the caller's rights; false if
/// this file system cannot.
bool give_privilege(const fs::path& program, const std::string& what) {
    if (what == "setuid") return chmod(program.c_str(), 04755) == 0;
    if (what == "setgid") return chmod(program.c_str(), 02755) == 0;
    vfs_ns_cap_data capability{};
    capability.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE;
    capability.data[0].permitted = 1U << CAP_DAC_OVERRIDE;
    return setxattr(program.c_str(), "security.capability", &capability, XATTR_CAPS_SZ_2, 0) == 0;
}

/// False where the kernel ignores set-user-id bits: then there is nothing to refuse.
bool privilege_counts(const fs::path& directory) {
    struct statvfs info {};
    return statvfs(directory.c_str(), &info) == 0 && (info.f_flag & ST_NOSUID) == 0 &&
           contains(slurp("/proc/self/status"), "NoNewPrivs:\t0");
}

}  // namespace

TEST_CASE_METHOD(Attacked, "a program with somebody else's privileges refuses to work",
                 "[attacks]") {
    NEEDS_USERS();
    if (!privilege_counts(dir)) SKIP_TEST("set-user-id bits mean nothing here");
    make_file(a / "dead.json", user_a, 0600, record_of_dead_job("dead").dump());
    for (const char* what : {"setuid", "setgid", "capability"})
        for (const auto& program : {shim_program, ctl_program}) {
            CAPTURE(what, program);
            const auto copy = dir / "bin" / (program.filename().string() + "-" + what);
            fs::copy_file(program, copy);
            fs::permissions(copy, fs::perms(0755));
            if (!give_privilege(copy, what)) continue;
            const auto before = everything_in(a);
            const auto seen = play(user_a, program == shim_program
                                               ? Words{copy, "-j", a / "job.json", "--", "true"}
                                               : Words{copy, "status", a / "dead.json"});
            INFO(said(seen));
            judge("privileges", seen.ended() == "exit 125" && everything_in(a) == before, refused);
            CHECK(!seen.err.empty());
        }
}

TEST_CASE_METHOD(Attacked, "a job runs under no_new_privs", "[attacks]") {
    NEEDS_USERS();
    auto options = as(user_a);
    options.before_exec = [] {
        start_limited(user_a);
        must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
    };
    auto shim = spawn({shim_program, "-j", a / "job.json", "--", "sh", "-c", "exit 3"}, options);
    const auto seen = watch(shim, 10s);
    INFO(said(seen));
    judge("no_new_privs", seen.ended() == "exit 3" && at(exit_of(a / "job.json"), "/code") == 3,
          true_end);
}

TEST_CASE_METHOD(Attacked, "root leaves nothing in another user's home that HOME still names",
                 "[attacks]") {
    NEEDS_USERS();
    const auto* entry = getpwuid(root);
    if (entry == nullptr) SKIP_TEST("root has no entry in the password database");
    // What root's programs really write to its home must not stay there.
    const fs::path home = entry->pw_dir;
    const auto stand_in = home_of_root;
    const auto covered = [&] {
        must(unshare(CLONE_NEWNS), "unshare");
        must(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "mount --make-rprivate");
        must(mount(stand_in.c_str(), home.c_str(), nullptr, MS_BIND, nullptr), "mount --bind");
        start_limited(root);
    };
    if (!child_can(covered)) SKIP_TEST("cannot cover root's home here");
    auto options = as(root);
    options.env["HOME"] = a;
    options.env["XDG_STATE_HOME"] = "";
    options.before_exec = covered;
    const std::vector<Words> commands{{shim_program, "--id", "one", "--", "true"},
                                      {shim_program, "--detach", "--id", "two", "--", "true"},
                                      {ctl_program, "wait", "two"},
                                      {ctl_program, "list"},
                                      {ctl_program, "prune", "--older-than", "1h"},
                                      {ctl_program, "doctor"}};
    for (const auto& command : commands) {
        CAPTURE(command);
        auto process = spawn(command, options);
        const auto seen = watch(process, 10s);
        INFO(said(seen));
        judge("HOME kept under root", owned_by(root, a).empty(), true_end);
    }
    CHECK(found_below(stand_in, R"("success")"));
}

TEST_CASE_METHOD(Attacked, "the preload runs no jobshim of the directory it is started in",
                 "[attacks][long]") {
    NEEDS_USERS();
    if (!in_path("node")) SKIP_TEST("no node");
    const auto where = run({"sh", "-c", "command -v node"});
    const auto node = lines_of(where.out).at(0);
    const auto repository = make_directory(b / "repository", user_b, 0755);
    make_directory(repository / "bin", user_b, 0755);
    for (const auto& fake : {repository / "jobshim", repository / "bin/jobshim"})
        make_file(fake, user_b, 0755, "#!/bin/sh\n: > '" + (dir / "evil").string() + "'\n");
    const auto ran = dir / "data/state/repository-0123456789abcdef/seen.json";
    const auto tools = (dir / "no-such-directory").string();
    for (const auto& path : {std::string(), ":" + tools, tools + ":", tools + "::" + tools,
                             "." + (":" + tools), "bin:" + tools, "./bin:" + tools}) {
        CAPTURE(path);
        fs::remove(ran);
        // Without a limit to its memory: node reserves far more than it uses.
        auto host = spawn(
            {node, fixture("stand_in/scripts/codex-companion.mjs"), "task", "exit 0"},
            {.env = {{"NODE_OPTIONS",
                      "--import=" + fixture("../claude-code/plugin/lib/preload.mjs").string()},
                     {"PATH", path},
                     {"JOBSHIM", ""},
                     {"CLAUDE_PLUGIN_DATA", dir / "data"},
                     {"HOME", home_of_root}},
             .cwd = repository});
        const auto seen = watch(host, 20s);
        INFO(said(seen));
        judge("preload: PATH", !fs::exists(dir / "evil"), no_job);
        CHECK(fs::exists(ran));
        fs::remove(dir / "evil");
    }
}

TEST_CASE_METHOD(Attacked, "a worker is given no descriptor of its shim", "[attacks]") {
    NEEDS_USERS();
    for (const uid_t user : {root, user_a}) {
        const auto home = make_directory(dir / ("fds-" + std::to_string(user)), user, 0755);
        const auto seen = play_shim(
            user,
            {"-j", home / "job.json", "--log", home / "job.log", "--", "sh", "-c",
             "for fd in /proc/$$/fd/*; do readlink $fd; done > '" + (home / "fds").string() + "'"});
        INFO(said(seen));
        const auto open_files = slurp(home / "fds");
        INFO(open_files);
        judge("descriptors",
              contains(open_files, "job.log") && !contains(open_files, "heartbeat") &&
                  !contains(open_files, "json") && !contains(open_files, home.string() + "\n"),
              true_end);
    }
}

TEST_CASE_METHOD(Attacked, "root leaves no file of its own in a user's directory", "[attacks]") {
    NEEDS_USERS();
    // What A's own programs, in a sandbox, can do to keep root from settling.
    const auto rig = [&](const fs::path& jobs, bool squatted) {
        make_directory(jobs, user_a, 0755);
        make_file(jobs / "job.json", user_a, 0644, record_of_dead_job("job").dump());
        if (!squatted) return;
        for (const auto& name : temporary_names) {
            make_directory(jobs / name, user_a, 0755);
            make_file(jobs / name / "inside", user_a, 0644, "");
        }
    };
    const auto look = [&](const fs::path& jobs, const std::string& what) {
        for (const auto& command : {Words{"status"}, Words{"result"}, Words{"cancel"}}) {
            auto words = command;
            words.push_back(jobs / "job.json");
            const auto seen = command[0] == "cancel" ? play_cancel(root, jobs / "job.json")
                                                     : play_ctl(root, words);
            CAPTURE(what, command);
            INFO(said(seen));
            judge(what, owned_by(root, jobs).empty() && !seen.hung, is_lost);
        }
        for (const auto& command : surveys) {
            const auto seen = play_ctl(root, survey_of(command, jobs));
            CAPTURE(what, command);
            INFO(said(seen));
            judge(what, owned_by(root, jobs).empty() && !seen.hung, is_lost);
        }
        const auto seen = play_ctl(user_a, {"status", jobs / "job.json"});
        INFO(said(seen));
        CHECK(seen.code() == 1);
    };
    SECTION("it settles") {
        rig(a / "jobs", false);
        look(a / "jobs", "root settles");
        CHECK(at(exit_of(a / "jobs/job.json"), "/reason") == "shim-lost");
    }
    SECTION("its temporary names are taken") {
        rig(a / "jobs", true);
        look(a / "jobs", "root settles, names taken");
        const auto again = play_shim(user_a, {"-j", a / "jobs/job.json", "--", "true"});
        INFO(said(again));
        judge("root settled, A runs it again", again.ended() == "exit 0", true_end);
    }
    SECTION("the disk is full") {
        if (const auto why = why_no_volume("tmpfs"); !why.empty()) SKIP_TEST(why);
        const Volume volume(dir / "volume", "tmpfs");
        rig(volume.path() / "jobs", false);
        use_up_space(volume.path() / "filler");
        look(volume.path() / "jobs", "root settles, disk full");
        fs::remove(volume.path() / "filler");
        const auto again = play_shim(user_a, {"-j", volume.path() / "jobs/job.json", "--", "true"});
        INFO(said(again));
        judge("root settled, A runs it again", again.ended() == "exit 0", true_end);
    }
}

TEST_CASE_METHOD(Attacked, "another user's jobs are shown, and nothing is done with them",
                 "[attacks]") {
    NEEDS_USERS();
    const std::vector<Words> by_hand{{"status"},
                                     {"result"},
                                     {"wait", "--timeout", "50ms"},
                                     {"cancel", "--reason", "because"},
                                     {"settle", "--as", "failed", "--because", "it is"}};
    // Where everybody may write, not even root acts: the next moment the file may be another.
    for (const auto& each : std::vector<std::pair<uid_t, fs::path>>{
             {user_a, open_}, {user_a, sticky}, {root, open_}}) {
        const auto user = each.first;
        const auto& jobs = each.second;
        const auto restore = [&] {
            for (const auto& name : names_in(jobs, "")) fs::remove_all(jobs / name);
            for (const char* id : {"dead-1", "dead-2", "dead-3"})
                make_file(jobs / (std::string(id) + ".json"), user_b, 0666,
                          record_of_dead_job(id).dump());
            make_file(jobs / "old.json", user_b, 0666, record_of_old_job("old").dump());
        };
        for (const auto& command : surveys) {
            CAPTURE(user, jobs, command);
            restore();
            const auto before = everything_in(jobs);
            const auto seen = play_ctl(user, survey_of(command, jobs));
            INFO(said(seen));
            judge("another's job", everything_in(jobs) == before, is_lost);
            const auto lines = lines_of(seen.err);
            CHECK(std::count_if(lines.begin(), lines.end(),
                                [](const auto& line) { return contains(line, "uid 1001"); }) == 1);
        }
        for (const auto& command : by_hand) {
            CAPTURE(user, jobs, command);
            restore();
            const auto before = everything_in(jobs);
            auto words = command;
            words.push_back(jobs / "dead-1.json");
            const auto seen = play_ctl(user, words);
            INFO(said(seen));
            judge("another's job", everything_in(jobs) == before, is_lost);
            if (command[0] != "cancel" && command[0] != "settle") continue;
            CHECK(seen.code() != 0);
            CHECK((names_uid(seen, user_b) || contains(seen.err, "dead-1.json")));
        }
    }
}

TEST_CASE_METHOD(Attacked, "root may act for a user, and then acts as that user", "[attacks]") {
    NEEDS_USERS();
    const auto jobs = make_directory(a / "jobs", user_a, 0755);
    auto shim = begin(user_a, {shim_program, "-j", jobs / "runs.json", "--", await_program});
    worker_of(jobs / "runs.json");
    const auto cancelled = play_ctl(root, {"cancel", jobs / "runs.json"});
    INFO(said(cancelled));
    judge("root cancels",
          cancelled.ended() == "exit 0" &&
              at(exit_of(jobs / "runs.json"), "/reason") == "cancelled" &&
              owned_by(root, jobs).empty(),
          true_end);
    watch(shim, 10s);
    make_file(jobs / "dead.json", user_a, 0644, record_of_dead_job("dead").dump());
    const auto reaped = play_ctl(root, survey_of({"reap"}, jobs));
    INFO(said(reaped));
    judge("root reaps",
          at(exit_of(jobs / "dead.json"), "/reason") == "shim-lost" && owned_by(root, jobs).empty(),
          is_lost);
    make_file(jobs / "old.json", user_a, 0644, record_of_old_job("old").dump());
    const auto pruned = play_ctl(root, survey_of({"prune", "--older-than", "1h"}, jobs));
    INFO(said(pruned));
    judge("root prunes", !fs::exists(jobs / "old.json") && owned_by(root, jobs).empty(), no_job);
}

// ---------------------------------------------------------------------------------------------
// Hard links, and what the kernel's own protections add

TEST_CASE_METHOD(Attacked, "a hard link to root's file is harmless at any name of a job",
                 "[attacks][serial]") {
    NEEDS_USERS();
    const Setting hard_links("fs/protected_hardlinks", "0");
    if (!hard_links.is_set()) SKIP_TEST("fs.protected_hardlinks cannot be set");
    auto precious_record = record_of_dead_job("job");
    precious_record["title"] = secret;
    const auto restore = [&] {
        make_file(precious / "record", root, 0600, precious_record.dump());
        make_file(precious / "empty", root, 0600, "");
        make_file(precious / "text", root, 0600, secret);
    };
    restore();
    const auto before = everything_in(precious);
    const auto others = living_descendants().size();
    int number = 0;
    Words names{"job.json", "job.heartbeat", "job.json.cancel", "job.log"};
    names.insert(names.end(), temporary_names.begin(), temporary_names.end());
    for (const auto& name : names)
        for (const char* target : {"record", "empty", "text"})
            for (const auto& command :
                 {Words{"jobctl", "status", "JOB"}, Words{"jobctl", "cancel", "JOB"},
                  Words{"jobctl", "list", "--dir", "DIR"},
                  Words{"jobctl", "prune", "--older-than", "1h", "--dir", "DIR"},
                  Words{"jobctl", "logs", "JOB"}, Words{"jobshim", "-j", "JOB", "--", "true"},
                  Words{"jobshim", "--detach", "-j", "JOB", "--", "echo", "evil"}}) {
                CAPTURE(name, target, command);
                const auto jobs =
                    make_directory(b / ("links-" + std::to_string(++number)), user_b, 0755);
                auto record = record_of_dead_job("job");
                record["jobshim"]["log"] = {{"file", jobs / "job.log"}, {"offset", 0}};
                make_file(jobs / "job.json", user_b, 0644, record.dump());
                {
                    const Acting acting(user_b);
                    fs::remove(jobs / name);
                    fs::create_hard_link(precious / target, jobs / name);
                }
                auto process = begin(root, filled_in(command, *this, jobs));
                const auto seen = watch(process, 6s);
                if (command[1] == "--detach")
                    (void)wait_until([&] { return living_descendants().size() == others; });
                INFO(said(seen));
                INFO(as_ascii(everything_in(precious)));
                const bool harmless = everything_in(precious) == before;
                bool disclosed = contains(seen.out + seen.err, secret) && name == "job.log";
                {
                    const Acting acting(user_b);
                    disclosed = disclosed || found_below(jobs, secret);
                }
                judge("hard link", harmless && !disclosed && !seen.hung, refused);
                if (!harmless) restore();
                if (everything_in(precious) != before) return;
            }
}

TEST_CASE_METHOD(Attacked, "links, pipes and squatters are harmless whatever the kernel protects",
                 "[attacks][serial]") {
    NEEDS_USERS();
    for (const bool highest : {false, true}) {
        const std::string value = highest ? "2" : "0";
        const Setting symlinks("fs/protected_symlinks", highest ? "1" : "0"),
            regular("fs/protected_regular", value), fifos("fs/protected_fifos", value);
        if (!symlinks.is_set() || !regular.is_set() || !fifos.is_set())
            SKIP_TEST("the kernel's protections cannot be set");
        const std::string scene = highest ? "protected-" : "unprotected-";
        CAPTURE(scene);
        play_foreseen_link(*this, scene + "link-");
        play_squatted_start(*this, scene + "start-");
        play_implied_log(*this, scene + "log-");
    }
}
