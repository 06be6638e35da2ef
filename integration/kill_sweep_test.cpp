// Kills the shim, and a reaper, at the entry of every system call of a job's life. Whatever the
// moment, what is reported about the job afterwards is true, and its file can be used again.

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <optional>
#include <set>

#include "integration/strace.hpp"

using namespace harness;

namespace {

using Files = std::map<std::string, std::string>;  // name in the directory -> content

// A run must keep these, byte for byte.
const std::string host_bytes =
    R"("host": {"n": 1.10, "big": 123456789012345678901234567890, "e": 1E5, "twice": 1, "twice": 2, "a" : [ 1,2 , "ä\u00e4\/" ]})";
const std::string queued_record =
    "{ \"id\": \"h-1\",\"status\":\"queued\",\n\t" + host_bytes + "}\n";

/// One kind of job to sweep.
struct KillScenario {
    std::string name = {};
    Words options = {};
    std::string work = {};   ///< what the worker does between its two markers
    int code = 0;            ///< its exit status
    Files files = {};        ///< the directory's content beforehand
    Json previous_end = {};  ///< the end of the previous run, which must be kept
    bool worker_reports_end = false;
    bool has_log = false;
};

enum class Then { run, reap_and_run, run_unread };

std::string process_name(pid_t pid) {
    const auto lines = lines_of(slurp("/proc/" + std::to_string(pid) + "/comm"));
    return lines.empty() ? "" : lines[0];
}

bool is_active(const std::string& state) {
    return state == "running" || state == "stalled" || state == "orphaned";
}

bool same_end(const Json& a, const Json& b) {
    for (const char* key : {"/reason", "/certainty", "/code", "/signal", "/waitStatus"})
        if (at(a, key) != at(b, key)) return false;
    return at(a, "/certainty") != "observed" || at(a, "/endedAt") == at(b, "/endedAt");
}

/// The run that a record, or the first line of a heartbeat file, belongs to.
std::string run_in(const Json& record) {
    const auto shim = at(record, "/jobshim/shim");
    return shim.is_object() ? shim.dump() : "";
}

Json parse(const std::string& text) { return Json::parse(text, nullptr, false); }

struct HeartbeatFile {
    explicit HeartbeatFile(const fs::path& file) {
        for (const auto& line : lines_of(slurp(file))) {
            const auto json = parse(line);
            if (json.is_discarded()) continue;
            if (json.contains("jobshim")) run = run_in(json);
            if (json.contains("worker")) worker = at(json, "/worker/pid").get<pid_t>();
            if (json.contains("exit")) exit = json["exit"];
        }
    }
    std::string run;
    pid_t worker = 0;
    Json exit;
};

std::string status_of(const Json& exit) {
    const auto reason = at(exit, "/reason");
    return reason == "success" ? "completed" : reason == "cancelled" ? "cancelled" : "failed";
}

/// A false report, and what is false about it.
struct Lie : std::runtime_error {
    using std::runtime_error::runtime_error;
};

void expect(bool holds, const std::string& what) {
    if (!holds) throw Lie(what);
}

class KillSweep {
public:
    KillSweep(Sandbox& box, const std::string& name) : matrix_(name), box_(box) {
        fs::create_directory(markers_);
    }

    ~KillSweep() {
        std::cout << points_ << " points swept, " << missed_
                  << " more that the run did not reach\n";
    }

    void kill_at_each_call(const KillScenario& scenario) {
        for (const auto& call : calls_of(0, recorded(scenario))) {
            prepare(scenario);
            box_.run(inject(call, "signal=SIGKILL", trace_, command(scenario)), options_);
            look(scenario, call, "shim killed: " + scenario.name, next());
        }
    }

    /// The launcher, which no longer affects how the job ends.
    void kill_the_launcher_at_each_call(const KillScenario& scenario) {
        for (const auto& call : calls_of(0, recorded(scenario))) {
            prepare(scenario);
            box_.run(inject(call, "signal=SIGKILL", trace_, command(scenario)), options_);
            REQUIRE(wait_until([] { return children_of(getpid()).empty(); }));
            look(call, "launcher killed: " + scenario.name, [&] {
                const auto outcome = truth_of(scenario, next());
                expect(outcome == ReportedOutcome::true_end || outcome == ReportedOutcome::nothing,
                       "the job ended with its launcher");
                return outcome;
            });
        }
    }

    /// The detached shim; also checks what the launcher says about it.
    void kill_detached_at_each_call(const KillScenario& scenario) {
        for (const auto& call : calls_of(1, recorded(scenario))) {
            prepare(scenario);
            const auto launcher = box_.run(
                inject_with_children(call, "signal=SIGKILL", trace_, command(scenario)), options_);
            look(call, "shim killed: " + scenario.name, [&] {
                expect_launcher_report(launcher);
                return truth_of(scenario, next());
            });
        }
    }

    /// The worker's process at each call before its exec, alone and together with the shim.
    void kill_the_child_at_each_call(const KillScenario& scenario) {
        const auto calls = calls_of(1, recorded(scenario));
        for (const bool both : {false, true})
            for (const auto& call : calls) {
                prepare(scenario);
                // strace counts calls per process, so the same number would hit the shim as well.
                // The call is therefore only delayed, long enough to kill the process from here.
                auto tracer = box_.spawn(
                    inject_with_children(call, "delay_enter=150000", trace_, command(scenario)),
                    options_);
                kill_in_the_call(tracer, call.nth, both);
                tracer.wait();
                const std::string who = both ? "shim and worker" : "worker";
                look(scenario, call, who + " killed before the exec", next());
                if (call.name == "execve") break;
            }
    }

    /// The files of a job whose shim was killed at the first call that contains `part`, or `after`
    /// calls later.
    Files left_by_a_kill(const KillScenario& scenario, const std::string& part, int after = 0) {
        const auto calls = calls_of(0, recorded(scenario));
        const auto at = std::find_if(calls.begin(), calls.end(),
                                     [&](const Call& call) { return contains(call.line, part); });
        REQUIRE(calls.end() - at > after);
        prepare(scenario);
        box_.run(inject(at[after], "signal=SIGKILL", trace_, command(scenario)), options_);
        REQUIRE(was_killed());
        wait_for_the_worker({"--no-reap"}, HeartbeatFile(heartbeat_of(job_)));
        return files_now();
    }

    /// The files of a job that ended.
    Files left_by_a_run(const KillScenario& scenario) {
        prepare(scenario);
        box_.run(command(scenario), options_);
        return files_now();
    }

    /// jobctl reap at each of its calls while it settles these files.
    void kill_reap_at_each_call(const std::string& name, const std::string& reason,
                                const Files& files) {
        const KillScenario scenario{.name = name, .files = files};
        const Words reap{jobctl, "reap", "--dir", directory_};
        prepare(scenario);
        const auto calls = record(box_, reap, directory_, options_);
        const auto end = exit_of(job_);
        REQUIRE(at(end, "/reason") == reason);
        for (const auto& call : calls) {
            prepare(scenario);
            box_.run(inject(call, "signal=SIGKILL", trace_, reap), options_);
            look(call, "reap killed: " + name, [&] { return truth_after_reap(scenario, end); });
        }
    }

    /// `least`: the number of points must be greater than this.
    void check(int least) const {
        CHECK(matrix_.lies() == 0);
        CHECK(matrix_.total() == points_);
        CHECK(points_ > least);
        CHECK(missed_ < points_ / 10);
    }

private:
    Words command(const KillScenario& scenario) const {
        Words argv{jobshim, "-j", job_};
        argv.insert(argv.end(), scenario.options.begin(), scenario.options.end());
        argv.insert(argv.end(),
                    {"--", "sh", "-c",
                     "cd " + markers_.string() + " && echo $$ > started\n" + scenario.work +
                         "\necho > ended; exit " + std::to_string(scenario.code)});
        return argv;
    }

    std::vector<Call> recorded(const KillScenario& scenario) {
        prepare(scenario);
        auto calls = record(box_, command(scenario), directory_, options_);
        REQUIRE(at(exit_of(job_), "/code") == scenario.code);
        return calls;
    }

    void prepare(const KillScenario& scenario) {
        fs::remove(trace_);
        for (const auto& place : {directory_, markers_}) {
            fs::remove_all(place);
            fs::create_directory(place);
        }
        for (const auto& [name, content] : scenario.files) put(directory_ / name, content);
    }

    Files files_now() const {
        Files files;
        for (const auto& name : names_in(directory_, "")) files[name] = slurp(directory_ / name);
        return files;
    }

    Then next() {
        const auto now = then_;
        then_ = now == Then::run            ? Then::reap_and_run
                : now == Then::reap_and_run ? Then::run_unread
                                            : Then::run;
        return now;
    }

    /// Waits until the worker's process has begun that call, then kills it.
    void kill_in_the_call(const Process& tracer, int nth, bool both) {
        const bool there = wait_until([&] {
            // Whichever process comes first in the trace, the shim is strace's own child (once
            // strace has finished probing the kernel's features, for which it forks children too).
            auto shims = children_of(tracer.pid());
            std::erase_if(
                shims, [](pid_t pid) { return process_name(pid) != fs::path(jobshim).filename(); });
            if (shims.empty()) return !tracer.running();
            const auto shim = std::to_string(shims[0]);
            int calls = 0;
            for (const auto& line : lines_of(slurp(trace_))) {
                const auto pid = line.substr(0, line.find(' '));
                // Skip an incomplete line, the shim's calls, and the rest of an earlier call.
                if (!contains(line, "(") || pid == shim || contains(line, "resumed>")) continue;
                if (++calls < nth) continue;
                if (both) kill(shims[0], SIGKILL);
                kill(std::stoi(pid), SIGKILL);
                return true;
            }
            return false;
        });
        REQUIRE(there);
    }

    bool was_killed() const { return contains(slurp(trace_), "+++ killed by SIGKILL"); }

    /// True if the trace shows that strace killed the worker before its shim (the same signal may
    /// end the shim next).
    bool worker_was_killed_first(const Json& record) const {
        const auto worker = at(record, "/jobshim/worker/pid").dump();
        for (const auto& line : lines_of(slurp(trace_))) {
            if (!contains(line, "+++ killed by SIGKILL")) continue;
            const auto pid = line.substr(0, line.find(' '));
            if (pid == worker) return true;
            if (pid == at(record, "/jobshim/shim/pid").dump()) return false;
        }
        return false;
    }

    bool has_marker(const char* name) const { return fs::exists(markers_ / name); }

    void look(const KillScenario& scenario, const Call& call, const std::string& fault, Then then) {
        look(call, fault, [&] { return truth_of(scenario, then); });
    }

    void look(const Call& call, const std::string& fault,
              const std::function<ReportedOutcome()>& truth) {
        if (!was_killed()) {
            // Waiting for signals takes a call more in one run and a call less in another.
            ++missed_;
            return;
        }
        ++points_;
        ReportedOutcome outcome = ReportedOutcome::lie;
        try {
            outcome = truth();
        } catch (const std::exception& lie) {
            if (matrix_.lies() < 5)
                FAIL_CHECK(fault << " at " << call.describe() << "\n  " << call.line << "\n  "
                                 << lie.what() << "\n  reported: " << reported_.dump()
                                 << "\n  job file: " << slurp(job_)
                                 << "\n  heartbeat: " << slurp(heartbeat_of(job_)));
        }
        matrix_.count(fault, outcome);
    }

    Json status(const Words& more = {}) {
        Words arguments{"status", "--json", job_};
        arguments.insert(arguments.end(), more.begin(), more.end());
        const auto result = box_.ctl(arguments, options_);
        const auto parsed = parse(result.out);
        expect(parsed.is_array(), "jobctl status says: " + result.out + result.err);
        reported_ = parsed;
        return parsed.empty() ? Json() : parsed[0];
    }

    /// What is reported about a job that was just killed. Throws a Lie.
    ReportedOutcome truth_of(const KillScenario& scenario, Then then) {
        reported_ = {};
        const auto before =
            scenario.files.contains("job.json") ? scenario.files.at("job.json") : "";
        const std::string former_run = before.empty() ? "" : run_in(parse(before));
        const auto text = slurp(job_);
        const auto dead = parse(text);
        const HeartbeatFile beat(heartbeat_of(job_));
        if (fs::exists(job_) || !before.empty())
            expect(dead.is_object(), "the job file is torn: " + text);
        expect_host_bytes(before);
        // The end of this run, if the shim has recorded it anywhere.
        Json end;
        if (!beat.run.empty() && beat.run != former_run) end = beat.exit;
        if (dead.is_object() && run_in(dead) != former_run && !at(dead, "/jobshim/exit").is_null())
            end = at(dead, "/jobshim/exit");

        const Json seen =
            wait_for_the_worker(then == Then::run_unread ? Words{"--no-reap"} : Words{}, beat);
        // Just after the shim's death, the worker's process may still record that it was never
        // released to exec.
        const HeartbeatFile late(heartbeat_of(job_));
        if (end.is_null() && late.run == beat.run && at(late.exit, "/reason") == "shim-lost")
            end = late.exit;
        ReportedOutcome outcome = ReportedOutcome::nothing;
        if (fs::exists(job_)) {
            expect(seen.is_object(), "jobctl reports no such job");
            outcome = truth_in(scenario, seen, end, former_run);
        } else {
            expect(seen.is_null() || at(seen, "/verdict/state") == "unknown",
                   "a job without a file is reported");
            expect(!has_marker("started"), "the worker was started, and there is no record");
        }
        const auto settled = slurp(job_);
        if (then != Then::run_unread && !settled.empty()) {
            expect(status() == seen, "the second status differs from the first");
            expect(slurp(job_) == settled, "the second look changed the record");
        }
        if (then == Then::reap_and_run) {
            const auto reaped = box_.ctl({"reap", "--dir", directory_}, options_);
            expect(reaped.ended() == "exit 0", "reap: " + reaped.err);
            expect(slurp(job_) == settled, "reap changed a settled record");
            expect_no_stray_files(scenario, "reap");
        }
        expect_next_run(scenario, seen, end, former_run);
        return outcome;
    }

    ReportedOutcome truth_after_reap(const KillScenario& scenario, const Json& end) {
        const auto text = slurp(job_);
        const auto dead = parse(text);
        expect(dead.is_object(), "the job file is torn: " + text);
        expect_host_bytes(scenario.files.at("job.json"));
        const bool settled = at(dead, "/jobshim/exit").is_object();
        if (settled) expect(same_end(exit_of(job_), end), "a partly written end");
        const auto state = at(status({"--no-reap"}), "/verdict/state").get<std::string>();
        // A known end is reported even if it is not written down.
        const auto known = HeartbeatFile(heartbeat_of(job_)).exit;
        const auto expected = settled           ? at(dead, "/status").get<std::string>()
                              : known.is_null() ? "lost"
                                                : status_of(known);
        expect(state == expected, "reported as " + state);
        const auto again = box_.ctl({"reap", "--dir", directory_}, options_);
        expect(again.ended() == "exit 0", "the second reap: " + again.err);
        expect(!settled || slurp(job_) == text, "the second reap changed a settled record");
        expect(same_end(exit_of(job_), end), "the second reap reported a different end");
        expect_host_bytes(text);
        expect_no_stray_files(scenario, "the second reap");
        expect_next_run(scenario, status(), end, "");
        return at(end, "/reason") == "shim-lost" ? ReportedOutcome::lost
                                                 : ReportedOutcome::true_end;
    }

    void expect_launcher_report(const Result& launcher) const {
        const auto word = launcher.ended() + ", " + launcher.out + launcher.err;
        if (launcher.ended() == "exit 0") {
            expect(launcher.out == "job\n", "the launcher says: " + word);
            expect(HeartbeatFile(heartbeat_of(job_)).worker != 0 || fs::exists(job_),
                   "the launcher reports a running job that does not exist");
        } else if (launcher.ended() != "SIGKILL") {  // the same call may have ended it too
            expect(launcher.out.empty(), "the launcher says: " + word);
            // The launcher once said that COMMAND was not executed, which it could not know.
            expect(launcher.err.empty() || contains(launcher.err, "was executed is unknown"),
                   "the launcher says: " + word);
        }
    }

    /// The verdict once the worker is gone.
    Json wait_for_the_worker(const Words& options, const HeartbeatFile& beat) {
        Json seen;
        const bool gone = wait_until([&] {
            seen = status(options);
            return at(seen, "/verdict/state") != "orphaned";
        });
        expect(gone, "the worker is still running");
        const auto started = slurp(markers_ / "started");
        for (const pid_t worker : {beat.worker, started.empty() ? 0 : std::stoi(started)})
            expect(worker == 0 || !alive(worker), "the worker is alive but reported dead");
        return seen;
    }

    ReportedOutcome truth_in(const KillScenario& scenario, const Json& seen, const Json& end,
                             const std::string& former_run) {
        const auto state = at(seen, "/verdict/state").get<std::string>();
        const auto record = at(seen, "/job");
        const auto exit = at(record, "/jobshim/exit");
        expect(!is_active(state), "a dead job is reported as " + state);
        if (state == "unknown") return ReportedOutcome::unknown;
        if (state == "queued") {
            expect(!has_marker("started"), "a started job is reported as queued");
            return ReportedOutcome::nothing;
        }
        const bool is_former = !former_run.empty() && run_in(record) == former_run;
        // A status that the worker wrote stands, whatever is recorded beside it.
        if (at(seen, "/verdict").contains("notRecorded") && at(record, "/status") != "completed") {
            const auto& known = is_former ? scenario.previous_end : end;
            expect(!known.is_null() && state == status_of(known), "nobody recorded such an end");
            return ReportedOutcome::true_end;
        }
        if (is_former) {
            // The record is still the previous run's, so this run must not have got far.
            expect(!has_marker("started"), "the previous run's record, but a new one was started");
            expect(state == "lost" || same_end(exit, scenario.previous_end),
                   "the previous run's end changed");
            return ReportedOutcome::true_end;
        }
        if (!scenario.previous_end.is_null())
            expect(same_end(at(record, "/jobshim/previous"), scenario.previous_end),
                   "the previous run's end is not kept");
        if (has_marker("spoken")) {
            expect(state == "completed", "the worker said completed, jobctl says " + state);
            // The worker's word stands, whether or not the shim has added its own yet.
            expect(exit.is_null() || same_end(exit, end), "the recorded end changed");
            return ReportedOutcome::true_end;
        }
        if (scenario.worker_reports_end && state == "completed" && exit.is_null()) {
            expect(has_marker("speaking"), "the worker did not say completed");
            return ReportedOutcome::true_end;
        }
        if (state == "lost" && !end.is_null())
            return ReportedOutcome::true_end;  // a reader with --no-reap must not write it
        if (!end.is_null()) expect(same_end(exit, end), "the recorded end was replaced by another");
        if (state == "lost" || at(exit, "/reason") == "shim-lost") {
            expect(state == "lost" || state == "failed", "shim-lost, but " + state);
            // A process that never executed its worker records exactly that.
            expect(end.is_null() || at(end, "/reason") == "shim-lost",
                   "a recorded end is reported as lost");
            expect(at(record, "/jobshim/worker").is_object() || !has_marker("started"),
                   "the worker was started, and is not in the record");
            const auto because = at(seen, "/verdict/because").get<std::string>() +
                                 at(record, "/errorMessage").dump();
            expect(!contains(because, "before") || !has_marker("started"),
                   "the worker was started but is reported as not started");
            if (state == "failed")
                expect(at(exit, "/certainty") != "observed" && at(exit, "/code").is_null() &&
                           at(exit, "/signal").is_null() && at(record, "/pid").is_null(),
                       "the record claims more than anyone saw");
            return ReportedOutcome::lost;
        }
        if (at(exit, "/reason") == "signal") {
            expect(at(exit, "/signal") == SIGKILL && worker_was_killed_first(record),
                   "nobody killed the worker while its shim lived");
            return ReportedOutcome::true_end;
        }
        expect(has_marker("ended"), "an end is reported, but the worker did not finish");
        expect(at(exit, "/certainty") == "observed" && at(exit, "/code") == scenario.code,
               "not the worker's end");
        expect(state == (scenario.code == 0 ? "completed" : "failed"),
               "the state does not match the exit code");
        return ReportedOutcome::true_end;
    }

    void expect_host_bytes(const std::string& before) const {
        if (contains(before, host_bytes))
            expect(contains(slurp(job_), host_bytes), "the host's keys changed");
    }

    void expect_no_stray_files(const KillScenario& scenario, const std::string& after) const {
        std::set<std::string> mine;
        if (fs::exists(job_)) mine.insert("job.json");
        if (scenario.has_log) mine.insert("job.log");
        // An adopted file's heartbeat file stays, and so does that of a job file that the dead run
        // left behind.
        mine.insert("job.heartbeat");
        for (const auto& name : names_in(directory_, ""))
            expect(mine.contains(name), after + " left " + name);
    }

    void expect_next_run(const KillScenario& scenario, const Json& seen, const Json& end,
                         const std::string& former_run) {
        const auto before = slurp(job_);
        Words argv{"-j", job_};
        argv.insert(argv.end(), {"--", "sh", "-c", "exit 0"});
        const auto result = box_.run_shim(argv, options_);
        expect(result.ended() == "exit 0", "the next run: " + result.ended() + " " + result.err);
        const auto record = parse(slurp(job_));
        expect(record.is_object() && at(record, "/status") == "completed" &&
                   at(record, "/jobshim/exit/reason") == "success",
               "the next run is not recorded");
        expect_host_bytes(before);
        expect_no_stray_files(scenario, "the next run");
        const auto previous = at(record, "/jobshim/previous");
        if (seen.is_null() || at(seen, "/verdict/state") == "queued") {
            expect(!previous.is_object(), "`previous` describes a run that never happened");
            return;
        }
        const auto reported_exit = at(seen, "/job/jobshim/exit");
        const bool is_former = !former_run.empty() && run_in(at(seen, "/job")) == former_run;
        if (is_former)
            expect(same_end(previous, scenario.previous_end),
                   "the next run lost the previous run's end");
        else if (!end.is_null())
            expect(same_end(previous, end), "the next run lost the recorded end");
        else if (reported_exit.is_object())
            expect(same_end(previous, reported_exit), "the next run lost the end");
        else if (at(seen, "/verdict/state") == "lost")
            expect(at(previous, "/reason") == "shim-lost", "the next run invented an end");
    }

    Matrix matrix_;
    Sandbox& box_;
    const fs::path directory_ = box_.dir / "jobs", markers_ = box_.dir / "markers";
    const fs::path job_ = directory_ / "job.json", trace_ = box_.dir / "trace";
    // A short PATH makes the search short, and the working directory is not the job's (strace.hpp).
    const Options options_{.env = {{"PATH", "/usr/bin:/bin"}}, .cwd = "/"};
    Then then_ = Then::run;
    Json reported_;
    int points_ = 0, missed_ = 0;
};

// Writes `completed` itself, as hosts' workers do.
const std::string speaks =
    "\"" AWAIT_BIN
    "\" \"$JOBSHIM_JOB_FILE\" '\"phase\":\"running\"'\n"
    "sed 's/\"status\": *\"running\"/\"status\": \"completed\"/' \"$JOBSHIM_JOB_FILE\" > said\n"
    "echo > speaking\nmv said \"$JOBSHIM_JOB_FILE\"\necho > spoken";

const Files host_files{{"job.json", queued_record}};
// The previous run, for a run over its files.
const KillScenario first_run{.work = "sleep 0.02", .code = 5, .files = host_files};
const KillScenario in_the_background{.name = "in the background",
                                     .options = {"--detach", "--on-shim-death", "keep"},
                                     .work = "sleep 0.02",
                                     .code = 7,
                                     .has_log = true};

/// A run over the files left by an earlier one.
KillScenario scenario_over(KillSweep& sweep, const std::string& name, const Files& files,
                           const fs::path& log) {
    KillScenario again{.name = name,
                       .options = {"--log", log},
                       .work = "echo said",
                       .code = 7,
                       .files = files,
                       .has_log = true};
    // The end that an undisturbed next run makes of these files is the one that must be kept.
    again.previous_end = at(parse(sweep.left_by_a_run(again).at("job.json")), "/jobshim/previous");
    return again;
}

}  // namespace

TEST_CASE_METHOD(Sandbox, "the shim is killed at each call: a new job file", "[sweep]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    KillSweep sweep(*this, "kill sweep, new");
    sweep.kill_at_each_call({.name = "a new job file", .code = 7});
    sweep.check(130);
}

TEST_CASE_METHOD(Sandbox, "the worker is killed at each call before its exec", "[sweep]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    KillSweep sweep(*this, "kill sweep, worker");
    sweep.kill_the_child_at_each_call({.code = 7});
    sweep.check(25);
}

TEST_CASE_METHOD(Sandbox, "the shim is killed at each call: an adopted file", "[sweep]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    KillSweep sweep(*this, "kill sweep, adopted");
    sweep.kill_at_each_call({.name = "a host's file", .work = "sleep 0.02", .files = host_files});
    sweep.check(150);
}

TEST_CASE_METHOD(Sandbox, "the shim is killed at each call: a worker that writes its own end",
                 "[sweep]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    KillSweep sweep(*this, "kill sweep, own end");
    sweep.kill_at_each_call({.name = "a worker that writes its own end",
                             .work = speaks,
                             .code = 3,
                             .files = host_files,
                             .worker_reports_end = true});
    sweep.check(150);
}

TEST_CASE_METHOD(Sandbox, "the shim is killed at each call: over a record that ended", "[sweep]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    KillSweep sweep(*this, "kill sweep, over an end");
    const auto ended = scenario_over(sweep, "over a record that ended",
                                     sweep.left_by_a_run(first_run), dir / "jobs" / "job.log");
    REQUIRE(at(ended.previous_end, "/code") == 5);
    sweep.kill_at_each_call(ended);
    sweep.check(150);
}

TEST_CASE_METHOD(Sandbox,
                 "the shim is killed at each call: over an end that is in the heartbeat file",
                 "[sweep]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    KillSweep sweep(*this, "kill sweep, over a known end");
    const auto known = scenario_over(sweep, "over a dead run whose end is in the heartbeat file",
                                     sweep.left_by_a_kill(first_run, R"("{\"exit\")", 1),
                                     dir / "jobs" / "job.log");
    REQUIRE(at(known.previous_end, "/code") == 5);
    sweep.kill_at_each_call(known);
    sweep.check(150);
}

TEST_CASE_METHOD(Sandbox, "the shim is killed at each call: over an end that nobody saw",
                 "[sweep]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    KillSweep sweep(*this, "kill sweep, over a lost end");
    const auto lost =
        scenario_over(sweep, "over a dead run whose end nobody saw",
                      sweep.left_by_a_kill(first_run, "waitid("), dir / "jobs" / "job.log");
    REQUIRE(at(lost.previous_end, "/reason") == "shim-lost");
    sweep.kill_at_each_call(lost);
    sweep.check(150);
}

TEST_CASE_METHOD(Sandbox, "the launcher of a job in the background is killed at each call",
                 "[sweep]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    KillSweep sweep(*this, "kill sweep, launcher");
    sweep.kill_the_launcher_at_each_call(in_the_background);
    sweep.check(20);
}

TEST_CASE_METHOD(Sandbox, "the shim is killed at each call: in the background", "[sweep]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    KillSweep sweep(*this, "kill sweep, detached");
    sweep.kill_detached_at_each_call(in_the_background);
    sweep.check(100);
}

TEST_CASE_METHOD(Sandbox, "reap is killed at each call", "[sweep]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    KillSweep sweep(*this, "kill sweep, reap");
    const KillScenario fresh{.work = "sleep 0.02", .code = 5};
    KillScenario adopted = fresh;
    adopted.files = {{"job.json", queued_record}};
    sweep.kill_reap_at_each_call("an end that nobody saw", "shim-lost",
                                 sweep.left_by_a_kill(adopted, "waitid("));
    sweep.kill_reap_at_each_call("a worker that was not started", "shim-lost",
                                 sweep.left_by_a_kill(fresh, "socketpair("));
    const auto known = sweep.left_by_a_kill(adopted, R"("{\"exit\")", 1);
    sweep.kill_reap_at_each_call("an end in the heartbeat file", "exit-code", known);
    sweep.check(150);
}
