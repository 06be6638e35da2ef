// jobctl cancel: the job ends, and its record says who requested it and why; whoever cancels,
// whatever state the job is in, and however often.

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>

#include "integration/mounts.hpp"
#include "integration/strace.hpp"
#include "integration/support.hpp"
#include "integration/verdicts.hpp"

using namespace harness;

namespace {

fs::path request_of(const fs::path& job) { return job.string() + ".cancel"; }

pid_t pid_in(const fs::path& file) {
    REQUIRE(wait_until([&] { return !slurp(file).empty() && slurp(file).back() == '\n'; }));
    return static_cast<pid_t>(std::stol(slurp(file)));
}

/// The evidence on record: what was sent and when, in order.
Words evidence_of(const fs::path& job) {
    const auto evidence = at(exit_of(job), "/evidence");
    return evidence.is_array() ? evidence.get<Words>() : Words{};
}

bool has_evidence_line(const fs::path& job, const std::string& what) {
    const auto evidence = evidence_of(job);
    return std::any_of(evidence.begin(), evidence.end(),
                       [&](const std::string& line) { return contains(line, what); });
}

void check_cancelled(const fs::path& job, const std::string& reason = "") {
    const auto record = read_json(job);
    INFO(record.dump(1));
    CHECK(at(record, "/status") == "cancelled");
    CHECK(at(record, "/phase") == "cancelled");
    CHECK(at(record, "/pid") == nullptr);
    CHECK(contains(at(record, "/errorMessage").get<std::string>(), reason));
    CHECK(at(record, "/jobshim/exit/reason") == "cancelled");
    CHECK(at(record, "/jobshim/exit/requestedBy/how") == "jobctl cancel");
    CHECK(at(record, "/jobshim/exit/requestedBy/uid") == getuid());
    CHECK(at(record, "/jobshim/exit/requestedBy/command") == "jobctl");
    CHECK(at(record, "/jobshim/exit/requestedBy/pid").is_number_integer());
    CHECK_FALSE(fs::exists(request_of(job)));
}

void check_who(const fs::path& job, const Process& canceller) {
    const auto record = read_json(job);
    CHECK(at(record, "/jobshim/exit/requestedBy/pid") == canceller.pid());
    CHECK(at(record, "/jobshim/cancel/by/pid") == canceller.pid());
}

/// A worker that creates "ready" once it ignores these signals.
std::string ignoring(const std::string& signals) {
    return "trap '' " + signals + "; touch ready; " + for_ever;
}

/// The request that a canceller left behind for the present run of a job.
std::string stale_request(const fs::path& job) {
    return R"({"by":{"pid":4194300,"uid":0,"command":"jobctl"},"reason":"left",)"
           R"("at":"2026-11-22T18:00:00.000Z","run":)" +
           at(read_json(job), "/jobshim/shim").dump() + "}";
}

class Cancel : public Sandbox {
public:
    Process start_cancel(const Words& more = {}, const Options& options = {}) {
        Words argv{jobctl, "cancel", job};
        argv.insert(argv.end(), more.begin(), more.end());
        return spawn(argv, options);
    }
    Result cancel(const Words& more = {}, const Options& options = {}) {
        return start_cancel(more, options).wait();
    }
    void wait_for_file(const std::string& name) {
        REQUIRE(wait_until([&] { return fs::exists(dir / name); }));
    }
    /// Neither ended nor asked to end.
    void check_unharmed(const fs::path& file, pid_t worker) {
        CHECK(ask(*this, file).state == "running");
        CHECK(alive(worker));
        CHECK(names_in(file.parent_path(), ".cancel").empty());
    }
    void end(Process& shim) {
        shim.kill(SIGTERM);
        shim.wait();
    }
};

}  // namespace

TEST_CASE_METHOD(Cancel, "cancel ends a job and its record says who requested it and why",
                 "[quick]") {
    auto shim = start_job(job, for_ever);
    worker_of(job);
    auto canceller = start_cancel({"--reason", "no longer needed"});
    const auto result = canceller.wait();
    INFO(result.out << result.err);
    CHECK(result.ended() == "exit 0");
    CHECK(result.err.empty());
    CHECK(result.out.starts_with("job  cancelled  Cancelled, requested by uid "));
    CHECK(shim.wait().ended() == "SIGTERM");
    check_cancelled(job, "no longer needed");
    check_who(job, canceller);
    CHECK(at(exit_of(job), "/certainty") == "observed");
    CHECK(at(exit_of(job), "/signal") == SIGTERM);
    const auto asked = at(read_json(job), "/jobshim/cancel");
    CHECK(at(asked, "/reason") == "no longer needed");
    CHECK(at(asked, "/by/uid") == getuid());
    CHECK(at(asked, "/at").is_string());
    CHECK(has_evidence_line(job, "SIGTERM sent: cancelled after "));
    // All readers agree.
    CHECK(ctl({"status", job}).ended() == "exit 5");
    CHECK(ctl({"wait", job}).ended() == "exit 5");
    CHECK(ctl({"result", job}).ended() == "exit 5");
}

TEST_CASE_METHOD(Cancel, "cancel sends the requested signal and KILL after the grace period") {
    SECTION("a worker that ignores TERM gets KILL") {
        auto shim = start_job(job, ignoring("TERM"));
        wait_for_file("ready");
        CHECK(cancel({"--kill-after", "200ms"}).ended() == "exit 0");
        CHECK(shim.wait().ended() == "SIGKILL");
        CHECK(at(exit_of(job), "/signal") == SIGKILL);
        const auto lines = evidence_of(job);
        REQUIRE(lines.size() >= 2);
        CHECK(contains(lines[0], "SIGTERM sent: cancelled"));
        CHECK(contains(lines[1], "SIGKILL sent after"));
    }
    SECTION("the grace is the shim's own if none is given") {
        auto shim = start_job(job, ignoring("TERM"), {"--kill-after", "200ms"});
        wait_for_file("ready");
        CHECK(cancel().ended() == "exit 0");
        CHECK(shim.wait().ended() == "SIGKILL");
    }
    SECTION("INT instead") {
        auto shim = start_job(job, "trap 'exit 7' INT; touch ready; " + for_ever_in_shell);
        wait_for_file("ready");
        CHECK(cancel({"--signal", "INT"}).ended() == "exit 0");
        CHECK(shim.wait().ended() == "exit 7");
        CHECK(at(exit_of(job), "/code") == 7);
        CHECK(has_evidence_line(job, "SIGINT sent: cancelled"));
        CHECK(at(read_json(job), "/jobshim/cancel/signal") == "SIGINT");
    }
    SECTION("a real-time signal by its name, which the request has") {
        auto shim = start_job(job, for_ever);
        worker_of(job);
        CHECK(cancel({"--signal", "RTMIN+1"}).ended() == "exit 0");
        CHECK(shim.wait().ended() == "SIGRTMIN+1");
        CHECK(at(exit_of(job), "/signal") == SIGRTMIN + 1);
        CHECK(at(read_json(job), "/jobshim/cancel/signal") == "SIGRTMIN+1");
    }
    SECTION("a worker that obeys with exit 0 was cancelled all the same") {
        auto shim = start_job(job, "trap 'exit 0' TERM; touch ready; " + for_ever_in_shell);
        wait_for_file("ready");
        CHECK(cancel().ended() == "exit 0");
        CHECK(shim.wait().ended() == "exit 0");
        CHECK(at(exit_of(job), "/code") == 0);
    }
    check_cancelled(job);
}

TEST_CASE_METHOD(Cancel, "cancel ends a job whose worker or shim is stopped", "[quick]") {
    std::string stopped;
    SECTION("the worker") { stopped = "worker"; }
    SECTION("the shim") { stopped = "shim"; }
    SECTION("both") { stopped = "worker shim"; }
    auto shim = start_job(job, for_ever);
    const auto worker = worker_of(job);
    for (const auto& [name, pid] : {std::pair{"worker", worker}, {"shim", shim.pid()}}) {
        if (!contains(stopped, name)) continue;
        ::kill(pid, SIGSTOP);
        REQUIRE(wait_until([p = pid] { return process_state(p) == 'T'; }));
    }
    CHECK(cancel().ended() == "exit 0");
    CHECK(shim.wait().ended() == "SIGTERM");
    check_cancelled(job);
}

// The request was on disk before the shim looked, and nothing showed that it had come after the
// end: a job that had completed was recorded as cancelled.
TEST_CASE_METHOD(Cancel, "a job that ended by itself is not cancelled although its shim was late") {
    auto shim = start_job(job, until_go + "exit 0");
    const auto worker = worker_of(job);
    shim.kill(SIGSTOP);
    REQUIRE(wait_until([&] { return process_state(shim.pid()) == 'T'; }));
    put(dir / "go", "");
    REQUIRE(wait_until([&] { return process_state(worker) == 'Z'; }));
    const auto result = cancel();
    CHECK(result.ended() == "exit 1");
    CHECK(contains(result.err, "not because it was cancelled"));
    CHECK(shim.wait().ended() == "exit 0");
    CHECK(at(read_json(job), "/status") == "completed");
    CHECK(at(read_json(job), "/jobshim/cancel") == nullptr);
    CHECK_FALSE(fs::exists(request_of(job)));
}

TEST_CASE_METHOD(Cancel, "a job that ends after a request is on disk is cancelled", "[quick]") {
    auto shim = start_job(job, until_go + "exit 0");
    worker_of(job);
    // As left by a canceller that was killed before it sent its signal.
    put(request_of(job), stale_request(job));
    put(dir / "go", "");
    CHECK(shim.wait().ended() == "exit 0");
    check_cancelled(job, "left");
    CHECK(at(exit_of(job), "/code") == 0);
}

TEST_CASE_METHOD(Cancel, "a request that came too late for one run does not affect the next",
                 "[quick]") {
    put(job, "{}");
    run_job(job, "exit 0");
    put(request_of(job), stale_request(job));
    CHECK(ctl({"status", job}).ended() == "exit 0");
    CHECK(run_job(job, "exit 0").ended() == "exit 0");
    CHECK(at(read_json(job), "/status") == "completed");
    CHECK_FALSE(fs::exists(request_of(job)));
}

// A worker that has written its result but does not end: cancel used to wait for it forever.
TEST_CASE_METHOD(
    Cancel, "a worker that wrote its result but keeps running is ended and its result is kept") {
    auto shim =
        start_job(job, until_running + R"(echo '{"status":"completed"}' > job.json; )" + for_ever);
    REQUIRE(wait_until([&] { return slurp(job) == "{\"status\":\"completed\"}\n"; }));
    const auto result = cancel();
    CHECK(result.ended() == "exit 1");
    CHECK(shim.wait().ended() == "SIGTERM");
    CHECK(at(read_json(job), "/status") == "completed");
    CHECK(at(exit_of(job), "/reason") == "cancelled");
    CHECK_FALSE(fs::exists(request_of(job)));
}

TEST_CASE_METHOD(Cancel, "a queued job is cancelled before it starts", "[quick]") {
    put(job, R"({"id":"job","status":"queued","host":1.10})");
    auto canceller = start_cancel({"--reason", "changed my mind"});
    CHECK(canceller.wait().ended() == "exit 0");
    check_cancelled(job, "changed my mind");
    CHECK(at(exit_of(job), "/requestedBy/pid") == canceller.pid());
    CHECK(at(exit_of(job), "/code") == nullptr);
    CHECK(at(read_json(job), "/jobshim/shim") == nullptr);
    CHECK(contains(slurp(job), R"("host":1.10)"));
    CHECK(names_in(dir, ".heartbeat").empty());
    CHECK(ctl({"status", job}).ended() == "exit 5");
    // The job can be run again, and its past is kept.
    CHECK(run_job(job, "exit 0").ended() == "exit 0");
    CHECK(at(read_json(job), "/jobshim/previous/reason") == "cancelled");
}

TEST_CASE_METHOD(Cancel, "a job that is over or never existed is not cancelled", "[quick]") {
    CHECK(cancel().ended() == "exit 4");
    CHECK(ctl({"cancel", "nobody-knows-it"}).ended() == "exit 4");
    CHECK(ctl({"cancel"}).ended() == "exit 2");
    // The value of the unknown option is not a second job.
    const auto wrong = ctl({"cancel", "task-1", "--companion", dir});
    CHECK(wrong.ended() == "exit 2");
    CHECK(wrong.err == "jobctl: cancel has no option --companion\nTry 'jobctl --help'.\n");
    for (const auto& [name, script, code] :
         {std::tuple{"good", "exit 0", 1}, {"bad", "exit 3", 1}}) {
        const auto file = dir / (std::string(name) + ".json");
        run_job(file, script);
        const auto before = slurp(file);
        const auto result = ctl({"cancel", file});
        CHECK(result.code() == code);
        CHECK(contains(result.err, "had already ended"));
        CHECK(slurp(file) == before);
    }
    // A job that is already cancelled is what was requested.
    put(job, R"({"status":"queued"})");
    CHECK(cancel().ended() == "exit 0");
    const auto before = slurp(job);
    CHECK(cancel().ended() == "exit 0");
    CHECK(slurp(job) == before);
    // A dead job is settled; it was not cancelled.
    fs::remove(job);
    auto shim = start_job(job, for_ever);
    kill_shim(shim, job);
    CHECK(cancel().ended() == "exit 1");
    CHECK(at(exit_of(job), "/reason") == "shim-lost");
    CHECK(names_in(dir, ".cancel").empty());
}

// ---- orphans

TEST_CASE_METHOD(Cancel, "cancel ends an orphan with its process group but no daemon", "[quick]") {
    auto shim = start_job(
        job, "sleep 1000 & echo $! > member; setsid sleep 1001 & echo $! > daemon; " + for_ever,
        {"--on-shim-death", "keep"});
    const auto worker = worker_of(job);
    const auto member = pid_in(dir / "member"), daemon = pid_in(dir / "daemon");
    REQUIRE(wait_until([&] { return process_stat(daemon).session == daemon; }));
    kill_shim(shim, job);
    REQUIRE(ask(*this, job).state == "orphaned");
    auto canceller = start_cancel({"--reason", "alone"});
    const auto result = canceller.wait();
    INFO(result.out << result.err);
    CHECK(result.ended() == "exit 0");
    CHECK_FALSE(alive(worker));
    CHECK(wait_until([&] { return !alive(member); }));
    CHECK(alive(daemon));
    check_cancelled(job, "alone");
    check_who(job, canceller);
    CHECK(has_evidence_line(job, "SIGTERM sent to the orphan after"));
    ::kill(daemon, SIGKILL);
}

TEST_CASE_METHOD(Cancel, "an orphan that ignores TERM or is stopped is ended too") {
    bool ignores_term = false;
    SECTION("ignores TERM") { ignores_term = true; }
    SECTION("stopped") { ignores_term = false; }
    auto shim = start_job(job, ignores_term ? ignoring("TERM") : "touch ready; " + for_ever,
                          {"--on-shim-death", "keep"});
    const auto worker = worker_of(job);
    wait_for_file("ready");
    kill_shim(shim, job);
    if (!ignores_term) {
        ::kill(worker, SIGSTOP);
        REQUIRE(wait_until([&] { return process_state(worker) == 'T'; }));
    }
    CHECK(cancel({"--kill-after", ignores_term ? "200ms" : "1h"}).ended() == "exit 0");
    check_cancelled(job);
    CHECK(has_evidence_line(job, "SIGKILL sent to the orphan after") == ignores_term);
}

TEST_CASE_METHOD(Cancel, "cancel ends only the worker of an orphan in a shared group", "[quick]") {
    auto shim = start_job(job, "sleep 1000 & echo $! > member; " + for_ever,
                          {"--on-shim-death", "keep", "--group", "share"});
    const auto member = pid_in(dir / "member"), worker = worker_of(job);
    kill_shim(shim, job);
    CHECK(cancel().ended() == "exit 0");
    CHECK_FALSE(alive(worker));
    CHECK(alive(member));
    check_cancelled(job);
    ::kill(member, SIGKILL);
}

// A heartbeat file speaks only for its owner's processes: root's cancel must not be made to end
// another user's process by one.
TEST_CASE_METHOD(Cancel, "a forged heartbeat file does not get another user's process ended") {
    if (geteuid() != 0) SKIP_TEST("needs root, to be somebody else");
    const auto directory = dir / "theirs";
    fs::create_directory(directory);
    const auto file = directory / "job.json";
    fs::remove(dir / "ready");
    auto shim = start_job(file, "touch ready; " + for_ever,
                          {"--on-shim-death", "keep", "--group", "share"});
    const auto worker = worker_of(file);
    wait_for_file("ready");
    kill_shim(shim, file);
    for (const auto& path : {directory, file, heartbeat_of(file)})
        REQUIRE(chown(path.c_str(), 65534, 65534) == 0);
    REQUIRE(ask(*this, file).state == "orphaned");
    const auto result = ctl({"cancel", file});
    INFO(result.err);
    CHECK(result.ended() == "exit 125");
    CHECK(contains(result.err, "is not signalled"));
    CHECK(alive(worker));
    CHECK(names_in(directory, ".cancel").empty());
    ::kill(worker, SIGKILL);
}

// ---- several

TEST_CASE_METHOD(Cancel, "ten cancels at once make one request and get ten answers") {
    Words keep;
    SECTION("of a job") {}
    SECTION("of an orphan") { keep = {"--on-shim-death", "keep"}; }
    Words options{"--kill-after", "1s"};
    options.insert(options.end(), keep.begin(), keep.end());
    auto shim = start_job(job, "trap 'echo TERM >> terms' TERM; touch ready; " + for_ever_in_shell,
                          options);
    wait_for_file("ready");
    if (!keep.empty()) kill_shim(shim, job);
    std::vector<Process> cancellers;
    for (int i = 0; i < 10; ++i)
        cancellers.push_back(start_cancel(keep.empty() ? Words{} : Words{"--kill-after", "500ms"}));
    for (auto& canceller : cancellers) {
        const auto result = canceller.wait();
        INFO(result.out << result.err);
        CHECK(result.ended() == "exit 0");
    }
    shim.wait();
    CHECK(slurp(dir / "terms") == "TERM\n");
    check_cancelled(job);
}

// The second left it to the first, which had been told to wait forever.
TEST_CASE_METHOD(Cancel, "a second cancel with stronger options overrides the first") {
    auto shim = start_job(job, "trap 'touch heard' TERM; touch ready; " + for_ever_in_shell);
    wait_for_file("ready");
    auto first = start_cancel({"--kill-after", "0"});
    wait_for_file("heard");
    CHECK(cancel({"--signal", "KILL"}).ended() == "exit 0");
    CHECK(first.wait().ended() == "exit 0");
    CHECK(shim.wait().ended() == "SIGKILL");
    check_cancelled(job);
}

// ---- permissions and namespaces

TEST_CASE_METHOD(Cancel,
                 "another user's job is not cancelled and the attempt leaves nothing behind") {
    if (geteuid() != 0) SKIP_TEST("needs root, to be somebody else");
    const auto program = public_copy(jobctl);
    struct Permissions {
        const char* name;
        fs::perms directory, files;
        bool orphan;
    };
    for (const auto& [name, directory_mode, file_mode, orphan] :
         {Permissions{"unreadable files", fs::perms(0755), fs::perms(0600), false},
          Permissions{"readable files", fs::perms(0755), fs::perms(0644), false},
          Permissions{"writable directory", fs::perms(0777), fs::perms(0644), false},
          Permissions{"an orphan", fs::perms(0777), fs::perms(0644), true}}) {
        CAPTURE(name);
        const auto directory = dir / name;
        const auto file = directory / "job.json";
        fs::create_directory(directory);
        fs::remove(dir / "ready");
        auto shim = start_job(file, "touch ready; " + for_ever, {"--on-shim-death", "keep"});
        const auto worker = worker_of(file);
        wait_for_file("ready");
        for (const auto& path : {file, heartbeat_of(file)}) fs::permissions(path, file_mode);
        fs::permissions(directory, directory_mode);
        if (orphan) kill_shim(shim, file);
        const auto before = slurp(file);
        const auto names = names_in(directory, "");
        const auto result = run({program, "cancel", file}, {.before_exec = become_nobody});
        INFO(result.out << result.err);
        CHECK(result.ended() == "exit 125");
        CHECK(lines_of(result.err).size() == 1);
        CHECK(contains(result.err, "belongs to uid 0"));
        CHECK(slurp(file) == before);
        CHECK(names_in(directory, "") == names);
        CHECK(alive(worker));
        if (orphan)
            ::kill(worker, SIGKILL);
        else
            end(shim);
    }
    // A queued job: failing to record the cancellation is not success. In a world-writable
    // directory the other user's empty heartbeat file stayed, and then the owner could not start
    // the job.
    for (const auto directory_mode : {fs::perms(0755), fs::perms(01777)}) {
        CAPTURE(static_cast<unsigned>(directory_mode));
        const auto directory = dir / "queued";
        fs::create_directories(directory);
        put(directory / "job.json", R"({"status":"queued"})");
        fs::permissions(directory / "job.json", fs::perms(0644));
        fs::permissions(directory, directory_mode);
        const auto result =
            run({program, "cancel", directory / "job.json"}, {.before_exec = become_nobody});
        CHECK(result.ended() == "exit 125");
        CHECK(slurp(directory / "job.json") == R"({"status":"queued"})");
        CHECK(names_in(directory, "") == Words{"job.json"});
    }
}

// The request was created with the canceller's umask, and the shim could not read it.
TEST_CASE_METHOD(Cancel, "root cancels another user's job") {
    if (geteuid() != 0) SKIP_TEST("needs root, to be somebody else");
    const auto shim_program = public_copy(jobshim);
    for (const auto mode : {fs::perms(0755), fs::perms(01777)}) {
        CAPTURE(static_cast<int>(mode));
        const auto directory = dir / (mode == fs::perms(0755) ? "theirs" : "sticky");
        const auto file = directory / "job.json";
        fs::create_directory(directory);
        if (mode == fs::perms(0755)) REQUIRE(chown(directory.c_str(), 65534, 65534) == 0);
        fs::permissions(directory, mode);
        // In the shell: another user need not have access to the build directory.
        auto shim = spawn({shim_program, "-j", file, "--", "sh", "-c", for_ever_in_shell},
                          {.before_exec = become_nobody});
        worker_of(file);
        const auto result = run({jobctl, "cancel", file, "--reason", "by root"},
                                {.before_exec = [] { umask(077); }});
        INFO(result.out << result.err);
        CHECK(result.ended() == "exit 0");
        shim.wait();
        check_cancelled(file, "by root");
        CHECK(at(read_json(file), "/jobshim/cancel/by/uid") == 0);
    }
}

TEST_CASE_METHOD(Cancel, "a shim in another pid namespace is not cancelled from here") {
    if (!in_path("unshare") || run({"unshare", "-pf", "--mount-proc", "--", "true"}).status != 0)
        SKIP_TEST("no pid namespaces (needs root)");
    auto shim = spawn({"unshare", "-pf", "--kill-child", "--mount-proc", "--", jobshim, "-j", job,
                       "--", "sh", "-c", for_ever});
    worker_of(job);
    const auto result = cancel();
    INFO(result.err);
    CHECK(result.ended() == "exit 125");
    CHECK(contains(result.err, "cannot be reached from here"));
    CHECK(ask(*this, job).state == "running");
    CHECK(names_in(dir, ".cancel").empty());
    shim.kill(SIGKILL);
    shim.wait();
    // Dead by now, but that cannot be determined from here.
    CHECK(wait_until([&] { return ask(*this, job).state == "unknown"; }));
    CHECK(cancel().ended() == "exit 6");
}

// Without pidfds it retried forever to get one.
TEST_CASE_METHOD(Cancel, "without pidfds cancel refuses and says so") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    auto shim = start_job(job, for_ever);
    const auto worker = worker_of(job);
    const auto result = run(under_strace(
        "/dev/null", {"-e", "trace=pidfd_open", "-e", "inject=pidfd_open:error=ENOSYS"},
        {jobctl, "cancel", job}));
    CHECK(result.ended() == "exit 125");
    CHECK(contains(result.err, "no pidfds"));
    check_unharmed(job, worker);
    end(shim);
}

TEST_CASE_METHOD(Cancel, "a request that cannot be written does no harm") {
    if (const auto why = why_no_volume("tmpfs"); !why.empty()) SKIP_TEST(why);
    const Volume volume(dir / "small", "tmpfs", {1U << 20U, 0});
    const auto file = volume.path() / "job.json";
    auto shim = start_job(file, for_ever);
    const auto worker = worker_of(file);
    {
        const auto mount = read_only_over(volume.path());
        const auto result = ctl({"cancel", file});
        CHECK(result.ended() == "exit 125");
        CHECK(contains(result.err, "Read-only file system"));
        CHECK(alive(worker));
    }
    check_unharmed(file, worker);
    CHECK(ctl({"cancel", file}).ended() == "exit 0");
    shim.wait();
    check_cancelled(file);
}

// ---- stale files in the way

TEST_CASE_METHOD(Cancel, "whatever already exists at the request's path cancel works") {
    auto shim = start_job(job, for_ever);
    worker_of(job);
    const auto request = request_of(job);
    SECTION("half a request") { put(request, R"({"by":{"pid":1)"); }
    SECTION("nothing") { put(request, ""); }
    SECTION("no request at all") { put(request, "dear diary\n"); }
    SECTION("that of a canceller who is gone") { put(request, stale_request(job)); }
    SECTION("one that names a process which is no canceller") {
        // The pid was reused: cancel used to wait for that process forever.
        put(request, R"({"by":{"pid":1,"uid":0},"reason":"old","at":"2026-11-22T18:00:00.000Z"})");
    }
    SECTION("a symlink") {
        put(dir / "precious", "x");
        fs::create_symlink("precious", request);
    }
    SECTION("a FIFO") { REQUIRE(mkfifo(request.c_str(), 0600) == 0); }
    SECTION("a directory") {
        fs::create_directory(request);
        put(request / "inside", "precious");
    }
    auto canceller = start_cancel({"--reason", "mine"});
    CHECK(canceller.wait().ended() == "exit 0");
    shim.wait();
    if (fs::is_directory(request)) {  // then the request had another name
        CHECK(slurp(request / "inside") == "precious");
        CHECK(names_in(dir, ".cancel") == Words{"job.json.cancel"});
        fs::remove_all(request);
    }
    check_cancelled(job, "mine");
    check_who(job, canceller);
    if (fs::exists(dir / "precious")) CHECK(slurp(dir / "precious") == "x");
}

// Anyone with write permission in the directory could make other users' jobs end as cancelled.
TEST_CASE_METHOD(Cancel, "another user's request is ignored", "[quick]") {
    if (geteuid() != 0) SKIP_TEST("needs root, to be somebody else");
    const auto forge = [&] {
        put(request_of(job), R"({"by":{"pid":1,"uid":0},"reason":"forged","at":"x"})");
        REQUIRE(chown(request_of(job).c_str(), 65534, 65534) == 0);
    };
    SECTION("at the end") {
        auto shim = start_job(job, until_go + "exit 0");
        worker_of(job);
        forge();
        put(dir / "go", "");
        CHECK(shim.wait().ended() == "exit 0");
        CHECK(at(read_json(job), "/status") == "completed");
    }
    SECTION("at a signal") {
        auto shim = start_job(job, for_ever);
        worker_of(job);
        forge();
        end(shim);
        CHECK(at(exit_of(job), "/reason") == "signal");
    }
    SECTION("of a dead job") {
        auto shim = start_job(job, for_ever);
        worker_of(job);
        forge();
        kill_shim(shim, job);
        CHECK(ask(*this, job).state == "failed");
        CHECK(at(exit_of(job), "/reason") == "shim-lost");
    }
    SECTION("in the way of a true one") {
        auto shim = start_job(job, for_ever);
        worker_of(job);
        forge();
        CHECK(cancel({"--reason", "true"}).ended() == "exit 0");
        shim.wait();
        check_cancelled(job, "true");
    }
}

// ---- deaths

TEST_CASE_METHOD(Cancel, "a shim that dies during the cancel leaves a cancelled job") {
    Words keep;
    SECTION("with its worker") {}
    SECTION("without") { keep = {"--on-shim-death", "keep"}; }
    auto shim = start_job(job, "trap 'touch heard' TERM; touch ready; " + for_ever_in_shell, keep);
    const auto worker = worker_of(job);
    wait_for_file("ready");
    // The shim dies within this grace period; the canceller that takes over must still enforce it.
    auto canceller = start_cancel({"--reason", "while it dies", "--kill-after", "2s"});
    wait_for_file("heard");
    shim.kill(SIGKILL);
    shim.wait();
    CHECK(canceller.wait().ended() == "exit 0");
    CHECK_FALSE(alive(worker));
    check_cancelled(job, "while it dies");
    check_who(job, canceller);
    CHECK(at(exit_of(job), "/certainty") == (keep.empty() ? "inferred" : "observed"));
    if (keep.empty()) CHECK(at(exit_of(job), "/signal") == nullptr);
}

TEST_CASE_METHOD(Cancel, "a canceller killed at any call leaves the job to the next", "[sweep]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    Matrix matrix("cancel: canceller killed");
    const auto directory = dir / "job", outside = dir / "outside";
    fs::create_directory(directory);
    fs::create_directory(outside);
    const auto file = directory / "job.json";
    const Words argv{jobctl, "cancel", file};
    const Options options{.env = no_leak_check, .cwd = outside};
    int points = 0;
    for (const bool orphan : {false, true}) {
        const std::string fault = orphan ? "while it ends an orphan" : "while it asks a shim";
        const auto start = [&] {
            for (const auto& entry : fs::directory_iterator(directory)) fs::remove(entry.path());
            fs::remove(dir / "ready");
            auto shim = start_job(file, "touch ready; " + for_ever, {"--on-shim-death", "keep"});
            wait_for_file("ready");
            if (orphan) kill_shim(shim, file);
            return shim;
        };
        auto first = start();
        const auto calls = calls_of(0, record(*this, argv, directory, options));
        first.wait();
        REQUIRE(at(read_json(file), "/status") == "cancelled");
        REQUIRE(calls.size() > 60);
        // Files left beside a job that has ended are cleared by the next run.
        const auto is_tidy = [&](bool had_ended) {
            const auto has_stale_files = [&] {
                return !names_in(directory, ".cancel").empty() ||
                       !names_in(directory, ".jobshim-").empty();
            };
            if (has_stale_files() && had_ended)
                return run_job(file, "exit 0").code() == 0 &&
                       ask(*this, file).state == "completed" && !has_stale_files();
            return !has_stale_files();
        };
        for (const auto& call : calls) {
            CAPTURE(fault, call.describe(), call.line);
            auto shim = start();
            const auto worker = worker_of(file);
            run(inject(call, "signal=SIGKILL", dir / "trace", argv), options);
            // By now it is running, about to end, or over.
            const auto said = ask(*this, file);
            const bool may_be =
                said.state == (orphan ? "orphaned" : "running") || said.state == "cancelled";
            const auto second = ctl({"cancel", file});
            shim.wait();
            const auto record = read_json(file);
            const bool good = may_be && second.ended() == "exit 0" && !alive(worker) &&
                              at(record, "/status") == "cancelled" &&
                              at(record, "/jobshim/exit/reason") == "cancelled" &&
                              at(record, "/jobshim/exit/requestedBy/how") == "jobctl cancel" &&
                              is_tidy(said.state == "cancelled");
            ++points;
            const bool seen = at(record, "/jobshim/exit/certainty") == "observed";
            matrix.count(fault, !good  ? ReportedOutcome::lie
                                : seen ? ReportedOutcome::true_end
                                       : ReportedOutcome::lost);
            if (!good && matrix.lies() <= 5)
                FAIL_CHECK(said.state << "; " << second.ended() << " " << second.err << "; "
                                      << Json(names_in(directory, "")).dump() << record.dump(1));
        }
    }
    std::cout << "cancel: canceller killed: " << points << " points\n";
    REQUIRE(matrix.lies() == 0);
}

// Whenever the cancel comes, the job is cancelled before it starts, or runs and is ended, or had
// already ended.
TEST_CASE_METHOD(Cancel, "a cancel while a job starts works or says that it did not", "[sweep]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    Matrix matrix("cancel: at the start");
    const std::string fault = "cancel while the shim starts";
    const Words argv{jobshim, "-j", job, "--", "sh", "-c", "touch started; exit 0"};
    const auto queue = [&] {
        for (const char* name : {"job.json", "job.heartbeat", "started"}) fs::remove(dir / name);
        put(job, R"({"id":"job","status":"queued"})");
    };
    queue();
    const auto calls = Stopped::calls_of(*this, argv);
    REQUIRE(calls.size() > 40);
    int points = 0;
    for (const auto& call : calls) {
        CAPTURE(call.name, call.nth, call.line);
        queue();
        Stopped stopped(*this, call, argv);
        if (!stopped.is_stopped()) {
            stopped.resume_and_wait();
            continue;
        }
        auto canceller = start_cancel({"--reason", "early"});
        // It ends, or signals the shim (which resumes it), or waits for it.
        wait_until([&] { return !canceller.running() || process_state(stopped.pid()) != 'T'; },
                   100ms);
        stopped.resume_and_wait();
        const auto result = canceller.wait();
        const auto record = read_json(job);
        const auto status = at(record, "/status");
        const bool has_run = fs::exists(dir / "started");
        // Cancelled before the shim had it, and run again: its past says so.
        const bool before = at(record, "/jobshim/previous/reason") == "cancelled";
        const bool cancelled = status == "cancelled" && result.ended() == "exit 0" &&
                               contains(at(record, "/errorMessage").get<std::string>(), "early");
        const bool completed =
            status == "completed" && has_run && result.ended() == (before ? "exit 0" : "exit 1");
        const bool good = (cancelled || completed) && names_in(dir, ".cancel").empty();
        ++points;
        matrix.count(fault, good ? ReportedOutcome::true_end : ReportedOutcome::lie);
        if (!good && matrix.lies() <= 5)
            FAIL_CHECK(result.ended() << " " << result.out << result.err << record.dump(1)
                                      << Json(names_in(dir, "")).dump());
    }
    std::cout << "cancel: at the start: " << points << " points\n";
    REQUIRE(matrix.lies() == 0);
}
