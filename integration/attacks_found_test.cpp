// What testers got through with who had not seen the work: each case failed on the build that they
// were given.

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "integration/attackers.hpp"
#include "integration/companion.hpp"
#include "integration/mounts.hpp"

using namespace harness;

TEST_CASE_METHOD(Attacked,
                 "a directory of root's that is named by another user's link is left alone",
                 "[attacks]") {
    NEEDS_USERS();
    const auto theirs = make_directory(precious / "jobs", root, 0755);
    make_file(theirs / "old.json", root, 0600, record_of_old_job("old").dump(2));
    make_file(theirs / "dead.json", root, 0600, record_of_dead_job("dead").dump(2));
    make_file(theirs / "notes.json", root, 0600, "notes");
    make_link(b / "linked", user_b, theirs);
    const auto before = everything_in(precious);
    for (const Words& command :
         {Words{"prune", "--older-than", "1h", "--dir", b / "linked"},
          Words{"reap", "--dir", b / "linked"}, Words{"cancel", b / "linked/dead.json"},
          Words{"doctor", "--dir", b / "linked"}}) {
        const auto seen = play_ctl(root, command);
        INFO(said(seen));
        CHECK(seen.ended() == "exit 125");
        CHECK(names_uid(seen, user_b));
        judge("directory is a link", everything_in(precious) == before, refused);
    }
    const auto seen = play_shim(root, {"-j", b / "linked/notes.json", "--", "true"});
    judge("directory is a link",
          everything_in(precious) == before && is_refused(seen, user_b, b / "linked"), refused);
}

TEST_CASE_METHOD(Attacked, "a link to one's job where others may link is not pruned with its log",
                 "[attacks][serial]") {
    NEEDS_USERS();
    const Setting allowed("fs/protected_hardlinks", "0");
    if (!allowed.is_set()) SKIP_TEST("fs.protected_hardlinks cannot be set");
    const auto log = a / "private.log";
    make_file(log, user_a, 0600, "");
    constexpr timespec then{1'577'836'800, 0};  // as old as the job
    const timespec times[2] = {then, then};
    REQUIRE(utimensat(AT_FDCWD, log.c_str(), times, 0) == 0);
    auto record = record_of_old_job("job");
    record["jobshim"]["log"] = {{"file", log}, {"offset", 0}};
    make_file(a / "job.json", user_a, 0600, record.dump(2));
    const Attacker linker(user_b, [&] { fs::create_hard_link(a / "job.json", sticky / "x.json"); });
    for (const uid_t user : {user_a, root}) {
        const auto seen = play_ctl(user, {"prune", "--logs", "--older-than", "0", "--dir", sticky});
        INFO(said(seen));
        judge("hard link, prune --logs", fs::exists(log) && fs::exists(sticky / "x.json"), refused);
    }
}

TEST_CASE_METHOD(Attacked, "a copy of root's end is not removed because a record names its shim",
                 "[attacks]") {
    NEEDS_USERS();
    const auto jobs = make_directory(b / "jobs", user_b, 0755);
    const auto forged = record_of_dead_job("job");
    const auto shim = at(forged, "/jobshim/shim");
    const auto unrecorded = dir / "state/jobshim/unrecorded";
    fs::create_directories(unrecorded);
    const auto copy =
        unrecorded / (at(shim, "/bootId").get<std::string>() + "-" + at(shim, "/pid").dump() + "-" +
                      at(shim, "/startTime").dump() + ".heartbeat");
    put(copy, heartbeat(precious / "mine.json", shim, nullptr, true));
    make_file(jobs / "job.json", user_b, 0644, forged.dump(2));
    make_file(jobs / "job.heartbeat", user_b, 0600, heartbeat(jobs / "job.json", shim));
    const auto seen = play_ctl(root, {"list", "--dir", jobs});
    INFO(said(seen));
    CHECK(at(read_json(jobs / "job.json"), "/status") == "failed");
    judge("copy of an end", fs::exists(copy), is_lost);
}

TEST_CASE_METHOD(Attacked,
                 "what doctor tries as root cannot be put to use by the directory's owner",
                 "[attacks]") {
    NEEDS_USERS();
    const auto jobs = make_directory(b / "jobs", user_b, 0755);
    const Attacker thief(user_b, {}, [&] {
        for (int n = 0;; ++n) {
            std::error_code gone;
            for (const auto& entry : fs::directory_iterator(jobs, gone))
                if (contains(entry.path().filename().string(), "doctor"))
                    fs::rename(entry, jobs / ("stolen" + std::to_string(n)), gone);
        }
    });
    for (int i = 0; i < 10; ++i) {
        const auto seen = play_ctl(root, {"doctor", "--dir", jobs});
        INFO(said(seen));
        judge("doctor", owned_by(root, jobs).empty(), refused);
    }
    const auto seen = play_ctl(root, {"doctor", "--dir", open_});
    CHECK(contains(seen.out, "nothing is tried there"));
}

TEST_CASE_METHOD(Attacked,
                 "wait does not wait for another user's set-user-ID program named jobshim",
                 "[attacks]") {
    NEEDS_USERS();
    const auto file = a / "job.json";
    CHECK(play_shim(user_a, {"-j", file, "--", "false"}).ended() == "exit 1");
    const auto program = dir / "privileged";
    fs::copy_file(await_program, program);
    REQUIRE(chmod(program.c_str(), 04755) == 0);
    make_link(b / "jobshim", user_b, program);
    const auto liar = begin(user_b, {b / "jobshim", "-j", file});
    REQUIRE(wait_until([&] {
        return contains(slurp("/proc/" + std::to_string(liar.pid()) + "/comm"), "jobshim");
    }));
    const auto seen = play_ctl(user_a, {"wait", file}, 3s);
    INFO(said(seen));
    judge("a process named jobshim", seen.ended() == "exit 1", true_end);
    liar.kill(SIGKILL);
}

TEST_CASE_METHOD(Attacked,
                 "a request under another name is found when the plain name is free again",
                 "[attacks]") {
    NEEDS_USERS();
    const auto file = sticky / "job.json";
    auto shim = begin(user_a, {shim_program, "-j", file, "--", await_program});
    worker_of(file);
    const Attacker squatter(
        user_b, [&] { put(file.string() + ".cancel", ""); },
        [&] {
            for (;;)
                if (names_in(sticky, "job.json.cancel").size() > 1) {
                    fs::remove(file.string() + ".cancel");
                    for (;;) pause();
                }
        });
    const auto seen = play_cancel(user_a, file);
    INFO(said(seen));
    judge("request's name given back", seen.ended() == "exit 0", true_end);
    CHECK(at(read_json(file), "/status") == "cancelled");
    CHECK(shim.wait().ended() == "SIGTERM");
    CHECK(names_in(sticky, "job.json.cancel").empty());
}

TEST_CASE_METHOD(Attacked, "one's own job comes before another user's of a better name",
                 "[attacks]") {
    NEEDS_USERS();
    auto mine = record_of_old_job("nightly");
    mine["status"] = "failed";
    make_file(sticky / "a-17.json", user_a, 0600, mine.dump(2));
    make_file(sticky / "nightly.json", user_b, 0644, record_of_old_job("nightly").dump(2));
    const auto seen = play_ctl(user_a, {"status", "nightly", "--dir", sticky});
    INFO(said(seen));
    judge("a better name", seen.ended() == "exit 1" && !names_uid(seen, user_b), true_end);
    // Where there is no other, it is shown.
    CHECK(play_ctl(root, {"status", "nightly.json", "--dir", sticky}).ended() != "exit 0");
}

TEST_CASE_METHOD(Attacked, "another user's state directory does not speak for one's workspace",
                 "[attacks]") {
    NEEDS_USERS();
    const auto workspace = make_directory(a / "workspace", user_a, 0755);
    const auto tmp = make_directory(dir / "shared", root, 01777);
    auto options = as(user_a);
    options.env["TMPDIR"] = tmp;
    options.env["CLAUDE_PLUGIN_DATA"] = "";
    const auto ask = [&](const Words& words) {
        auto reader = spawn(words, options);
        return watch(reader, 10s);
    };
    // The message says what the directory would be called.
    const Words list{ctl_program, "list", "--companion", workspace};
    const auto message = ask(list).err;
    const auto begin_of_name = message.find("codex-companion/workspace-");
    REQUIRE(begin_of_name != std::string::npos);
    const auto name =
        message.substr(begin_of_name, message.find(')', begin_of_name) - begin_of_name);
    const Attacker planter(user_b, [&] {
        fs::create_directories(tmp / name / "jobs");
        put(tmp / name / "state.json",
            R"({"version":1,"jobs":[{"id":"task-9","status":"completed"}]})");
        put(tmp / name / "jobs/task-9.json", R"({"id":"task-9","status":"completed"})");
    });
    for (const Words& command :
         {list, Words{ctl_program, "wait", "task-9", "--companion", workspace}}) {
        const auto seen = ask(command);
        INFO(said(seen));
        judge("state directory", seen.ended() == "exit 125", refused);
    }
}

TEST_CASE_METHOD(Attacked, "another user's process is not taken for a worker of codex-companion",
                 "[attacks][long]") {
    NEEDS_USERS();
    const auto state = make_directory(a / "state", user_a, 0755);
    const auto fake = b / "codex-companion.mjs";
    fs::copy_file(await_program, fake);
    fs::permissions(fake, fs::perms(0755));
    const auto named = begin(user_b, {fake});
    {
        const Acting acting(user_a);
        const Companion plugin(state);
        auto record = plugin.record("task-1", "running", named.pid());
        record["startedAt"] = record["createdAt"] = iso_now(1h);
        plugin.write_both(record);
    }
    const auto seen = play_ctl(user_a, {"status", "task-1", "--companion", state});
    INFO(said(seen));
    judge("a worker's pid reused", seen.ended() == "exit 1", is_lost);
    named.kill(SIGKILL);
}

// ---------------------------------------------------------------------------------------------
// Whoever else may write to a file

TEST_CASE_METHOD(Attacked, "prune --logs does not believe a record that others may write to",
                 "[attacks]") {
    NEEDS_USERS();
    const auto jobs = make_directory(sticky / "jobs", user_a, 0755);
    for (const auto& [log, mode] :
         {std::pair{a / "diary", 0664}, std::pair{a / "diary", 0666}, std::pair{a / "diary", 0644},
          std::pair{jobs / "old.log", 0666}, std::pair{jobs / "old.log", 0664}}) {
        CAPTURE(log, mode);
        make_file(log, user_a, 0600, "dear diary");
        auto record = record_of_old_job("old");
        record["completedAt"] = iso_now();
        record["jobshim"]["log"] = {{"file", log}, {"offset", 0}};
        make_file(jobs / "old.json", user_a, mode, record.dump(2));
        for (const uid_t user : {user_a, root}) {
            const auto seen =
                play_ctl(user, survey_of({"prune", "--older-than", "0", "--logs"}, jobs));
            INFO(said(seen));
            // What belongs to the job by its name, a group that shares the job may have removed.
            const bool may_go = mode == 0644 || (mode == 0664 && log.parent_path() == jobs);
            judge("a record that others may write to", may_go || fs::exists(log), no_job);
        }
    }
}

TEST_CASE_METHOD(Attacked, "prune --logs enters no directory that the job's owner cannot enter",
                 "[attacks]") {
    NEEDS_USERS();
    const auto closed = make_directory(precious / "closed", root, 0700);
    const auto log = closed / "old.log";
    make_file(log, user_b, 0644, "B's own");
    const auto jobs = make_directory(b / "jobs", user_b, 0755);
    auto record = record_of_old_job("old");
    record["completedAt"] = iso_now();
    record["jobshim"]["log"] = {{"file", log}, {"offset", 0}};
    make_file(jobs / "old.json", user_b, 0644, record.dump(2));
    const auto seen = play_ctl(root, survey_of({"prune", "--older-than", "0", "--logs"}, jobs));
    INFO(said(seen));
    judge("a closed directory", fs::exists(log) && !fs::exists(jobs / "old.json"), no_job);
}

TEST_CASE_METHOD(Attacked, "the record and its owner are one and the same file's",
                 "[attacks][long]") {
    NEEDS_USERS();
    const auto jobs = make_directory(b / "jobs", user_b, 0755);
    const auto side = make_directory(b / "side", user_b, 0755);
    const auto file = jobs / "x.json";
    make_file(precious / "ledger", root, 0600, "precious");
    auto record = record_of_old_job("x");
    record["completedAt"] = iso_now();
    record["jobshim"]["log"] = {{"file", precious / "ledger"}, {"offset", 0}};
    const auto forged = record.dump(2);
    for (const bool dangling : {false, true}) {
        CAPTURE(dangling);
        // Something of root's that B may rename, as in any directory of B's that root worked in.
        if (dangling)
            make_link(file, root, "/nonexistent/file");
        else
            make_file(file, root, 0600, "# viminfo");
        {
            const Attacker flipper(
                user_b, [&] { put(side / "x.json", forged); },
                [&] {
                    for (;;)
                        if (renameat2(AT_FDCWD, file.c_str(), AT_FDCWD, (side / "x.json").c_str(),
                                      RENAME_EXCHANGE) != 0)
                            put(fs::exists(file) ? side / "x.json" : file, forged);
                });
            const auto until = Clock::now() + 2s;
            while (Clock::now() < until && fs::exists(precious / "ledger"))
                play_ctl(root, survey_of({"prune", "--older-than", "0", "--logs"}, jobs));
        }
        judge("owner and record exchanged", fs::exists(precious / "ledger"), no_job);
        for (const auto& name : names_in(jobs, "")) fs::remove(jobs / name);
    }
}

TEST_CASE_METHOD(Attacked, "the owner of a link and its target are those of one and the same link",
                 "[attacks][long]") {
    NEEDS_USERS();
    const auto home = make_directory(a / "home", user_a, 0700);
    make_file(home / "vital.json", user_a, 0600, record_of_old_job("vital").dump());
    make_file(home / "done.json", user_a, 0600, record_of_old_job("done").dump());
    make_link(open_ / "link.json", user_a, home / "done.json");
    make_link(open_ / "evil.json", user_b, home / "vital.json");
    const Attacker flipper(user_b, {}, [&] {
        for (;;)
            renameat2(AT_FDCWD, (open_ / "link.json").c_str(), AT_FDCWD,
                      (open_ / "evil.json").c_str(), RENAME_EXCHANGE);
    });
    bool harmless = true;
    const auto until = Clock::now() + 2s;
    while (Clock::now() < until && harmless) {
        const auto seen = play_ctl(user_a, {"status", open_ / "link.json"});
        harmless = !contains(seen.out, "vital");
    }
    judge("one's own link exchanged", harmless, refused);
}

TEST_CASE_METHOD(Attacked, "a heartbeat file that others may write to is no witness", "[attacks]") {
    NEEDS_USERS();
    // B links a file of A's that everybody may write to, and A removes it: then it is A's, has one
    // name, and says what B wants. Here A holds a lock on it, as on any lock file.
    const auto file = sticky / "job.json";
    const Attacker program(user_a, [&] {
        block_all_signals();
        put(heartbeat_of(file), "");
        fs::permissions(heartbeat_of(file), fs::perms(0666));
        lock_bytes(heartbeat_of(file), F_WRLCK, 0, 2)();
    });
    auto record = record_of_dead_job("job");
    record["jobshim"]["shim"] = identity_of(program.pid());
    record["jobshim"]["worker"] = nullptr;
    make_file(file, user_a, 0644, record.dump(2));
    {
        const Acting acting(user_b);
        put(heartbeat_of(file), heartbeat(file, at(record, "/jobshim/shim")));
    }
    for (const uid_t user : {user_a, root}) {
        const auto seen = play_cancel(user, file);
        INFO(said(seen));
        judge("a lock file for a heartbeat file", is_unharmed(program.pid()), refused);
    }
}

TEST_CASE_METHOD(Attacked, "jobshim does not go on in a heartbeat file that others may write to",
                 "[attacks]") {
    NEEDS_USERS();
    const auto file = sticky / "job.json";
    make_file(heartbeat_of(file), user_a, 0666, "");
    const Fd theirs = [&] {
        const Acting acting(user_b);
        return Fd(open(heartbeat_of(file).c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
    }();
    REQUIRE(theirs.get() >= 0);
    auto shim = begin(user_a, {shim_program, "-j", file, "--", await_program});
    worker_of(file);
    const auto end = heartbeat(file, identity_of(shim.pid()), nullptr, true);
    const auto last_line = end.substr(end.rfind('\n', end.size() - 2) + 1);
    kill_shim(shim, file);
    REQUIRE(write(theirs.get(), last_line.data(), last_line.size()) ==
            static_cast<ssize_t>(last_line.size()));
    const auto seen = play_ctl(user_a, {"status", "--json", file});
    INFO(said(seen));
    judge("an end by B's descriptor", state_in(seen) == "failed", is_lost);
    CHECK(at(exit_of(file), "/reason") == "shim-lost");
}

TEST_CASE_METHOD(Attacked, "root's record is not given to the user who replaces it",
                 "[attacks][long]") {
    NEEDS_USERS();
    const auto jobs = make_directory(b / "jobs", user_b, 0755);
    const auto file = jobs / "job.json";
    make_file(precious / "words", root, 0600, secret);
    auto shim =
        begin(root, {shim_program, "-j", file, "--log", home_of_root / "log", "--", "sh", "-c",
                     "'" + await_program.string() + "' '" + (precious / "go").string() +
                         "'; cat '" + (precious / "words").string() + "'"});
    worker_of(file);
    {
        const Acting acting(user_b);
        fs::rename(file, jobs / "away");
        put(file, R"({"mine":1})");
    }
    put(precious / "go", "");
    const auto seen = watch(shim, 60s);
    INFO(said(seen));
    const Acting acting(user_b);
    judge("root's record replaced",
          read_json(file) == Json{{"mine", 1}} && !found_below(jobs, secret) &&
              names_uid(seen, user_b),
          refused);
}

TEST_CASE_METHOD(Attacked, "no directory is made through another user's link", "[attacks]") {
    NEEDS_USERS();
    const auto home = make_directory(dir / "home", root, 01777);
    const auto target = make_directory(dir / "target", user_a, 0700);
    const auto of_root = make_directory(dir / "target-of-root", root, 0700);
    for (const bool linked : {true, false})
        for (const uid_t user : {user_a, root}) {
            CAPTURE(linked, user);
            const auto mine = user == root ? of_root : target;
            {
                const Acting acting(user_b);
                fs::create_directories(home / ".local");
                if (linked)
                    fs::create_symlink(mine, home / ".local/state");
                else
                    fs::create_directories(home / ".local/state/jobshim");
                if (!linked) fs::permissions(home / ".local/state/jobshim", fs::perms::all);
            }
            auto options = as(user);
            options.env["HOME"] = home;
            options.env["XDG_STATE_HOME"] = "";
            auto process = spawn({shim_program, "--", "true"}, options);
            const auto seen = watch(process, 5s);
            INFO(said(seen));
            judge(
                "directories below another's",
                everything_in(mine).empty() &&
                    names_in(home / ".local/state", "") == (linked ? Words{} : Words{"jobshim"}) &&
                    seen.ended() == "exit 125" && names_uid(seen, user_b),
                refused);
            fs::remove_all(home / ".local");
        }
}

TEST_CASE_METHOD(Attacked, "doctor makes nothing in another user's directory", "[attacks]") {
    NEEDS_USERS();
    const auto jobs = make_directory(b / "jobs", user_b, 0777);
    const Attacker thief(user_b, {}, [&] {
        for (;;)
            for (const auto& name : names_in(jobs, "")) {
                std::error_code ignored;
                if (name != "stolen") fs::rename(jobs / name, jobs / "stolen", ignored);
            }
    });
    for (const uid_t user : {user_a, root})
        for (int times = 0; times < 5; ++times) {
            const auto seen = play_ctl(user, {"doctor", "--dir", jobs});
            CHECK(contains(seen.out, "nothing is tried there"));
            judge("doctor's own files", names_in(jobs, "").empty(), refused);
        }
}

TEST_CASE_METHOD(Attacked, "the id in a record does not choose the log that --detach implies",
                 "[attacks]") {
    NEEDS_USERS();
    make_file(sticky / "payroll.log", user_a, 0600, "payroll\n");
    make_file(sticky / "job.json", user_a, 0666, R"({"id":"payroll","status":"queued"})");
    const auto seen =
        play_shim(user_a, {"-j", sticky / "job.json", "--detach", "--", "echo", "line"});
    INFO(said(seen));
    CHECK(seen.ended() == "exit 0");
    CHECK(play_ctl(user_a, {"wait", sticky / "job.json"}).ended() == "exit 0");
    judge("a record's id", slurp(sticky / "payroll.log") == "payroll\n", true_end);
    CHECK(slurp(sticky / "job.log") == "line\n");
}

TEST_CASE_METHOD(Attacked, "what another user puts among the copies of ends is ignored",
                 "[attacks]") {
    NEEDS_USERS();
    const auto state = make_directory(dir / "shared-state", user_a, 0777);
    const auto copies = make_directory(state / "jobshim/unrecorded", user_a, 0777);
    const auto record = record_of_dead_job("job");
    const auto shim = at(record, "/jobshim/shim");
    const auto name = shim["bootId"].get<std::string>() + "-" +
                      std::to_string(shim["pid"].get<int>()) + "-" +
                      std::to_string(shim["startTime"].get<std::uint64_t>()) + ".heartbeat";
    for (const auto& [kind, how] : squats) {
        CAPTURE(kind);
        make_file(a / "job.json", user_a, 0600, record.dump());
        squat(copies / name, how);
        auto options = as(user_a);
        options.env["XDG_STATE_HOME"] = state;
        auto process = spawn({ctl_program, "status", "--json", a / "job.json"}, options);
        const auto seen = watch(process, 5s);
        INFO(said(seen));
        judge("another's copy of an end", state_in(seen) == "failed", is_lost);
        fs::remove_all(copies / name);
    }
}

TEST_CASE_METHOD(Attacked, "whose file is in the way is said", "[attacks]") {
    NEEDS_USERS();
    make_file(sticky / "job.json", user_b, 0666, "{}");
    make_file(sticky / "text.json", user_b, 0666, "text");
    make_file(sticky / "job.log", user_b, 0600, "");
    for (const Words& arguments :
         {Words{"-j", sticky / "job.json", "--", "true"},
          Words{"-j", sticky / "text.json", "--", "true"},
          Words{"-j", a / "job.json", "--log", sticky / "job.log", "--", "true"},
          Words{"-j", sticky / "new.json", "--id", "job", "--detach", "--", "true"}}) {
        CAPTURE(arguments);
        const auto seen = play_shim(user_a, arguments);
        INFO(said(seen));
        judge("whose file is in the way",
              seen.ended() == "exit 125" && names_uid(seen, user_b) &&
                  contains(seen.err, sticky.string() + "/"),
              refused);
    }
}

// ---------------------------------------------------------------------------------------------
// Readers that were kept waiting, or deceived

TEST_CASE_METHOD(Attacked, "one file that is refused does not keep the others from being shown",
                 "[attacks]") {
    NEEDS_USERS();
    make_file(sticky / "good.json", user_a, 0600, record_of_old_job("good").dump());
    make_link(sticky / "link.json", user_b, sticky / "good.json");
    for (const Words& command : {Words{"status"}, Words{"wait", "--timeout", "5s"}})
        for (const bool json : {false, true}) {
            Words words = command;
            if (json) words.push_back("--json");
            words.insert(words.end(), {sticky / "link.json", sticky / "good.json"});
            const auto seen = play_ctl(user_a, words);
            CAPTURE(words);
            INFO(said(seen));
            judge(
                "one of several is refused",
                seen.ended() == "exit 125" && contains(seen.out, "good") && names_uid(seen, user_b),
                refused);
        }
}

TEST_CASE_METHOD(Attacked, "a file that stays torn is not waited for longer than was asked",
                 "[attacks]") {
    NEEDS_USERS();
    Words jobs;
    const timespec future[2] = {{4'000'000'000, 0}, {4'000'000'000, 0}};
    for (int number = 0; number < 8; ++number) {
        jobs.push_back(b / ("torn-" + std::to_string(number) + ".json"));
        make_file(jobs.back(), user_b, 0644, "{");
        REQUIRE(utimensat(AT_FDCWD, jobs.back().c_str(), future, 0) == 0);
    }
    const auto with_jobs = [&](Words words) {
        words.insert(words.end(), jobs.begin(), jobs.end());
        return words;
    };
    // Each of the eight has a second of patience.
    const auto waited = play_ctl(user_a, with_jobs({"wait", "--timeout", "1s"}), 6s);
    INFO(said(waited));
    judge("torn for ever", !waited.hung && waited.ended() == "exit 124", is_unknown);
    const auto shown = play_ctl(user_a, with_jobs({"status"}), 6s);
    INFO(said(shown));
    judge("torn for ever", !shown.hung && shown.ended() == "exit 6", is_unknown);
}

TEST_CASE_METHOD(Attacked, "no record keeps the rest of an array from being read", "[attacks]") {
    NEEDS_USERS();
    const auto jobs = make_directory(b / "jobs", user_b, 0755);
    auto good = record_of_old_job("good");
    make_file(jobs / "good.json", user_b, 0644, good.dump());
    const auto make = [&](const std::string& name, const std::string& value) {
        auto text = record_of_old_job(name).dump();
        text.insert(1, "\"x\":" + value + ",");
        make_file(jobs / (name + ".json"), user_b, 0644, text);
    };
    make("deep", std::string(300, '[') + std::string(300, ']'));
    make("long", std::string(5'000, '7'));
    make("half", R"("\ud83d")");
    auto options = as(user_a);
    const auto seen = play_ctl(user_a, {"list", "--json", "--dir", jobs});
    INFO(said(seen));
    std::map<std::string, Json> shown;
    for (const auto& each : Json::parse(seen.out)) shown[each["id"]] = each;
    judge("not for every parser",
          shown.size() == 4 && shown["deep"]["job"].is_null() && shown["long"]["job"].is_null() &&
              shown["half"]["job"]["x"] == "\uFFFD" && shown["deep"]["status"] == "completed",
          true_end);
    for (const Words& reader :
         {Words{"jq", "length"},
          Words{"python3", "-c", "import json,sys; print(len(json.load(sys.stdin)))"}})
        if (in_path(reader.front())) CHECK(run(reader, {.input = seen.out}).out == "4\n");
}

TEST_CASE_METHOD(Attacked, "the last lines of a log with a large hole are found in good time",
                 "[attacks]") {
    NEEDS_USERS();
    auto record = record_of_old_job("job");
    record["jobshim"]["log"] = {{"file", b / "hole.log"}, {"offset", 0}};
    make_file(b / "job.json", user_b, 0644, record.dump());
    make_file(b / "hole.log", user_b, 0644, "");
    REQUIRE(truncate((b / "hole.log").c_str(), off_t{1} << 42U) == 0);
    auto options = as(user_a);
    const Fd nowhere(open("/dev/null", O_WRONLY | O_CLOEXEC));
    options.fds = {{1, nowhere.get()}};
    auto process = spawn({ctl_program, "logs", "-n", "3", b / "job.json"}, options);
    const auto seen = watch(process, 10s);
    INFO(said(seen));
    judge("a hole in a log", !seen.hung && contains(seen.err, "hole.log"), is_unknown);
}

TEST_CASE_METHOD(Attacked, "logs says why it cannot say whether there is a log", "[attacks]") {
    NEEDS_USERS();
    make_file(b / "closed.json", user_b, 0600, record_of_old_job("closed").dump());
    make_directory(b / "directory.json", user_b, 0755);
    auto record = record_of_old_job("nul");
    record["jobshim"]["log"] = {{"file", std::string("/\0x", 3)}, {"offset", 0}};
    make_file(b / "nul.json", user_b, 0644, record.dump());
    for (const char* name : {"closed.json", "directory.json"}) {
        const auto seen = play_ctl(user_a, {"logs", b / name});
        INFO(said(seen));
        judge("logs of what cannot be read",
              seen.ended() == "exit 125" && contains(seen.err, name) &&
                  !contains(seen.err, "keeps no log"),
              refused);
    }
    const auto seen = play_ctl(user_a, {"logs", b / "nul.json"});
    INFO(said(seen));
    judge("a name with a null byte", contains(seen.err, "keeps no log"), refused);
}

TEST_CASE_METHOD(Attacked,
                 "a directory of another mount namespace is not taken for its namesake here",
                 "[attacks]") {
    NEEDS_USERS();
    if (const auto why = why_no_volume("tmpfs"); !why.empty()) SKIP_TEST(why);
    const auto jobs = make_directory(dir / "jobs", root, 0755);
    make_file(jobs / "outside.json", root, 0600, record_of_old_job("outside").dump());
    const auto record = record_of_old_job("inside").dump();
    const Attacker container(root, [&] {
        must(unshare(CLONE_NEWNS), "unshare");
        must(mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "make / private");
        must(mount("jobs", jobs.c_str(), "tmpfs", 0, "mode=755"), "mount");
        put(jobs / "inside.json", record);
    });
    const fs::path seen_from_here =
        "/proc/" + std::to_string(container.pid()) + "/root" + jobs.string();
    const auto listed = play_ctl(root, {"list", "--dir", seen_from_here});
    INFO(said(listed));
    judge("another mount namespace",
          contains(listed.out, "inside") && !contains(listed.out, "outside"), true_end);
    // By its text, the current directory is the one that is here.
    auto options = as(root);
    options.cwd = seen_from_here;
    auto process = spawn({ctl_program, "prune", "--older-than", "1h", "--dir", "."}, options);
    const auto pruned = watch(process, 5s);
    INFO(said(pruned));
    judge("another mount namespace",
          fs::exists(jobs / "outside.json") && pruned.ended() == "exit 125", refused);
    const auto removed = play_ctl(root, survey_of({"prune", "--older-than", "1h"}, seen_from_here));
    INFO(said(removed));
    judge("another mount namespace",
          fs::exists(jobs / "outside.json") && names_in(seen_from_here, "").empty(), no_job);
}

TEST_CASE_METHOD(Attacked, "a system's own links are followed in a user namespace", "[attacks]") {
    NEEDS_USERS();
    if (!in_path("unshare") || play(user_a, {"unshare", "-Ur", "true"}).ended() != "exit 0")
        SKIP_TEST("no user namespaces here");
    make_link(dir / "home", root, a);
    const auto seen =
        play(user_a, {"unshare", "-Ur", shim_program, "-j", dir / "home/job.json", "--", "true"});
    INFO(said(seen));
    judge("root's link in a user namespace",
          seen.ended() == "exit 0" && at(read_json(a / "job.json"), "/status") == "completed",
          true_end);
}

TEST_CASE_METHOD(Attacked, "very many requests to cancel keep nobody waiting",
                 "[attacks][serial]") {
    NEEDS_USERS();
    const auto jobs = make_directory(b / "jobs", user_b, 0777);
    const auto record = record_of_dead_job("job").dump();
    const auto text = Json{{"x", std::vector<int>(30'000, 1)}}.dump();
    {
        const Acting acting(user_b);
        put(jobs / "job.json", record);
        fs::create_directory(jobs / "job.json.cancel");
        for (int number = 0; number < 3'000; ++number)
            put(jobs / ("job.json.cancel-" + std::to_string(number)), text);
        for (const auto& name : names_in(jobs, ""))
            if (name != "job.json.cancel") fs::permissions(jobs / name, fs::perms(0600));
    }
    const auto seen = play_ctl(root, {"status", jobs / "job.json"}, 5s);
    INFO(said(seen));
    judge("very many requests", !seen.hung, is_unknown);
}

TEST_CASE_METHOD(Attacked, "prune reads no heartbeat file that cannot be a job's",
                 "[attacks][serial]") {
    NEEDS_USERS();
    const auto jobs = make_directory(b / "jobs", user_b, 0755);
    auto text = heartbeat(jobs / "x.json", at(record_of_dead_job("x"), "/jobshim/shim"));
    text += "{\"x\":[" + std::string(3'000'000, '1') + "]}\n";
    {
        const Acting acting(user_b);
        put(jobs / "linked.heartbeat", text);
        for (int number = 0; number < 200; ++number)
            fs::create_hard_link(jobs / "linked.heartbeat",
                                 jobs / ("linked-" + std::to_string(number) + ".heartbeat"));
        for (int number = 0; number < 2'000; ++number) {
            const auto file = jobs / ("hole-" + std::to_string(number) + ".heartbeat");
            put(file, "");
            fs::resize_file(file, 4U << 20U);
        }
    }
    for (const uid_t user : {user_a, root}) {
        auto words = survey_of({"prune", "--older-than", "1h", "--dry-run"}, jobs);
        const auto seen = play_ctl(user, words, 5s);
        INFO(said(seen));
        judge("large heartbeat files without a job", !seen.hung, no_job);
    }
}

TEST_CASE_METHOD(Attacked, "a heartbeat file whose mode was changed is still the living shim's",
                 "[attacks]") {
    NEEDS_USERS();
    const auto jobs = make_directory(a / "jobs", user_a, 0775);
    const auto file = jobs / "job.json";
    auto shim = begin(
        user_a, {shim_program, "-j", file, "--heartbeat-interval", "1h", "--", await_program});
    worker_of(file);
    fs::permissions(heartbeat_of(file), fs::perms(0660));  // chmod -R g+w
    const auto inode = everything_in(jobs).at("job.heartbeat");
    const auto again = play_shim(user_a, {"-j", file, "--", "true"});
    INFO(said(again));
    judge("chmod of a heartbeat file",
          again.ended() == "exit 125" && everything_in(jobs).at("job.heartbeat") == inode,
          true_end);
    kill_shim(shim, file);

    auto beating = begin(user_a, {shim_program, "-j", jobs / "other.json", "--heartbeat-interval",
                                  "100ms", "--", await_program});
    worker_of(jobs / "other.json");
    fs::permissions(jobs / "other.heartbeat", fs::perms(0660));
    CHECK(wait_until([&] {
        return (fs::status(jobs / "other.heartbeat").permissions() & fs::perms::mask) ==
               fs::perms(0600);
    }));
    const auto cancelled = play_cancel(user_a, jobs / "other.json");
    INFO(said(cancelled));
    judge("chmod of a heartbeat file", cancelled.ended() == "exit 0", true_end);
    beating.wait();
}
