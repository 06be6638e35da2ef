// A live job is never called dead: not if its shim or its reader is stopped or starved, and not
// whatever happens to its heartbeat file or to the clock.

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "integration/support.hpp"
#include "integration/verdicts.hpp"

using namespace harness;

namespace {

const Words alive_words{"running", "stalled"};

void touch_at(const fs::path& file, time_t seconds) {
    const timespec times[2] = {{seconds, 0}, {seconds, 0}};
    must(utimensat(AT_FDCWD, file.c_str(), times, AT_SYMLINK_NOFOLLOW), "utimensat");
}

void replace_by(const fs::path& file, const std::string& content) {
    const auto fresh = file.string() + ".theirs";
    put(fresh, content);
    fs::rename(fresh, file);
}

struct HeartbeatFault {
    std::string name;
    std::function<void(const fs::path&)> apply;
    bool repaired = true;  ///< by the shim, at its next beat; it leaves alone what is not ours
};

/// `other_heartbeat` is the heartbeat file of another job, which ended badly and whose shim is
/// dead.
std::vector<HeartbeatFault> heartbeat_faults(const std::string& other_heartbeat) {
    const auto with_time = [](time_t seconds) {
        return [seconds](const fs::path& file) { touch_at(file, seconds); };
    };
    return {
        {"mtime in 1970", with_time(1)},
        {"mtime in 2100", with_time(4'102'444'800)},
        {"deleted", [](const fs::path& file) { fs::remove(file); }},
        {"replaced by an empty file", [](const fs::path& file) { replace_by(file, ""); }},
        {"replaced by a copy", [](const fs::path& file) { replace_by(file, slurp(file)); }},
        {"replaced by a copy without its end",
         [](const fs::path& file) { replace_by(file, slurp(file).substr(0, 100)); }},
        {"replaced by another job's",
         [other_heartbeat](const fs::path& file) { replace_by(file, other_heartbeat); }},
        {"replaced by a foreign file",
         [](const fs::path& file) { replace_by(file, "#!/bin/sh\n"); }, false},
        {"replaced by a directory",
         [](const fs::path& file) {
             fs::remove(file);
             fs::create_directory(file);
         },
         false},
        {"replaced by a symlink to itself",
         [](const fs::path& file) {
             fs::rename(file, file.string() + ".moved");
             fs::create_symlink(file.string() + ".moved", file);
         },
         false},
        {"replaced by a dangling symlink",
         [](const fs::path& file) {
             fs::remove(file);
             fs::create_symlink(file.string() + ".nowhere", file);
         },
         false},
        {"replaced by a pipe",
         [](const fs::path& file) {
             fs::remove(file);
             must(mkfifo(file.c_str(), 0600), "mkfifo");
         },
         false},
        {"truncated", [](const fs::path& file) { put(file, ""); }},
        {"overwritten with foreign bytes", [](const fs::path& file) { put(file, "#!/bin/sh\n"); }},
        {"overwritten with another job's",
         [other_heartbeat](const fs::path& file) { put(file, other_heartbeat); }},
        {"mode 0", [](const fs::path& file) { fs::permissions(file, fs::perms(0)); }},
    };
}

/// Processes that only use up CPU time, at a slightly lower priority than the rest. In this
/// process's session, because between sessions Linux shares the CPU evenly, whatever their
/// priorities (autogroup in sched(7)).
class Load {
public:
    Load(Sandbox& box, int processes) {
        const Options options{.before_exec = [] { must(nice(10), "nice"); }, .own_session = false};
        for (int i = 0; i < processes; ++i)
            busy_.push_back(box.spawn({"sh", "-c", "while :; do :; done"}, options));
    }
    ~Load() {
        for (auto& process : busy_) process.kill(SIGKILL);
        for (auto& process : busy_) process.wait();
    }
    Load(const Load&) = delete;
    Load& operator=(const Load&) = delete;

private:
    std::vector<Process> busy_;
};

/// Asks about several jobs as fast as possible: in one call, which gets no session, file
/// descriptors or pidfd of its own.
class FastReader {
public:
    FastReader() : out_(memfd_create("reader", MFD_CLOEXEC)) { REQUIRE(out_.get() >= 0); }

    /// What it reports of each of the jobs.
    std::vector<StatusReply> ask_about(const std::vector<fs::path>& jobs) {
        must(ftruncate(out_.get(), 0), "ftruncate");
        lseek(out_.get(), 0, SEEK_SET);
        Words words{jobctl, "status", "--json"};
        words.insert(words.end(), jobs.begin(), jobs.end());
        std::vector<char*> argv;
        for (auto& word : words) argv.push_back(word.data());
        argv.push_back(nullptr);
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, out_.get(), 1);
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
        pid_t pid = -1;
        const int error =
            posix_spawn(&pid, jobctl.c_str(), &actions, nullptr, argv.data(), environ);
        posix_spawn_file_actions_destroy(&actions);
        REQUIRE(error == 0);
        Result result;
        REQUIRE(waitpid(pid, &result.status, 0) == pid);
        result.out = slurp("/proc/self/fd/" + std::to_string(out_.get()));
        const auto shown = Json::parse(result.out, nullptr, false);
        std::vector<StatusReply> replies;
        for (const auto& job : jobs) {
            const auto one = std::find_if(shown.begin(), shown.end(), [&](const Json& row) {
                return at(row, "/file") == job.string();
            });
            // It reports a job that does not exist on stderr, and exits with 4.
            replies.push_back(
                one == shown.end()
                    ? StatusReply{result.code() == 4 ? "no such job" : "refused", "", result}
                    : StatusReply{at(*one, "/verdict/state"), at(*one, "/verdict/because"),
                                  result});
        }
        return replies;
    }

private:
    Fd out_;
};

}  // namespace

TEST_CASE_METHOD(Sandbox, "a stopped shim is stalled and never dead", "[quick]") {
    Verdicts verdicts("false death: shim stopped");
    auto shim = start_job(job, until_go + "exit 0", {"--heartbeat-interval", "100ms"});
    worker_of(job);
    const std::string fault = "shim stopped for twenty intervals";
    verdicts.count(fault, ask(*this, job), Truth::alive, {"running"});
    shim.kill(SIGSTOP);
    const auto before = slurp(job);
    StatusReply said;
    const bool stalled = wait_until([&] {
        said = ask(*this, job);
        verdicts.count(fault, said, Truth::alive, alive_words);
        return said.state == "stalled";
    });
    CHECK(stalled);
    CHECK(said.result.ended() == "exit 3");
    const auto text = ctl({"status", job});
    CHECK(text.ended() == "exit 3");
    CHECK(contains(text.out, "stalled"));
    CHECK(ctl({"reap", "--dir", dir}).ended() == "exit 0");
    CHECK(ctl({"wait", job, "--timeout", "200ms"}).ended() == "exit 124");
    CHECK(run_job(job, "touch marker").ended() == "exit 125");
    CHECK(slurp(job) == before);
    shim.kill(SIGCONT);
    CHECK(wait_until([&] { return ask(*this, job).state == "running"; }));
    put(dir / "go", "");
    CHECK(shim.wait().ended() == "exit 0");
    CHECK_FALSE(fs::exists(dir / "marker"));
    verdicts.count_end(fault, job, 0);
    verdicts.require_no_lies();
}

TEST_CASE_METHOD(Sandbox, "whatever happens to its heartbeat file a live job is not called dead",
                 "[long]") {
    Verdicts verdicts("false death: heartbeat file");
    std::string other_heartbeat;
    {
        const auto other = dir / "other.json";
        put(other, "{}");
        run_job(other, "exit 9");
        other_heartbeat = slurp(heartbeat_of(other));
        REQUIRE(contains(other_heartbeat, "exit-code"));
    }
    const auto public_jobctl = public_copy(jobctl);
    struct Case {
        HeartbeatFault fault;
        fs::path job;
        Process shim, reader, nobody, waiter;
        std::string name() const { return "heartbeat " + fault.name; }
    };
    // Once with beats that come too late to mend anything, once with frequent ones.
    for (const std::string interval : {"1h", "100ms"}) {
        CAPTURE(interval);
        std::vector<Case> cases;
        fs::remove(dir / "go");
        const auto directory = dir / interval;
        fs::create_directory(directory);
        fs::permissions(directory, fs::perms(0755));
        for (auto& fault : heartbeat_faults(other_heartbeat)) {
            Case one;
            one.job = directory / (std::to_string(cases.size()) + ".json");
            one.fault = std::move(fault);
            one.shim = start_job(one.job, until_go + "exit 0", {"--heartbeat-interval", interval});
            cases.push_back(std::move(one));
        }
        for (auto& one : cases) {
            worker_of(one.job);
            fs::permissions(one.job, fs::perms(0644));
            one.fault.apply(heartbeat_of(one.job));
        }
        const Options as_nobody{.before_exec = geteuid() == 0 ? become_nobody : [] {}};
        for (auto& one : cases) {
            one.reader = start_reader(*this, one.job);
            one.nobody = start_reader(*this, one.job, as_nobody, public_jobctl);
            one.waiter = spawn({jobctl, "wait", one.job, "--timeout", "100ms"});
        }
        for (auto& one : cases) {
            // A reader that can look at the processes knows that they are alive, whatever the file
            // says.
            const Words expected{"running", "stalled"};
            verdicts.count(one.name(), parse_status(one.reader.wait()), Truth::alive, expected);
            verdicts.count(one.name(), parse_status(one.nobody.wait()), Truth::alive, expected);
            CAPTURE(one.name());
            CHECK(one.waiter.wait().ended() == "exit 124");
        }
        if (interval == "1h") {
            const auto reaped = ctl({"reap", "--dir", directory}, {.limit = 60s});
            CHECK(reaped.ended() == "exit 0");
            CHECK(contains(reaped.out, "0 jobs settled"));
        } else {
            for (const auto& one : cases) {
                CAPTURE(one.name());
                if (one.fault.repaired)
                    CHECK(wait_until([&] { return shim_lock_is_held(heartbeat_of(one.job)); }));
            }
        }
        put(dir / "go", "");
        for (auto& one : cases) {
            CAPTURE(one.name());
            const auto result = one.shim.wait();
            CHECK(result.ended() == "exit 0");
            CHECK(result.err == "");
            verdicts.count_end(one.name(), one.job, 0);
            verdicts.count(one.name(), ask(*this, one.job), Truth::ended, {"completed"});
        }
    }
    verdicts.require_no_lies();
}

TEST_CASE_METHOD(Sandbox, "a wall clock stepped either way kills no job and revives none",
                 "[long]") {
    Verdicts verdicts("false death: wall clock");
    fs::path library;
    for (const char* directory :
         {"/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib", "/usr/local/lib"})
        if (const auto file = fs::path(directory) / "faketime/libfaketime.so.1"; fs::exists(file))
            library = file;
    if (library.empty()) SKIP_TEST("no libfaketime");
    const std::string dynamic_jobshim = JOBSHIM_DYNAMIC_BIN, dynamic_jobctl = JOBCTL_DYNAMIC_BIN;
    // Only the wall clock, not file times, which come from the kernel here.
    const auto under_clock = [&](const fs::path& clock) {
        return Options{.env = {{"LD_PRELOAD", library},
                               {"FAKETIME_TIMESTAMP_FILE", clock},
                               {"FAKETIME_NO_CACHE", "1"},
                               {"FAKETIME_DONT_FAKE_MONOTONIC", "1"},
                               {"FAKETIME_DISABLE_SHM", "1"},
                               {"NO_FAKE_STAT", "1"},
                               {"ASAN_OPTIONS", "detect_leaks=0:verify_asan_link_order=0"}}};
    };
    struct Case {
        std::string start, step;  ///< how far off the clock is, before and after
        bool shims, readers;      ///< whose clock it is
        fs::path job;
        Options clock;
        Process shim;
        std::string name() const { return "clock " + start + " then " + step; }
    };
    std::vector<Case> cases;
    for (const auto& [start, step] : {std::pair<std::string, std::string>{"+0", "+3650d"},
                                      {"+0", "-3650d"},
                                      {"+0", "+1h"},
                                      {"+0", "-1h"},
                                      {"+3650d", "+0"},
                                      {"-3650d", "+0"}})
        for (const auto& [shims, readers] : {std::pair{true, true}, {true, false}, {false, true}})
            cases.push_back({start, step, shims, readers, {}, {}, {}});
    for (std::size_t i = 0; i < cases.size(); ++i) {
        auto& one = cases[i];
        one.job = dir / (std::to_string(i) + ".json");
        const auto clock = dir / (std::to_string(i) + ".clock");
        put(clock, one.start);
        one.clock = under_clock(clock);
        // Half of them are adopted, so that their heartbeat files stay.
        if (i % 2) put(one.job, R"({"status":"queued"})");
        one.shim = spawn({dynamic_jobshim, "-j", one.job, "--heartbeat-interval", "100ms", "--",
                          "env", "-u", "LD_PRELOAD", "sh", "-c", until_go + "exit 0"},
                         one.shims ? one.clock : Options{});
    }
    const auto look_at_all = [&](Truth truth, const Words& expected) {
        std::vector<Process> readers;
        for (const auto& one : cases)
            readers.push_back(
                start_reader(*this, one.job, one.readers ? one.clock : Options{}, dynamic_jobctl));
        for (std::size_t i = 0; i < cases.size(); ++i)
            verdicts.count(cases[i].name(), parse_status(readers[i].wait()), truth, expected);
    };
    for (const auto& one : cases) {
        worker_of(one.job);
        const auto year = at(read_json(one.job), "/startedAt").get<std::string>().substr(0, 4);
        // The fault is real: the program does see another clock.
        if (one.shims && one.start == "+3650d") CHECK(year > "2030");
        if (one.shims && one.start == "-3650d") CHECK(year < "2020");
    }
    look_at_all(Truth::alive, alive_words);
    for (std::size_t i = 0; i < cases.size(); ++i)
        put(dir / (std::to_string(i) + ".clock"), cases[i].step);
    look_at_all(Truth::alive, alive_words);
    const auto reaped = run({dynamic_jobctl, "reap", "--dir", dir}, cases[0].clock);
    CHECK(contains(reaped.out, "0 jobs settled"));
    // A third of the shims die now, and that must be noticed too.
    const auto dies = [](std::size_t i) { return (i + i / 3) % 3 == 0; };
    for (std::size_t i = 0; i < cases.size(); ++i)
        if (dies(i)) {
            kill_shim(cases[i].shim, cases[i].job);
            for (const char* leaving : {"faketime_shm_", "sem.faketime_sem_"})
                fs::remove("/dev/shm/" + (leaving + std::to_string(cases[i].shim.pid())));
        }
    put(dir / "go", "");
    for (std::size_t i = 0; i < cases.size(); ++i) {
        const auto& one = cases[i];
        if (!dies(i)) {
            CHECK(cases[i].shim.wait().ended() == "exit 0");
            verdicts.count_end(one.name(), one.job, 0);
        }
        const auto said = ask(*this, one.job, one.readers ? one.clock : Options{}, dynamic_jobctl);
        verdicts.count(one.name(), said, dies(i) ? Truth::dead : Truth::ended,
                       {dies(i) ? "failed" : "completed"});
    }
    verdicts.require_no_lies();
}

// `unshare --pid` alone keeps the outer namespace's /proc, where every pid is a different process.
// The worker's start time was taken from one of those; a reader with a /proc of its own then found
// the pid "reused" and settled a worker that was alive.
TEST_CASE_METHOD(Sandbox,
                 "jobs in a pid namespace without a /proc of its own are alive all the same") {
    const Words inside{"unshare", "--pid", "--fork", "--"};
    if (!in_path("unshare") || run({"unshare", "-pf", "--mount-proc", "--", "true"}).status != 0)
        SKIP_TEST("no pid namespace of our own (needs root)");
    Verdicts verdicts("false death: /proc of others");
    put(dir / "script", R"sh(
        trap 'touch go; wait' EXIT
        "$JOBSHIM" -j job.json --on-shim-death keep -- sh -c "$UNTIL_GO" &
        shim=$!
        "$AWAIT" job.json '"phase":"running"'
        "$JOBCTL" status --json job.json > shim-lives
        kill -9 $shim
        wait $shim
        "$JOBCTL" status --json job.json > same-proc
        unshare --mount sh -c 'mount -t proc proc /proc && "$JOBCTL" status --json job.json' > own-proc
        kill -0 $(grep -A1 '"worker": {' job.json | grep -o '[0-9]*') && touch worker-lives
    )sh");
    Words argv = inside;
    argv.insert(argv.end(), {"sh", "script"});
    const auto result = run(argv, {.env = {{"JOBSHIM", jobshim},
                                           {"JOBCTL", jobctl},
                                           {"UNTIL_GO", until_go},
                                           {"AWAIT", AWAIT_BIN}}});
    INFO(result.err);
    REQUIRE(fs::exists(dir / "worker-lives"));
    for (const auto& [seen, expected] : {std::pair{"shim-lives", Words{"running"}},
                                         {"same-proc", {"orphaned", "unknown"}},
                                         {"own-proc", {"orphaned", "unknown"}}}) {
        CAPTURE(seen);
        verdicts.count("/proc of another pid namespace",
                       parse_status({0, slurp(dir / seen), "", {}}), Truth::alive, expected);
    }
    CHECK(at(exit_of(job), "") == nullptr);
    verdicts.require_no_lies();
}

// The reader sees its first half from before and its second half from after: it is stopped after
// each of its calls in turn, for as long as it takes the job to end, or to end and start again.
TEST_CASE_METHOD(Sandbox, "a reader stopped at any point never reports a live job dead",
                 "[sweep]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    Verdicts verdicts("false death: reader stopped");
    const Words reader{jobctl, "status", "--json", job};
    enum class Meanwhile { nothing, ends, begins_again };
    struct Scenario {
        std::string name;
        bool adopted;  ///< so the heartbeat file stays
        Meanwhile meanwhile;
    };
    for (const auto& scenario : {
             Scenario{"the job lives on", false, Meanwhile::nothing},
             Scenario{"the job ends", false, Meanwhile::ends},
             Scenario{"an adopted job ends", true, Meanwhile::ends},
             Scenario{"the job ends and begins again", false, Meanwhile::begins_again},
             Scenario{"an adopted job ends and begins again", true, Meanwhile::begins_again},
         }) {
        CAPTURE(scenario.name);
        const auto start = [&] {
            fs::remove(dir / "go");
            auto shim = start_job(job, until_go + "exit 0");
            worker_of(job);
            return shim;
        };
        const auto end = [&](Process& shim) {
            put(dir / "go", "");
            CHECK(shim.wait().ended() == "exit 0");
        };
        fs::remove(job);
        fs::remove(heartbeat_of(job));
        if (scenario.adopted) put(job, R"({"host":1})");
        auto shim = start();
        const auto calls = Stopped::calls_of(*this, reader);

        REQUIRE(calls.size() > 20);
        for (const auto& call : calls) {
            Stopped stopped(*this, call, reader);
            REQUIRE(stopped.is_stopped());
            if (scenario.meanwhile != Meanwhile::nothing) end(shim);
            if (scenario.meanwhile == Meanwhile::begins_again) shim = start();
            const auto said = parse_status(stopped.resume_and_wait());
            verdicts.count("reader stopped while " + scenario.name, said,
                           said.state == "completed" ? Truth::ended : Truth::alive,
                           scenario.meanwhile == Meanwhile::nothing
                               ? Words{"running"}
                               : Words{"running", "completed"});
            if (scenario.meanwhile == Meanwhile::ends) {
                verdicts.count_end("reader stopped while " + scenario.name, job, 0);
                shim = start();
            }
        }
        end(shim);
        verdicts.count_end("reader stopped while " + scenario.name, job, 0);
    }
    verdicts.require_no_lies();
}

TEST_CASE_METHOD(Sandbox, "under a load of fifty busy processes no live job is called dead",
                 "[sweep]") {
    Verdicts verdicts("false death: load");
    std::vector<fs::path> jobs;
    std::vector<Process> shims;
    const Options as_others{.own_session = false};
    const Options starved{.before_exec = [] { must(nice(15), "nice"); }, .own_session = false};
    for (int i = 0; i < 6; ++i) {
        jobs.push_back(dir / (std::to_string(i) + ".json"));
        if (i % 2) put(jobs.back(), R"({"host":1})");
        // Half of the shims have an even lower priority than the load.
        shims.push_back(start_job(jobs.back(), until_go + "exit 0",
                                  {"--heartbeat-interval", "100ms"}, i < 3 ? starved : as_others));
    }
    for (const auto& file : jobs) worker_of(file);
    {
        const Load load(*this, 50);
        FastReader reader;
        for (int round = 0; round < 30; ++round) {
            const auto said = reader.ask_about(jobs);
            for (const auto& one : said)
                verdicts.count("50 busy processes, beats every 100 ms", one, Truth::alive,
                               alive_words);
            if (round % 10 == 0) {
                const auto reaped = ctl({"reap", "--dir", dir});
                CHECK(contains(reaped.out, "0 jobs settled"));
            }
        }
        put(dir / "go", "");
        for (std::size_t i = 0; i < jobs.size(); ++i) {
            CHECK(shims[i].wait(60s).ended() == "exit 0");
            verdicts.count_end("50 busy processes, beats every 100 ms", jobs[i], 0);
        }
    }
    verdicts.require_no_lies();
}

TEST_CASE_METHOD(Sandbox, "ten thousand looks at successful jobs never find one dead", "[sweep]") {
    Verdicts verdicts("false death: 10,000 looks");
    FastReader reader;
    const std::vector<std::pair<std::string, std::string>> kinds{
        {"job", ""},
        {"adopted job", R"({"status":"queued","host":[1.10]})"},
        {"job whose host writes its file in place",
         // The host's copy is an old one, from before the start.
         R"({"status":"queued","host":1})"},
        {"job that is run again", ""},
    };
    put(dir / "host", R"({"status":"running","host":2})");
    int looks = 0;
    for (int round = 0; looks < 10'000; ++round) {
        std::vector<fs::path> jobs;
        std::vector<Process> shims;
        for (std::size_t kind = 0; kind < kinds.size(); ++kind) {
            // The last kind uses the same file in every round.
            jobs.push_back(
                dir / ((kind == 3 ? "again" : std::to_string(kind) + "-" + std::to_string(round)) +
                       ".json"));
            if (!kinds[kind].second.empty()) put(jobs.back(), kinds[kind].second);
            std::string script = "sleep 0.1; exit 0";
            if (kind == 2) script = "sleep 0.03; cat host > \"$JOBSHIM_JOB_FILE\"; " + script;
            shims.push_back(start_job(jobs.back(), script));
        }
        const auto look = [&](bool over) {
            const auto said = reader.ask_about(jobs);
            for (std::size_t kind = 0; kind < kinds.size(); ++kind, ++looks) {
                const auto& one = said[kind];
                const auto& name = kinds[kind].first;
                // It does not exist yet, or has not started yet.
                const bool too_early = one.state == "no such job" || one.state == "queued";
                if (too_early && !over) continue;
                verdicts.count("look at a " + name, one,
                               one.state == "completed" ? Truth::ended : Truth::alive,
                               over ? Words{"completed"} : Words{"running", "completed"});
            }
        };
        const auto all_over = [&] {
            return std::none_of(shims.begin(), shims.end(),
                                [](const Process& shim) { return shim.running(); });
        };
        while (!all_over()) look(false);
        look(true);
        for (std::size_t kind = 0; kind < kinds.size(); ++kind) {
            CHECK(shims[kind].wait().ended() == "exit 0");
            verdicts.count_end("look at a " + kinds[kind].first, jobs[kind], 0);
        }
    }
    std::cout << looks << " looks" << std::endl;
    verdicts.require_no_lies();
}
