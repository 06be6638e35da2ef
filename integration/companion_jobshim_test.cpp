// jobshim --companion: the plugin's two files after every kind of end, with a stand-in for the
// plugin.

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <random>
#include <thread>

#include "integration/companion.hpp"
#include "integration/memory_group.hpp"

using namespace harness;

namespace {

struct CompanionSandbox : Sandbox {
    const Companion plugin{dir / "state"};
    const std::string id = "task-1";

    /// As the plugin starts a worker: in the background, all file descriptors on /dev/null.
    Process start(const std::string& job_id, const std::string& rest) {
        return spawn({jobshim, "--companion", plugin.dir, "--id", job_id, "--", "sh", "-c",
                      plugin.worker(job_id, rest)},
                     {.before_exec = [] {
                         const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
                         must(dup2(null, 1), "dup2");
                         must(dup2(null, 2), "dup2");
                     }});
    }
    /// The worker's pid, once it has reported that it is running.
    pid_t wait_until_running(const std::string& job_id) const {
        REQUIRE(wait_until([&] { return plugin.job(job_id).value("status", "") == "running"; }));
        return plugin.job(job_id)["pid"].get<pid_t>();
    }
    /// Everything the plugin does to start a job.
    Process enqueue(const std::string& job_id, const std::string& rest) {
        auto shim = start(job_id, rest);
        plugin.write_both(plugin.record(job_id, "queued", shim.pid()));
        return shim;
    }
    bool becomes(const std::string& job_id, const std::string& statuses) const {
        return wait_until([&] { return plugin.statuses(job_id) == statuses; });
    }
    Json own(const std::string& job_id) const { return read_json(plugin.own_record(job_id)); }
};

const std::string completes(const Companion& plugin, const std::string& id) {
    const auto file = plugin.job_file(id).string();
    const auto copy = (plugin.dir / (".done-" + id)).string();
    return "sed 's/\"running\"/\"completed\"/; s/\"pid\": *[0-9]*/\"pid\": null/' '" + file +
           "' > '" + copy + "'; cat '" + copy + "' > '" + file + "'";
}

}  // namespace

TEST_CASE_METHOD(CompanionSandbox,
                 "companion: a killed worker is marked failed in both files within three seconds",
                 "[quick]") {
    auto shim = enqueue(id, "echo last words >&2; touch said; " + for_ever);
    const pid_t worker = wait_until_running(id);
    REQUIRE(wait_until([&] { return fs::exists(dir / "said"); }));
    plugin.append_log(id, "[" + iso_now() + "] Turn started.\n");
    plugin.upsert({{"id", id}, {"status", "running"}, {"pid", worker}});
    CHECK(process_stat(worker).group == worker);
    const auto kept = at(plugin.job(id), "/request");
    const auto killed = Clock::now();
    kill(worker, SIGKILL);
    REQUIRE(becomes(id, "failed failed"));
    CHECK(Clock::now() - killed < stretched(3s));
    const auto sentence = at(plugin.job(id), "/errorMessage").get<std::string>();
    CHECK(sentence.starts_with("Worker killed by SIGKILL; who sent it cannot be known"));
    CHECK(sentence.ends_with(". Resume with thread thr_1."));
    for (const Json& side : {plugin.job(id), plugin.entry(id)}) {
        CHECK(at(side, "/errorMessage") == sentence);
        CHECK(at(side, "/pid") == nullptr);
        CHECK(at(side, "/phase") == "failed");
        CHECK(at(side, "/request") == kept);
    }
    REQUIRE(wait_until([&] { return lines_of(slurp(plugin.log_file(id))).size() == 2; }));
    const auto lines = lines_of(slurp(plugin.log_file(id)));
    CHECK(contains(lines[1], "] Worker killed by SIGKILL; who sent it cannot be known"));
    CHECK(at(own(id), "/jobshim/exit/signal") == 9);
    CHECK(at(own(id), "/jobshim/exit/tail") == "last words\n");
    CHECK(contains(ctl({"result", "--companion", plugin.dir, id}).out, "signal (observed)"));
    // If an old copy of the index is written back, it is corrected again.
    plugin.upsert({{"id", id}, {"status", "running"}, {"pid", worker}});
    CHECK(becomes(id, "failed failed"));
    CHECK(shim.wait().ended() == "SIGKILL");
}

TEST_CASE_METHOD(CompanionSandbox, "companion: both files record every kind of end") {
    struct Row {
        std::string name, rest, sentence, reason;
    };
    for (const auto& [name, rest, sentence, reason] :
         {Row{"code", "exit 7", "Worker exited with status 7.", "exit-code"},
          Row{"nothing", "exit 0", "Worker exited with status 0 without recording a result.",
              "no-result"},
          Row{"fault", "kill -SEGV $$", "SIGSEGV", "signal"},
          Row{"interpreter", "exec ./script", "Worker exited with status 126", "exit-code"}}) {
        CAPTURE(name);
        put(dir / "script", "#!/no/such/interpreter\n");
        fs::permissions(dir / "script", fs::perms::owner_all);
        auto shim = enqueue(name, rest);
        REQUIRE(becomes(name, "failed failed"));
        CHECK(contains(at(plugin.job(name), "/errorMessage").get<std::string>(),
                       name == "interpreter" ? "Worker exited with status 12" : sentence));
        CHECK(at(own(name), "/jobshim/exit/reason") == reason);
        shim.wait();
    }
    auto shim = spawn({jobshim, "--companion", plugin.dir, "--id", "none", "--", dir / "script"});
    plugin.write_both(plugin.record("none", "queued", shim.pid()));
    CHECK(shim.wait().ended() == "exit 126");
    CHECK(plugin.statuses("none") == "failed failed");
    CHECK(contains(at(plugin.job("none"), "/errorMessage").get<std::string>(),
                   "/no/such/interpreter"));
}

TEST_CASE_METHOD(CompanionSandbox,
                 "companion: a directory that is not the plugin's is refused and left untouched") {
    fs::create_directory(dir / "other");
    put(dir / "other/file", "");
    const auto refused = run_shim({"--companion", dir / "other", "--", "true"});
    CHECK(refused.ended() == "exit 125");
    CHECK(contains(refused.err, "not a codex-companion state directory"));
    CHECK(names_in(dir / "other", "").size() == 1);
    for (const Words& wrong :
         {Words{"--companion", plugin.dir, "--job", dir / "x.json"},
          Words{"--companion", plugin.dir, "--group", "share"}, Words{"--companion="}}) {
        Words words = wrong;
        words.insert(words.end(), {"--", "true"});
        CHECK(run_shim(words).ended() == "exit 125");
    }
    CHECK_FALSE(fs::exists(dir / "x.json"));
}

TEST_CASE_METHOD(CompanionSandbox, "companion: a worker killed by the OOM killer", "[oom]") {
    const MemoryCgroup group;
    if (!group.works()) SKIP_TEST("needs root and cgroup v1's memory controller");
    auto shim = spawn({jobshim, "--companion", plugin.dir, "--id", id, "--", "sh", "-c",
                       plugin.worker(id, "exec tail /dev/zero")},
                      group.joined());
    plugin.write_both(plugin.record(id, "queued", shim.pid()));
    CHECK(shim.wait().ended() == "SIGKILL");
    CHECK(plugin.statuses(id) == "failed failed");
    CHECK(contains(at(plugin.job(id), "/errorMessage").get<std::string>(),
                   "Worker killed by the out-of-memory killer"));
}

TEST_CASE_METHOD(CompanionSandbox, "companion: what the worker itself wrote is kept", "[quick]") {
    auto shim = enqueue(id, until_go + completes(plugin, id));
    wait_until_running(id);
    put(dir / "go", "");
    REQUIRE(wait_until([&] { return plugin.job(id).value("status", "") == "completed"; }));
    const auto text = slurp(plugin.job_file(id));
    // The index follows a moment later, as the plugin's does; or never, and is brought into step.
    CHECK(becomes(id, "completed completed"));
    CHECK(shim.wait().ended() == "exit 0");
    CHECK(slurp(plugin.job_file(id)) == text);
    CHECK(at(own(id), "/status") == "completed");
    CHECK(ctl({"wait", "--companion", plugin.dir, id}).ended() == "exit 0");
}

TEST_CASE_METHOD(CompanionSandbox, "companion: the worker waits at the gate for both files",
                 "[quick]") {
    auto shim = start(id, "touch began; " + for_ever);
    REQUIRE(wait_until([&] { return fs::exists(plugin.own_record(id)); }));
    plugin.write_job(plugin.record(id, "queued", shim.pid()));
    std::this_thread::sleep_for(200ms);  // nothing should happen, and that gives no sign
    CHECK_FALSE(fs::exists(dir / "began"));
    plugin.upsert(plugin.record(id, "queued", shim.pid()));
    CHECK(wait_until([&] { return fs::exists(dir / "began"); }));
    kill(wait_until_running(id), SIGKILL);
    CHECK(shim.wait().ended() == "SIGKILL");
}

TEST_CASE_METHOD(CompanionSandbox,
                 "companion: a job that is ended while it waits at the gate is not started") {
    auto shim = start(id, "touch began");
    REQUIRE(wait_until([&] { return fs::exists(plugin.own_record(id)); }));
    SECTION("cancelled, without a signal that reached us") {
        plugin.write_job(plugin.record(id, "cancelled"));
        CHECK(shim.wait().ended() == "exit 125");
    }
    SECTION("removed") {
        plugin.write_job(plugin.record(id, "queued", shim.pid()));
        std::this_thread::sleep_for(100ms);  // long enough for several of its looks
        plugin.remove_files(id);
        CHECK(shim.wait().ended() == "exit 125");
        CHECK(plugin.statuses(id) == "- -");
    }
    SECTION("cancelled as the plugin does it") {
        plugin.write_job(plugin.record(id, "queued", shim.pid()));
        kill(-shim.pid(), SIGTERM);
        plugin.upsert(plugin.record(id, "queued", shim.pid()));
        plugin.cancel(id);
        // By the signal, or by the record if it is seen first.
        const auto ended = shim.wait().ended();
        CHECK((ended == "SIGTERM" || ended == "exit 125"));
        CHECK(plugin.statuses(id) == "cancelled cancelled");
    }
    CHECK_FALSE(fs::exists(dir / "began"));
    CHECK(at(own(id), "/status") == "cancelled");
}

TEST_CASE_METHOD(CompanionSandbox,
                 "companion: without a record of the job its worker starts after ten seconds",
                 "[long]") {
    auto shim = start(id, "exit 5");
    CHECK(shim.wait(30s).ended() == "exit 5");
    CHECK(contains(at(own(id), "/jobshim/exit/evidence").dump(), "no record of the job"));
    CHECK(plugin.statuses(id) == "- -");
}

TEST_CASE_METHOD(CompanionSandbox, "companion: a job cancelled by the plugin stays cancelled") {
    auto shim = enqueue(id, for_ever);
    const pid_t worker = wait_until_running(id);
    SECTION("the worker is killed and then the cancellation is written") {
        kill(-worker, SIGTERM);
        CHECK(wait_until([&] { return !alive(worker); }));
        plugin.cancel(id);
    }
    SECTION("the shim's pid is killed") {
        kill(-shim.pid(), SIGTERM);
        CHECK(wait_until([&] { return !alive(worker); }));
        plugin.cancel(id);
    }
    SECTION("the line is in the log, and no file follows it") {
        kill(-worker, SIGTERM);
        plugin.append_log(id, "[" + iso_now() + "] Cancelled by user.\n");
    }
    SECTION("written long after the worker ended by itself") {
        kill(worker, SIGSEGV);
        REQUIRE(becomes(id, "failed failed"));
        plugin.cancel(id);
    }
    shim.wait();
    CHECK(plugin.statuses(id) == "cancelled cancelled");
    CHECK(contains(ctl({"status", "--companion", plugin.dir, id}).out, "cancelled"));
}

TEST_CASE_METHOD(
    CompanionSandbox,
    "companion: text that mentions a cancellation cancels nothing and half an emoji is kept",
    "[quick]") {
    auto record = plugin.record(id, "queued");
    auto shim = start(id, for_ever);
    std::string text = record.dump(2) + "\n";
    text.replace(text.find("do it"), 5, "cut \\ud83d");
    put(plugin.job_file(id), text);
    auto index = slurp(plugin.index);
    index.replace(index.find("[]"), 2, "[" + text + "]");
    put(plugin.index, index);
    const pid_t worker = [&] {
        REQUIRE(wait_until([&] { return contains(slurp(plugin.job_file(id)), "\"running\""); }));
        return at(own(id), "/jobshim/worker/pid").get<pid_t>();
    }();
    plugin.append_log(id, "[" + iso_now() + "] Assistant message\nHe said: Cancelled by user.\n" +
                              "Cancelled by user.\n");
    kill(worker, SIGKILL);
    REQUIRE(wait_until([&] { return contains(slurp(plugin.index), "\"failed\""); }));
    CHECK(contains(slurp(plugin.index), "cut \\ud83d"));
    CHECK(contains(slurp(plugin.job_file(id)), "cut \\ud83d"));
    CHECK(contains(slurp(plugin.job_file(id)), "\"failed\""));
    shim.wait();
}

TEST_CASE_METHOD(CompanionSandbox,
                 "companion: what the end of a session removed is not brought back") {
    auto shim = enqueue(id, for_ever);
    const pid_t worker = wait_until_running(id);
    kill(-worker, SIGTERM);
    SECTION("both, in the plugin's order") {
        plugin.remove_files(id);
        plugin.remove_entry(id);
    }
    SECTION("the entry alone is left for a while") {
        plugin.remove_files(id);
        REQUIRE(wait_until([&] { return plugin.statuses(id) == "- failed"; }));
        plugin.remove_entry(id);
    }
    shim.wait();
    CHECK(plugin.statuses(id) == "- -");
    CHECK_FALSE(fs::exists(plugin.log_file(id)));
    CHECK(at(own(id), "/jobshim/exit/signalName") == "SIGTERM");
    CHECK(contains(ctl({"list", "--companion", plugin.dir}).out, id));
}

TEST_CASE_METHOD(CompanionSandbox, "companion: an entry lost before the death comes back") {
    auto shim = enqueue(id, for_ever);
    const pid_t worker = wait_until_running(id);
    plugin.remove_entry(id);
    kill(worker, SIGKILL);
    CHECK(becomes(id, "failed failed"));
    shim.wait();
}

TEST_CASE_METHOD(CompanionSandbox, "companion: reap settles both files after the shim is killed",
                 "[quick]") {
    auto shim = enqueue(id, for_ever);
    const pid_t worker = wait_until_running(id);
    shim.kill(SIGKILL);
    shim.wait();
    CHECK(wait_until([&] { return !alive(worker); }));
    const auto reaped = ctl({"reap", "--companion", plugin.dir});
    CHECK(contains(reaped.out, "1 job settled"));
    CHECK(plugin.statuses(id) == "failed failed");
    CHECK(at(own(id), "/jobshim/exit/reason") == "shim-lost");
    CHECK(contains(at(plugin.job(id), "/errorMessage").get<std::string>(), "The shim died"));
    const auto index = slurp(plugin.index);
    const auto file = slurp(plugin.job_file(id));
    CHECK(contains(ctl({"reap", "--companion", plugin.dir}).out, "0 jobs settled"));
    CHECK(slurp(plugin.index) == index);
    CHECK(slurp(plugin.job_file(id)) == file);
}

TEST_CASE_METHOD(CompanionSandbox, "companion: a foreground job is found by its worker's pid",
                 "[quick]") {
    auto record = plugin.record("review-1", "queued");
    plugin.write_both(record);
    SECTION("killed") {
        auto shim = spawn({jobshim, "--companion", plugin.dir, "--", "sh", "-c",
                           plugin.worker("review-1", for_ever)});
        kill(wait_until_running("review-1"), SIGKILL);
        CHECK(becomes("review-1", "failed failed"));
        CHECK(shim.wait().ended() == "SIGKILL");
        CHECK(contains(ctl({"result", "--companion", plugin.dir, "review-1"}).out,
                       "signal (observed)"));
    }
    SECTION("a command without a job record leaves the plugin's files alone") {
        const auto result = run_shim({"--companion", plugin.dir, "--", "true"});
        CHECK(result.ended() == "exit 0");
        CHECK(plugin.statuses("review-1") == "queued queued");
        CHECK(contains(ctl({"list", "--companion", plugin.dir}).out, "completed"));
    }
}

TEST_CASE_METHOD(CompanionSandbox,
                 "companion: an index that is truncated and restored in a loop loses nothing") {
    auto state = read_json(plugin.index);
    state["config"]["theirs"] = "keep me";
    put(plugin.index, state.dump(2));
    plugin.write_both(plugin.record("other", "completed"));
    std::vector<std::string> ids;
    std::vector<Process> shims;
    for (int i = 0; i < 3; ++i) {
        ids.push_back("task-" + std::to_string(i));
        shims.push_back(enqueue(ids.back(), for_ever));
    }
    std::vector<pid_t> workers;
    for (const auto& each : ids) workers.push_back(wait_until_running(each));
    // Restores what it read, so anything written meanwhile may be undone.
    const pid_t vandal = fork();
    if (vandal == 0) {
        for (int i = 0; i < 400; ++i) {
            const auto text = slurp(plugin.index);
            if (text.empty()) continue;
            put(plugin.index, "");
            usleep(3000);
            put(plugin.index, text);
            usleep(7000);
        }
        _exit(0);
    }
    for (const pid_t worker : workers) kill(worker, SIGKILL);
    int status = 0;
    for (auto& shim : shims) CHECK(shim.wait(60s).ended() == "SIGKILL");
    waitpid(vandal, &status, 0);
    for (const auto& each : ids) CHECK(plugin.statuses(each) == "failed failed");
    CHECK(plugin.statuses("other") == "completed completed");
    CHECK(at(read_json(plugin.index), "/config/theirs") == "keep me");
}

TEST_CASE_METHOD(CompanionSandbox,
                 "companion: eight writers and twenty kills leave no job of ours active") {
    constexpr int writers = 8, jobs = 20;
    std::vector<Process> shims;
    std::vector<std::string> ids;
    for (int i = 0; i < jobs; ++i) {
        ids.push_back("task-" + std::to_string(i));
        shims.push_back(enqueue(ids.back(), for_ever));
    }
    std::vector<pid_t> workers;
    for (const auto& each : ids) workers.push_back(wait_until_running(each));
    std::vector<pid_t> children;
    for (int i = 0; i < writers; ++i) {
        const pid_t child = fork();
        if (child == 0) {
            // Each has a job of its own, and writes its entries without looking at the others.
            for (int k = 0; k < 40; ++k) {
                plugin.upsert({{"id", "other-" + std::to_string(i)}, {"status", "running"}});
                usleep(60'000);
            }
            _exit(0);
        }
        children.push_back(child);
    }
    std::mt19937 random(4711);
    std::shuffle(workers.begin(), workers.end(), random);
    for (const pid_t worker : workers) {
        kill(worker, SIGKILL);
        usleep(static_cast<useconds_t>(random() % 50'000));
    }
    for (const pid_t child : children) waitpid(child, nullptr, 0);
    for (auto& shim : shims) CHECK(shim.wait(60s).ended() == "SIGKILL");
    // An entry that a writer dropped from the index after the shim's last look comes back when we
    // look.
    ctl({"reap", "--companion", plugin.dir});
    int failed = 0, gone = 0;
    for (const auto& each : ids) {
        const auto statuses = plugin.statuses(each);
        CAPTURE(each, statuses);
        failed += statuses == "failed failed";
        gone += statuses == "- -";
        CHECK((statuses == "failed failed" || statuses == "- -"));
    }
    CHECK(failed + gone == jobs);
}

// The plugin's word lived in its own files alone: once the session ended and they went, a cancelled
// job was a failed one.
TEST_CASE_METHOD(CompanionSandbox,
                 "companion: a job that the plugin cancelled stays cancelled when its files go",
                 "[quick]") {
    const auto check_kept = [&](const std::string& because) {
        plugin.remove_files(id);
        plugin.remove_entry(id);
        CHECK(ctl({"status", "--companion", plugin.dir, id}).ended() == "exit 5");
        CHECK(ctl({"status", plugin.own_record(id)}).ended() == "exit 5");
        CHECK(at(own(id), "/errorMessage") == because);
        CHECK(at(own(id), "/jobshim/exit/reason") == "signal");  // which was seen, and stays
    };
    // The plugin's word comes after the shim's death.
    const auto cancel_without_shim = [&] {
        auto shim = enqueue(id, for_ever);
        const pid_t worker = wait_until_running(id);
        kill(-worker, SIGTERM);
        REQUIRE(wait_until([&] { return at(own(id), "/status") == "failed"; }));
        shim.kill(SIGKILL);
        shim.wait();
        plugin.cancel(id);
    };
    SECTION("kept by the shim") {
        auto shim = enqueue(id, for_ever);
        const pid_t worker = wait_until_running(id);
        kill(-worker, SIGTERM);
        plugin.cancel(id);
        CHECK(shim.wait().ended() == "SIGTERM");
        check_kept("Cancelled by user.");
    }
    SECTION("kept by a reader, because the shim is killed before it sees it") {
        cancel_without_shim();
        CHECK(ctl({"list", "--companion", plugin.dir}).ended() == "exit 0");
        check_kept("Cancelled by user.");
    }
    SECTION("a look that may not settle changes nothing") {
        cancel_without_shim();
        const auto before = slurp(plugin.own_record(id));
        CHECK(ctl({"status", "--no-reap", "--companion", plugin.dir, id}).ended() == "exit 5");
        CHECK(slurp(plugin.own_record(id)) == before);
    }
    SECTION("a worker's own word as well") {
        auto shim = enqueue(id, "touch ready; " + until_go + completes(plugin, id) + "; exit 3");
        wait_until_running(id);
        put(dir / "go", "");
        CHECK(shim.wait().ended() == "exit 3");
        CHECK(at(own(id), "/status") == "completed");
        CHECK(at(own(id), "/jobshim/exit/code") == 3);
    }
}

// Claude Code ends a task with SIGTERM, and with SIGKILL 1.3 s later. The shim waited for two
// seconds before it wrote anything.
TEST_CASE_METHOD(CompanionSandbox,
                 "companion: the files are in step before a host loses its patience", "[serial]") {
    auto shim = enqueue(id, for_ever);
    wait_until_running(id);
    const auto stopped = Clock::now();
    shim.kill(SIGTERM);
    REQUIRE(becomes(id, "failed failed"));
    CHECK(Clock::now() - stopped < stretched(1300ms));
    // And put right later, if it was the plugin that stopped it.
    CHECK(shim.running());
    plugin.cancel(id);
    CHECK(shim.wait().ended() == "SIGTERM");
    CHECK(plugin.statuses(id) == "cancelled cancelled");
    CHECK(at(own(id), "/status") == "cancelled");
}

// The plugin kills first, and writes what it did afterwards. While its cancel is at work, nothing
// else is written in its place.
TEST_CASE_METHOD(CompanionSandbox,
                 "companion: a cancel of the plugin's that is under way is waited for", "[quick]") {
    auto shim = enqueue(id, for_ever);
    const auto worker = wait_until_running(id);
    auto canceller = spawn_companion(*this, "scripts/codex-companion.mjs", {"cancel", id});
    kill(worker, SIGKILL);
    REQUIRE(wait_until([&] { return at(own(id), "/status") == "failed"; }));
    SECTION("it writes") {
        // Not stretched: the shim's patience is not, either.
        const auto until = Clock::now() + 700ms;
        while (Clock::now() < until) {
            REQUIRE(plugin.statuses(id) != "failed failed");
            std::this_thread::sleep_for(5ms);
        }
        plugin.cancel(id);
        CHECK(shim.wait().ended() == "SIGKILL");
        CHECK(plugin.statuses(id) == "cancelled cancelled");
        CHECK_FALSE(contains(slurp(plugin.log_file(id)), "killed by SIGKILL"));
    }
    SECTION("it ends without a word") {
        canceller.kill(SIGKILL);
        CHECK(becomes(id, "failed failed"));
        CHECK(shim.wait().ended() == "SIGKILL");
    }
    canceller.kill(SIGKILL);
}

// One job had two rows: the plugin's, and ours under a name that jobshim had made up.
TEST_CASE_METHOD(CompanionSandbox, "companion: a foreground job is one job however it ends",
                 "[quick]") {
    plugin.write_both(plugin.record(id, "queued"));
    const auto rows = [&] { return ctl_json({"list", "--companion", plugin.dir}); };
    const auto the_only_row = [&] {
        const auto all = rows();
        INFO(all.dump(2));
        REQUIRE(all.size() == 1);
        CHECK(at(all[0], "/id") == id);
        return at(all[0], "/verdict/state").get<std::string>();
    };
    const auto records = [&] {
        Words names = names_in(plugin.dir / "jobshim", "job-");
        std::erase_if(names, [](const std::string& name) { return !name.ends_with(".json"); });
        return names;
    };
    SECTION("shim and worker killed together, before the shim knew the job") {
        // It looks at its first beat: stopped, it does not.
        auto shim =
            start_shim({"--companion", plugin.dir, "--", "sh", "-c",
                        "until [ -e go ]; do sleep 0.01; done; " + plugin.worker(id, for_ever)});
        REQUIRE(wait_until([&] { return records().size() == 1; }));
        const auto record = plugin.dir / "jobshim" / records().front();
        worker_of(record);
        shim.kill(SIGSTOP);
        REQUIRE(wait_until([&] { return process_state(shim.pid()) == 'T'; }));
        put(dir / "go", "");
        const pid_t worker = wait_until_running(id);
        shim.kill(SIGKILL);
        shim.wait();
        REQUIRE(wait_until([&] { return !alive(worker); }));
        CHECK(ctl({"reap", "--companion", plugin.dir}).out.find("1 job") != std::string::npos);
        CHECK(the_only_row() == "failed");
        CHECK(plugin.statuses(id) == "failed failed");
        CHECK(the_only_row() == "failed");  // for good
        CHECK(at(read_json(record), "/jobshim/companionJob") == id);
    }
    SECTION("shim and worker killed together, once it knew") {
        auto shim =
            start_shim({"--companion", plugin.dir, "--", "sh", "-c", plugin.worker(id, for_ever)});
        wait_until_running(id);
        const auto record = plugin.dir / "jobshim" / records().front();
        REQUIRE(wait_until([&] { return at(read_json(record), "/jobshim/companionJob") == id; }));
        shim.kill(SIGKILL);
        shim.wait();
        CHECK(ctl({"wait", "--companion", plugin.dir, id}).ended() == "exit 1");
        CHECK(the_only_row() == "failed");
        CHECK(plugin.statuses(id) == "failed failed");
    }
    SECTION("started by a shell in the worker's group, and killed") {
        auto shim = start_shim({"--companion", plugin.dir, "--", "sh", "-c", "sh -c '" + [&] {
                                    // The plugin's script has quotes of its own.
                                    put(dir / "inner.sh", plugin.worker(id, for_ever));
                                    return std::string(". ./inner.sh");
                                }() + "'; true; exit 0"});
        const pid_t inner = wait_until_running(id);
        const auto record = plugin.dir / "jobshim" / records().front();
        CHECK(at(read_json(record), "/jobshim/worker/pid") != inner);
        REQUIRE(wait_until([&] { return at(read_json(record), "/jobshim/companionJob") == id; }));
        kill(inner, SIGKILL);
        CHECK(shim.wait().ended() == "exit 0");
        CHECK(plugin.statuses(id) == "failed failed");
        CHECK(the_only_row() == "failed");
    }
    SECTION("another job's process is not this shim's") {
        auto stranger = spawn({"sh", "-c", plugin.worker(id, for_ever)});
        wait_until_running(id);
        CHECK(run_shim({"--companion", plugin.dir, "--", "true"}).ended() == "exit 0");
        CHECK(rows().size() == 2);
        stranger.kill(SIGKILL);
        stranger.wait();
    }
}
