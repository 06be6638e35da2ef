// Each call in a job's life fails once, with every error that its man page lists: the worker's exit
// status comes through, or nothing was started and a message says why; and the record is true.

#include <signal.h>
#include <sys/wait.h>

#include <cerrno>
#include <iostream>
#include <map>

#include "integration/strace.hpp"

using namespace harness;

namespace {

// ---- which call can give which error

struct Error {
    int number;
    std::string name;
    Words calls;  ///< kinds of call (strace.hpp), from their man pages and the file systems
};

const std::vector<Error>& errors() {
    static const std::vector<Error> table{
        {ENOSPC, "ENOSPC", {"openat", "write", "fallocate", "fsync", "renameat2", "mkdir"}},
        {EDQUOT, "EDQUOT", {"openat", "write", "fallocate", "fsync", "renameat2", "mkdir"}},
        {EROFS, "EROFS", {"openat", "fsync", "renameat2", "mkdir", "unlink", "fchmod", "fchown"}},
        {EIO,
         "EIO",
         {"openat", "read", "pread64", "write", "fallocate", "fsync", "ftruncate", "renameat2",
          "unlink", "fchmod", "newfstatat", "readlink", "getdents64"}},
        {EINTR,
         "EINTR",
         {"openat", "read", "pread64", "write", "fallocate", "fsync", "ftruncate", "fcntl", "wait4",
          "dup2", "dup3", "rt_sigtimedwait", "poll", "clock_nanosleep"}},
        {EMFILE, "EMFILE", {"openat", "socketpair", "pipe2", "pidfd_open"}},
        {EAGAIN, "EAGAIN", {"clone", "execve"}},
        {ENOLCK, "ENOLCK", {"fcntl"}},
        {ENOMEM,
         "ENOMEM",
         {"openat", "newfstatat", "readlink", "renameat2", "unlink", "mkdir", "clone", "execve",
          "socketpair", "pidfd_open", "getcwd", "recvmsg", "poll", "fchmod"}},
    };
    return table;
}

bool is_one_of(const std::string& word, const Words& words) {
    return std::find(words.begin(), words.end(), word) != words.end();
}

bool can_give(const Call& call, const Error& error) {
    const auto has = [&](const char* text) { return contains(call.line, text); };
    const bool no_file = has("<pipe:") || has("<socket:") || has("<UNIX");
    if (no_file && (call.name == "read" || call.name == "write"))
        return error.number == EINTR || (error.number == ENOMEM && !has("<pipe:"));
    if (!is_one_of(call.kind(), error.calls)) return false;
    if (call.name == "fcntl") return has("F_SETLK") || (has("F_GETLK") && error.number == ENOLCK);
    if (call.kind() == "openat") {
        if (error.number == ENOSPC || error.number == EDQUOT) return has("O_CREAT");
        if (error.number == EROFS) return (has("O_RDWR") || has("O_WRONLY")) && !has("/dev/null");
    }
    return true;
}

// ---- the jobs

const std::string host_members = R"("host":{"n":1.10,"big":123456789012345678901234567890})";

struct Plan {
    std::string name;
    Words options = {};
    bool adopted = false;  ///< the host created the file
    bool detached = false;
    std::map<std::string, std::string> files = {};  ///< what exists beforehand
};

struct Point {
    Call call;
    Error error;
    std::string fault;         ///< its row in the matrix
    bool for_good = false;     ///< the call keeps failing
    bool may_exit_125 = true;  ///< exit status 125 after the start is not a lie
};

bool is_in_the_directory(const Call& call) { return !call.paths.empty(); }

class Stopwatch {
public:
    explicit Stopwatch(const Matrix& matrix) : matrix_(matrix), before_(matrix.total()) {}
    void say(const std::string& what) {
        const auto ms = std::chrono::duration_cast<Milliseconds>(Clock::now() - begin_).count();
        std::cout << what << ": " << matrix_.total() - before_ << " points in " << ms << " ms"
                  << std::endl;
    }

private:
    const Matrix& matrix_;
    int before_;
    Clock::time_point begin_ = Clock::now();
};

class ErrorSweep : public Sandbox {
public:
    const fs::path jobs = dir / "jobs";
    const fs::path file = jobs / "job.json";
    const fs::path ran = dir / "ran";
    const fs::path trace = dir / "trace";
    const fs::path unrecorded = jobs / "state/jobshim/unrecorded";
    const Options quiet{.env = {{"XDG_STATE_HOME", jobs / "state"}, {"PATH", "/usr/bin:/bin"}},
                        .cwd = "/"};

    void prepare(const Plan& plan) {
        fs::remove_all(jobs);
        fs::remove(ran);
        fs::create_directory(jobs);
        for (const auto& [name, text] : plan.files) {
            fs::create_directories((jobs / name).parent_path());
            put(jobs / name, text);
        }
        if (plan.adopted) put(file, "{\"id\":\"job\",\"status\":\"queued\"," + host_members + "}");
    }

    Words command(const Plan& plan) const {
        Words argv{jobshim, "-j", file};
        argv.insert(argv.end(), plan.options.begin(), plan.options.end());
        const auto script = ": > " + ran.string() + "; echo said; exit 7";
        argv.insert(argv.end(), {"--", "/bin/sh", "-c", script});
        return argv;
    }

    /// Checks jobshim's run and its record against what happened. Each lie is added to `lies`.
    ReportedOutcome judge(const Plan& plan, const Point& point, const Result& result, Words& lies) {
        const bool worked = fs::exists(ran);
        expect_whole(plan, lies);
        const auto status = look(lies);
        const bool is_seven = status.state == "failed" && status.reason == "exit-code" &&
                              at(status.exit, "/code") == 7;
        ReportedOutcome outcome = ReportedOutcome::refused;
        if (result.ended() == (plan.detached ? "exit 0" : "exit 7")) {
            if (!worked)
                lies.emplace_back("exited with the worker's status, but the worker did not run");
            if (!is_seven)
                lies.push_back("exited with the worker's status, but the verdict differs");
            outcome = ReportedOutcome::true_end;
        } else if (result.ended() != "exit 125" && result.ended() != "exit 126") {
            lies.push_back("it ended with " + result.ended());
        } else if (worked) {
            // A shim that has started a worker and cannot record its end leaves a copy.
            const bool no_copy = contains(result.err, "no copy of the end could be kept either");
            outcome = is_seven ? ReportedOutcome::true_end : ReportedOutcome::lost;
            if (!is_seven && !no_copy) lies.emplace_back("a known end is not reported");
            if (!point.may_exit_125)
                lies.emplace_back("the worker's exit status did not come through");
            expect_message(point, result, lies);
        } else {
            expect_message(point, result, lies);
            const bool said = status.reason == "spawn-failed" || status.state == "queued" ||
                              status.state == "no such job" ||
                              (!plan.files.empty() && status.reason == "shim-lost");  // as before
            const bool must_be_lost = point.for_good && status.reason == "shim-lost";
            if (must_be_lost) outcome = ReportedOutcome::lost;
            if (!said && !must_be_lost)
                lies.push_back("not started, and the verdict is " + status.text);
        }
        if (!lies.empty()) lies.push_back("status: " + status.text);
        expect_usable(plan, lies);
        return lies.empty() ? outcome : ReportedOutcome::lie;
    }

    void count(Matrix& matrix, const std::string& fault, ReportedOutcome outcome,
               const std::string& what, const Words& lies, const Result& result) {
        matrix.count(fault, lies.empty() ? outcome : ReportedOutcome::lie);
        if (lies.empty()) return;
        std::string why;
        for (const auto& lie : lies) why += "\n  " + lie;
        FAIL_CHECK(what << why << "\n  " << result.ended() << " " << result.out << result.err);
    }

    void check(Matrix& matrix, const Plan& plan, const Point& point, const Result& result) {
        Words lies;
        const auto outcome = judge(plan, point, result, lies);
        count(matrix, point.fault, outcome,
              plan.name + ", " + point.fault + " at " + point.call.describe() + ": " +
                  point.call.line,
              lies, result);
    }

    void check_tampered(Matrix& matrix, const Plan& plan, const Point& point, Tampering how) {
        prepare(plan);
        const auto result =
            run(tamper(point.call, how, point.error.number, trace, command(plan)), quiet);
        if (was_hit()) check(matrix, plan, point, result);
    }

    bool was_hit() const { return contains(slurp(trace), "INJECTED"); }

    struct Verdict {
        std::string state, reason, text;
        Json exit;
    };
    Verdict look(Words& lies) {
        const auto result = ctl({"status", "--json", file}, quiet);
        const auto report = Json::parse(result.out, nullptr, false);
        if (result.ended() == "exit 4") return {"no such job", "", result.err, {}};
        if (!report.is_array() || report.empty() || result.code() == 125) {
            lies.push_back("status: " + result.ended() + " " + result.out + result.err);
            return {};
        }
        const auto exit = at(report, "/0/job/jobshim/exit");
        const auto reason = exit.is_object() ? at(exit, "/reason") : Json("");
        return {at(report, "/0/verdict/state"), reason, report.dump(), exit};
    }

    void expect_whole(const Plan& plan, Words& lies) const {
        const auto text = slurp(file);
        if (fs::exists(file) && Json::parse(text, nullptr, false).is_discarded())
            lies.push_back("the record is torn: " + text);
        if (plan.adopted && !contains(text, host_members))
            lies.emplace_back("the host's keys are gone");
    }

    void expect_message(const Point& point, const Result& result, Words& lies) const {
        const bool why = mentions_error(result.err, point.error.number) ||
                         contains(result.err, "an unknown ");  // where a look-up failed
        bool where = contains(result.err, point.call.name) || contains(result.err, "fork");
        for (const std::string& name :
             Words{jobs, "/bin/sh", "current directory", "the worker's process", "its id", "pipe"})
            where = where || contains(result.err, name);
        if (!contains(result.err, "jobshim: ") || !why || !where)
            lies.emplace_back("no clear message");
    }

    /// The record is unchanged, or settled with this reason. True if it is settled.
    bool expect_old_or(const std::string& reason, const Plan& plan, Words& lies) const {
        expect_whole({.name = "", .adopted = true}, lies);
        if (slurp(file) == plan.files.at("job.json")) return false;
        const auto settled_reason =
            at(Json::parse(slurp(file), nullptr, false), "/jobshim/exit/reason");
        if (settled_reason != reason) lies.push_back("settled as " + settled_reason.dump());
        return true;
    }

    static ReportedOutcome outcome_from_status(const Result& result, ReportedOutcome truth,
                                               Words& lies) {
        const auto report = Json::parse(result.out, nullptr, false);
        const auto state = at(report, "/0/verdict/state");
        if (result.ended() == "exit 6" && state == "unknown") return ReportedOutcome::unknown;
        const bool says_lost = contains(at(report, "/0/verdict/because").dump(), "unknown");
        if (result.ended() != "exit 1" || state != "failed" ||
            says_lost != (truth == ReportedOutcome::lost))
            lies.push_back("status says otherwise");
        return truth;
    }

    /// The same job file can be used again, and nothing stays behind.
    void expect_usable(const Plan& plan, Words& lies) {
        const auto next = run({jobshim, "-j", file, "--", "/bin/sh", "-c", "exit 3"}, quiet);
        if (next.ended() != "exit 3")
            lies.push_back("the next run: " + next.ended() + " " + next.err);
        const auto record = Json::parse(slurp(file), nullptr, false);
        if (record.is_discarded() || at(record, "/jobshim/exit/code") != 3)
            lies.emplace_back("the next run is not recorded");
        expect_whole(plan, lies);
        if (!names_in(jobs, ".jobshim-").empty())
            lies.emplace_back("temporary files are left behind");
        if (fs::exists(unrecorded) && !fs::is_empty(unrecorded))
            lies.emplace_back("a copy of the end stays behind");
    }

    /// The record and the heartbeat file of a job whose shim was killed.
    std::map<std::string, std::string> dead_job() {
        prepare({.name = "", .adopted = true});
        auto shim = start_job(file, "exec sleep 600", {}, quiet);
        const auto worker = worker_of(file);
        kill_shim(shim, file);
        REQUIRE(wait_until([&] { return !alive(worker); }));
        return {{"job.json", slurp(file)}, {"job.heartbeat", slurp(heartbeat_of(file))}};
    }

    /// Of a job whose shim died when the end was in the heartbeat file but not yet in the record.
    std::map<std::string, std::string> dead_job_with_known_end() {
        prepare({.name = "", .adopted = true});
        const auto saved = dir / "saved";
        REQUIRE(run_job(file,
                        until_running + "cp " + file.string() + " " + saved.string() + "; exit 7",
                        {}, quiet)
                    .ended() == "exit 7");
        return {{"job.json", slurp(saved)}, {"job.heartbeat", slurp(heartbeat_of(file))}};
    }

    /// Of a job whose end is in neither, but in the copy.
    std::map<std::string, std::string> dead_job_with_a_copy_of_its_end() {
        auto files = dead_job_with_known_end();
        const auto shim = at(Json::parse(files.at("job.json")), "/jobshim/shim");
        const auto lines = lines_of(files.at("job.heartbeat"));
        REQUIRE(lines.size() == 3);
        const auto name = at(shim, "/bootId").get<std::string>() + "-" + at(shim, "/pid").dump() +
                          "-" + at(shim, "/startTime").dump() + ".heartbeat";
        files["job.heartbeat"] = lines[0] + "\n" + lines[1] + "\n";
        files["state/jobshim/unrecorded/" + name] = lines[0] + "\n" + lines[2] + "\n";
        return files;
    }

    // ---- the sweeps

    /// Each call of the shim fails once. `least`: at least this many points; fewer mean that this C
    /// library uses call names that are not known here (kind_of).
    void fail_once(const Plan& plan, int least) {
        if (!in_path("strace")) SKIP_TEST("no strace");
        Matrix matrix("error sweep, " + plan.name);
        Stopwatch watch(matrix);
        prepare(plan);
        for (const auto& call : calls_of(0, record(*this, command(plan), jobs, quiet)))
            for (const auto& error : errors()) {
                if (!can_give(call, error)) continue;
                prepare(plan);
                const auto result =
                    run(inject(call, "error=" + error.name, trace, command(plan)), quiet);
                if (was_hit())
                    check(
                        matrix, plan,
                        {.call = call, .error = error, .fault = error.name, .may_exit_125 = false},
                        result);
            }
        watch.say(plan.name);
        CHECK(matrix.total() > least);
        CHECK(matrix.lies() == 0);
    }

    /// Each call of a child before it executes fails once, and every write is cut short. In a
    /// detached job this includes each call of the shim itself, which is then a child.
    void fault_each_call(const Plan& plan, int least) {
        if (!in_path("strace")) SKIP_TEST("no strace");
        if (!can_tamper_with_syscalls()) SKIP_TEST("no ptrace for this machine");
        Matrix matrix("error sweep of children, " + plan.name);
        Stopwatch watch(matrix);
        prepare(plan);
        const auto calls = record(*this, command(plan), jobs, quiet);
        const int workers_process = plan.detached ? 2 : 1;
        bool executed = false;
        for (const auto& call : calls) {
            const bool in_worker = call.process == workers_process;
            if (call.process > workers_process || (in_worker && executed)) continue;
            executed = executed || (in_worker && call.name == "execve");
            // A shim that cannot print the id of a running job says so and exits with 125.
            Point point{.call = call,
                        .error = {},
                        .fault = "",
                        .may_exit_125 = plan.detached && call.process == 0};
            if (plan.detached || in_worker)
                for (const auto& error : errors()) {
                    if (!can_give(call, error)) continue;
                    point.error = error;
                    point.fault = error.name + (in_worker ? " before exec" : "");
                    check_tampered(matrix, plan, point, Tampering::fail);
                }
            if (call.name == "close")
                for (const auto& error : errors()) {
                    if (error.number != EIO && error.number != EINTR && error.number != ENOSPC)
                        continue;
                    point.error = error;
                    point.fault = error.name + " reported by close";
                    check_tampered(matrix, plan, point, Tampering::fail_after);
                }
            if (call.name == "write" && !contains(call.line, "<socket:")) {
                point.fault = "short write";
                check_tampered(matrix, plan, point, Tampering::shorten);
            }
        }
        watch.say(plan.name);
        CHECK(matrix.total() > least);
        CHECK(matrix.lies() == 0);
    }

    /// Each call of `jobctl reap` or `jobctl status` fails, first once and then for good.
    void fail_reader(const Plan& plan, const std::string& command, const std::string& reason,
                     ReportedOutcome truth, int least) {
        Matrix matrix("error sweep of jobctl, " + command + " of " + plan.name);
        const Words reap{"reap", "--dir", jobs};
        Words argv{jobctl};
        for (const auto& word : command == "reap" ? reap : Words{"status", "--json", file})
            argv.push_back(word);
        Stopwatch watch(matrix);
        prepare(plan);
        for (const auto& call : calls_of(0, record(*this, argv, jobs, quiet)))
            for (const auto& error : errors())
                for (const std::string& often : Words{"", "+"}) {
                    // Nothing can come of a call that is interrupted forever.
                    const bool for_good = !often.empty();
                    if (!can_give(call, error) ||
                        (for_good && (error.number == EINTR || !is_in_the_directory(call))))
                        continue;
                    prepare(plan);
                    const auto result =
                        run(inject(call, "error=" + error.name, trace, argv, often), quiet);
                    if (!was_hit()) continue;
                    Words lies;
                    const bool settled = expect_old_or(reason, plan, lies);
                    ReportedOutcome outcome = truth;
                    if (result.ended() == "exit 125") {
                        outcome = ReportedOutcome::refused;
                        if (!mentions_error(result.err, error.number))
                            lies.emplace_back("no clear message");
                    } else if (command == "reap") {
                        if (result.ended() != "exit 0") lies.push_back("reap: " + result.ended());
                        if (!settled) outcome = ReportedOutcome::unknown;
                        if (!settled && !contains(result.out, "1 unknown"))
                            lies.emplace_back("reap does not mention the job it did not settle");
                    } else {
                        outcome = outcome_from_status(result, truth, lies);
                    }
                    const auto after = ctl(reap, quiet);
                    if (after.ended() != "exit 0") lies.push_back("the next reap: " + after.err);
                    if (!expect_old_or(reason, plan, lies)) lies.emplace_back("never settled");
                    if (!names_in(jobs, ".jobshim-").empty())
                        lies.emplace_back("temporary files are left behind");
                    count(matrix, error.name + (for_good ? " for good" : ""), outcome,
                          command + " of " + plan.name + ", " + error.name + often + " at " +
                              call.describe() + ": " + call.line,
                          lies, result);
                }
        watch.say(command + " of " + plan.name);
        CHECK(matrix.total() > least);
        CHECK(matrix.lies() == 0);
    }
};

}  // namespace

TEST_CASE_METHOD(ErrorSweep, "one call of the shim fails and the record is true: an adopted file",
                 "[sweep][libc]") {
    fail_once({.name = "adopted", .options = {"--log", jobs / "out.log"}, .adopted = true}, 330);
}

TEST_CASE_METHOD(ErrorSweep, "one call of the shim fails and the record is true: a new file",
                 "[sweep]") {
    fail_once({.name = "new", .options = {"--group", "share", "--sync", "always"}}, 270);
}

TEST_CASE_METHOD(ErrorSweep, "one call of the shim fails and the record is true: over a dead job",
                 "[sweep]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    fail_once({.name = "dead before", .options = {"--group", "share"}, .files = dead_job()}, 400);
}

TEST_CASE_METHOD(ErrorSweep, "a system call of the shim keeps failing and the record is true",
                 "[sweep]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    Matrix matrix("error sweep for good");
    const Plan plan{.name = "adopted", .options = {"--log", jobs / "out.log"}, .adopted = true};
    Stopwatch watch(matrix);
    prepare(plan);
    for (const auto& call : calls_of(0, record(*this, command(plan), jobs, quiet)))
        for (const auto& error : errors()) {
            if (!is_in_the_directory(call) || !can_give(call, error) || error.number == EINTR)
                continue;
            prepare(plan);
            auto tracer =
                spawn(inject(call, "error=" + error.name, trace, command(plan), "+"), quiet);
            // It retries for 30 s, or until a second TERM.
            REQUIRE(wait_until(
                [&] {
                    if (contains(tracer.err(), "could not be recorded yet"))
                        for (const auto shim : children_of(tracer.pid())) kill(shim, SIGTERM);
                    return !tracer.running();
                },
                20s));
            const auto result = tracer.wait();
            if (was_hit())
                check(matrix, plan,
                      {.call = call,
                       .error = error,
                       .fault = error.name + " for good",
                       .for_good = true},
                      result);
        }
    watch.say("for good");
    CHECK(matrix.total() > 180);
    CHECK(matrix.lies() == 0);
}

TEST_CASE_METHOD(ErrorSweep,
                 "a call of a child fails or a write is cut short and the record is true",
                 "[sweep][libc]") {
    fault_each_call({.name = "adopted",
                     .options = {"--group", "share", "--log", jobs / "out.log"},
                     .adopted = true},
                    90);
}

TEST_CASE_METHOD(ErrorSweep,
                 "a call of a detached job fails or a write is cut short and the record is true",
                 "[sweep]") {
    fault_each_call(
        {.name = "detached", .options = {"--group", "share", "--detach"}, .detached = true}, 360);
}

TEST_CASE_METHOD(ErrorSweep, "a call of jobctl fails and the verdict is true: a lost job",
                 "[sweep]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    fail_reader({.name = "lost", .files = dead_job()}, "reap", "shim-lost", ReportedOutcome::lost,
                440);
}

TEST_CASE_METHOD(ErrorSweep, "a call of jobctl fails and the verdict is true: a known end",
                 "[sweep]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    fail_reader({.name = "known end", .files = dead_job_with_known_end()}, "status", "exit-code",
                ReportedOutcome::true_end, 330);
}

TEST_CASE_METHOD(ErrorSweep,
                 "a call of jobctl fails and the verdict is true: a copied end that is settled",
                 "[sweep]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    fail_reader({.name = "copied end", .files = dead_job_with_a_copy_of_its_end()}, "reap",
                "exit-code", ReportedOutcome::true_end, 430);
}

TEST_CASE_METHOD(ErrorSweep,
                 "a call of jobctl fails and the verdict is true: a copied end that is looked at",
                 "[sweep]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    fail_reader({.name = "copied end", .files = dead_job_with_a_copy_of_its_end()}, "status",
                "exit-code", ReportedOutcome::true_end, 380);
}
