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
const std::string queued = "{ \"id\": \"h-1\",\"status\":\"queued\",\n\t" + host_bytes + "}\n";

/// One kind of job to sweep.
struct Scene {
    std::string name = {};
    Words options = {};
    std::string work = {};  ///< what the worker does between its two proofs
    int code = 0;           ///< its exit status
    Files files = {};       ///< the directory's content beforehand
    Json former = {};       ///< the end of the previous run, which must be kept
    bool worker_speaks = false;
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

void retry_transient(bool holds, const std::string& what) {
    if (!holds) throw Lie(what);
}

class Sweep {
public:
    Sweep(Sandbox& box, const std::string& name) : matrix_(name), box_(box) {
        fs::create_directory(proofs_);
    }

    ~Sweep() {
        std::cout << points_ << " points swept, " << missed_
                  << " more that the run did not reach\n";
    }

    void kill_at_each_call(const Scene& scene) {
        for (const auto& call : calls_of(0, recorded(scene))) {
            prepare(scene);
            box_.run(inject(call, "signal=SIGKILL", trace_, command(scene)), surroundings_);
            look(scene, call, "shim killed: " + scene.name, next());
        }
    }

    /// The launcher, which no longer affects how the job ends.
    void kill_the_launcher_at_each_call(const Scene& scene) {
        for (const auto& call : calls_of(0, recorded(scene))) {
            prepare(scene);
            box_.run(inject(call, "signal=SIGKILL", trace_, command(scene)), surroundings_);
            REQUIRE(wait_until([] { return children_of(getpid()).empty(); }));
            look(call, "launcher killed: " + scene.name, [&] {
                const auto told = truth_of(scene, next());
                retry_transient(
                    told == ReportedOutcome::true_end || told == ReportedOutcome::nothing,
                    "the job ended with its launcher");
                return told;
            });
        }
    }

    /// The detached shim; also checks what the launcher says about it.
    void kill_detached_at_each_call(const Scene& scene) {
        for (const auto& call : calls_of(1, recorded(scene))) {
            prepare(scene);
            const auto launcher =
                box_.run(inject_with_children(call, "signal=SIGKILL", trace_, command(scene)),
                         surroundings_);
            look(call, "shim killed: " + scene.name, [&] {
                insist_on_the_launchers_word(launcher);
                return truth_of(scene, next());
            });
        }
    }

    /// The worker's process at each call before its exec, alone and together with the shim.
    void kill_the_child_at_each_call(const Scene& scene) {
        const auto calls = calls_of(1, recorded(scene));
        for (const bool both : {false, true})
            for (const auto& call : calls) {
                prepare(scene);
                // strace counts calls per process, so the same number would hit the shim as well.
                // The call is therefore only delayed, long enough to kill the process from here.
                auto tracer = box_.spawn(
                    inject_with_children(call, "delay_enter=150000", trace_, command(scene)),
                    surroundings_);
                kill_in_the_call(tracer, call.nth, both);
                tracer.wait();
                const std::string who = both ? "shim and worker" : "worker";
                look(scene, call, who + " killed before the exec", next());
                if (call.name == "execve") break;
            }
    }

    /// The files of a job whose shim was killed at the first call that contains `part`, or `after`
    /// calls later.
    Files left_by_a_kill(const Scene& scene, const std::string& part, int after = 0) {
        const auto calls = calls_of(0, recorded(scene));
        const auto at = std::find_if(calls.begin(), calls.end(),
                                     [&](const Call& call) { return contains(call.line, part); });
        REQUIRE(calls.end() - at > after);
        prepare(scene);
        box_.run(inject(at[after], "signal=SIGKILL", trace_, command(scene)), surroundings_);
        REQUIRE(was_killed());
        wait_for_the_worker({"--no-reap"}, HeartbeatFile(heartbeat_of(job_)));
        return files_now();
    }

    /// The files of a job that ended.
    Files left_by_a_run(const Scene& scene) {
        prepare(scene);
        box_.run(command(scene), surroundings_);
        return files_now();
    }

    /// jobctl reap at each of its calls while it settles these files.
    void kill_reap_at_each_call(const std::string& name, const std::string& reason,
                                const Files& files) {
        const Scene scene{.name = name, .files = files};
        const Words reap{jobctl, "reap", "--dir", folder_};
        prepare(scene);
        const auto calls = record(box_, reap, folder_, surroundings_);
        const auto end = exit_of(job_);
        REQUIRE(at(end, "/reason") == reason);
        for (const auto& call : calls) {
            prepare(scene);
            box_.run(inject(call, "signal=SIGKILL", trace_, reap), surroundings_);
            look(call, "reap killed: " + name, [&] { return truth_after_reap(scene, end); });
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
    Words command(const Scene& scene) const {
        Words argv{jobshim, "-j", job_};
        argv.insert(argv.end(), scene.options.begin(), scene.options.end());
        argv.insert(argv.end(), {"--", "sh", "-c",
                                 "cd " + proofs_.string() + " && echo $$ > started\n" + scene.work +
                                     "\necho > ended; exit " + std::to_string(scene.code)});
        return argv;
    }

    std::vector<Call> recorded(const Scene& scene) {
        prepare(scene);
        auto calls = record(box_, command(scene), folder_, surroundings_);
        REQUIRE(at(exit_of(job_), "/code") == scene.code);
        return calls;
    }

    void prepare(const Scene& scene) {
        fs::remove(trace_);
        for (const auto& place : {folder_, proofs_}) {
            fs::remove_all(place);
            fs::create_directory(place);
        }
        for (const auto& [name, content] : scene.files) put(folder_ / name, content);
    }

    Files files_now() const {
        Files files;
        for (const auto& name : names_in(folder_, "")) files[name] = slurp(folder_ / name);
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

    bool has_proof(const char* name) const { return fs::exists(proofs_ / name); }

    void look(const Scene& scene, const Call& call, const std::string& fault, Then then) {
        look(call, fault, [&] { return truth_of(scene, then); });
    }

    void look(const Call& call, const std::string& fault,
              const std::function<ReportedOutcome()>& truth) {
        if (!was_killed()) {
            // Waiting for signals takes a call more in one run and a call less in another.
            ++missed_;
            return;
        }
        ++points_;
        ReportedOutcome told = ReportedOutcome::lie;
        try {
            told = truth();
        } catch (const std::exception& lie) {
            if (matrix_.lies() < 5)
                FAIL_CHECK(fault << " at " << call.in_words() << "\n  " << call.line << "\n  "
                                 << lie.what() << "\n  said: " << said_.dump() << "\n  job file: "
                                 << slurp(job_) << "\n  heartbeat: " << slurp(heartbeat_of(job_)));
        }
        matrix_.count(fault, told);
    }

    Json status(const Words& more = {}) {
        Words arguments{"status", "--json", job_};
        arguments.insert(arguments.end(), more.begin(), more.end());
        const auto result = box_.ctl(arguments, surroundings_);
        const auto parsed = parse(result.out);
        retry_transient(parsed.is_array(), "jobctl status says: " + result.out + result.err);
        said_ = parsed;
        return parsed.empty() ? Json() : parsed[0];
    }

    /// What is reported about a job that was just killed. Throws a Lie.
    ReportedOutcome truth_of(const Scene& scene, Then then) {
        said_ = {};
        const auto before = scene.files.contains("job.json") ? scene.files.at("job.json") : "";
        const std::string former_run = before.empty() ? "" : run_in(parse(before));
        const auto text = slurp(job_);
        const auto dead = parse(text);
        const HeartbeatFile beat(heartbeat_of(job_));
        if (fs::exists(job_) || !before.empty())
            retry_transient(dead.is_object(), "the job file is torn: " + text);
        insist_on_host_bytes(before);
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
        ReportedOutcome told = ReportedOutcome::nothing;
        if (fs::exists(job_)) {
            retry_transient(seen.is_object(), "no such job, says jobctl");
            told = truth_in(scene, seen, end, former_run);
        } else {
            retry_transient(seen.is_null() || at(seen, "/verdict/state") == "unknown",
                            "a job without a file is told of");
            retry_transient(!has_proof("started"),
                            "the worker was started, and there is no record");
        }
        const auto settled = slurp(job_);
        if (then != Then::run_unread && !settled.empty()) {
            retry_transient(status() == seen, "the second look says something else");
            retry_transient(slurp(job_) == settled, "the second look changed the record");
        }
        if (then == Then::reap_and_run) {
            const auto reaped = box_.ctl({"reap", "--dir", folder_}, surroundings_);
            retry_transient(reaped.ended() == "exit 0", "reap: " + reaped.err);
            retry_transient(slurp(job_) == settled, "reap changed a settled record");
            insist_on_tidiness(scene, "reap");
        }
        insist_on_the_next_run(scene, seen, end, former_run);
        return told;
    }

    ReportedOutcome truth_after_reap(const Scene& scene, const Json& end) {
        const auto text = slurp(job_);
        const auto dead = parse(text);
        retry_transient(dead.is_object(), "the job file is torn: " + text);
        insist_on_host_bytes(scene.files.at("job.json"));
        const bool settled = at(dead, "/jobshim/exit").is_object();
        if (settled) retry_transient(same_end(exit_of(job_), end), "half a settler's end");
        const auto state = at(status({"--no-reap"}), "/verdict/state").get<std::string>();
        // A known end is reported even if it is not written down.
        const auto known = HeartbeatFile(heartbeat_of(job_)).exit;
        const auto expected = settled           ? at(dead, "/status").get<std::string>()
                              : known.is_null() ? "lost"
                                                : status_of(known);
        retry_transient(state == expected, "said to be " + state);
        const auto again = box_.ctl({"reap", "--dir", folder_}, surroundings_);
        retry_transient(again.ended() == "exit 0", "the second reap: " + again.err);
        retry_transient(!settled || slurp(job_) == text,
                        "the second reap changed a settled record");
        retry_transient(same_end(exit_of(job_), end), "the second reap told another end");
        insist_on_host_bytes(text);
        insist_on_tidiness(scene, "the second reap");
        insist_on_the_next_run(scene, status(), end, "");
        return at(end, "/reason") == "shim-lost" ? ReportedOutcome::lost
                                                 : ReportedOutcome::true_end;
    }

    void insist_on_the_launchers_word(const Result& launcher) const {
        const auto word = launcher.ended() + ", " + launcher.out + launcher.err;
        if (launcher.ended() == "exit 0") {
            retry_transient(launcher.out == "job\n", "the launcher says: " + word);
            retry_transient(HeartbeatFile(heartbeat_of(job_)).worker != 0 || fs::exists(job_),
                            "the launcher says that a job runs which is not there");
        } else if (launcher.ended() != "SIGKILL") {  // the same call may have ended it too
            retry_transient(launcher.out.empty(), "the launcher says: " + word);
            // The launcher once said that COMMAND was not executed, which it could not know.
            retry_transient(
                launcher.err.empty() || contains(launcher.err, "was executed is unknown"),
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
        retry_transient(gone, "the worker runs on");
        const auto started = slurp(proofs_ / "started");
        for (const pid_t worker : {beat.worker, started.empty() ? 0 : std::stoi(started)})
            retry_transient(worker == 0 || !alive(worker),
                            "the worker lives, and is said to be dead");
        return seen;
    }

    ReportedOutcome truth_in(const Scene& scene, const Json& seen, const Json& end,
                             const std::string& former_run) {
        const auto state = at(seen, "/verdict/state").get<std::string>();
        const auto record = at(seen, "/job");
        const auto exit = at(record, "/jobshim/exit");
        retry_transient(!is_active(state), "a dead job is said to be " + state);
        if (state == "unknown") return ReportedOutcome::unknown;
        if (state == "queued") {
            retry_transient(!has_proof("started"), "what was started is said to be queued");
            return ReportedOutcome::nothing;
        }
        const bool is_former = !former_run.empty() && run_in(record) == former_run;
        // A status that the worker wrote stands, whatever is recorded beside it.
        if (at(seen, "/verdict").contains("notRecorded") && at(record, "/status") != "completed") {
            const auto& known = is_former ? scene.former : end;
            retry_transient(!known.is_null() && state == status_of(known),
                            "nobody recorded such an end");
            return ReportedOutcome::true_end;
        }
        if (is_former) {
            // The record is still the last run's, so this run must not have got far.
            retry_transient(!has_proof("started"),
                            "the last run's record, but a new one was started");
            retry_transient(state == "lost" || same_end(exit, scene.former),
                            "the last run's end changed");
            return ReportedOutcome::true_end;
        }
        if (!scene.former.is_null())
            retry_transient(same_end(at(record, "/jobshim/previous"), scene.former),
                            "the last run's end is not kept");
        if (has_proof("spoken")) {
            retry_transient(state == "completed",
                            "the worker said completed, jobctl says " + state);
            // The worker's word stands, whether or not the shim has added its own yet.
            retry_transient(exit.is_null() || same_end(exit, end), "the recorded end changed");
            return ReportedOutcome::true_end;
        }
        if (scene.worker_speaks && state == "completed" && exit.is_null()) {
            retry_transient(has_proof("speaking"), "the worker did not say completed");
            return ReportedOutcome::true_end;
        }
        if (state == "lost" && !end.is_null())
            return ReportedOutcome::true_end;  // a reader with --no-reap must not write it
        if (!end.is_null()) retry_transient(same_end(exit, end), "the recorded end became another");
        if (state == "lost" || at(exit, "/reason") == "shim-lost") {
            retry_transient(state == "lost" || state == "failed", "shim-lost, but " + state);
            // A process that never executed its worker records exactly that.
            retry_transient(end.is_null() || at(end, "/reason") == "shim-lost",
                            "the end was recorded, and is said to be lost");
            retry_transient(at(record, "/jobshim/worker").is_object() || !has_proof("started"),
                            "the worker was started, and is not in the record");
            const auto because = at(seen, "/verdict/because").get<std::string>() +
                                 at(record, "/errorMessage").dump();
            retry_transient(!contains(because, "before") || !has_proof("started"),
                            "the worker was started, and is said not to be");
            if (state == "failed")
                retry_transient(at(exit, "/certainty") != "observed" &&
                                    at(exit, "/code").is_null() && at(exit, "/signal").is_null() &&
                                    at(record, "/pid").is_null(),
                                "more is said than anybody saw");
            return ReportedOutcome::lost;
        }
        if (at(exit, "/reason") == "signal") {
            retry_transient(at(exit, "/signal") == SIGKILL && worker_was_killed_first(record),
                            "nobody killed the worker while its shim lived");
            return ReportedOutcome::true_end;
        }
        retry_transient(has_proof("ended"),
                        "an end is told, and the worker did not come to its end");
        retry_transient(at(exit, "/certainty") == "observed" && at(exit, "/code") == scene.code,
                        "another end than the worker's");
        retry_transient(state == (scene.code == 0 ? "completed" : "failed"),
                        "not what the code means");
        return ReportedOutcome::true_end;
    }

    void insist_on_host_bytes(const std::string& before) const {
        if (contains(before, host_bytes))
            retry_transient(contains(slurp(job_), host_bytes), "the host's keys changed");
    }

    void insist_on_tidiness(const Scene& scene, const std::string& after) const {
        std::set<std::string> mine;
        if (fs::exists(job_)) mine.insert("job.json");
        if (scene.has_log) mine.insert("job.log");
        // An adopted file's heartbeat file stays, and so does that of a job file that the dead run
        // left behind.
        mine.insert("job.heartbeat");
        for (const auto& name : names_in(folder_, ""))
            retry_transient(mine.contains(name), after + " left " + name);
    }

    void insist_on_the_next_run(const Scene& scene, const Json& seen, const Json& end,
                                const std::string& former_run) {
        const auto before = slurp(job_);
        Words argv{"-j", job_};
        argv.insert(argv.end(), {"--", "sh", "-c", "exit 0"});
        const auto result = box_.run_shim(argv, surroundings_);
        retry_transient(result.ended() == "exit 0",
                        "the next run: " + result.ended() + " " + result.err);
        const auto record = parse(slurp(job_));
        retry_transient(record.is_object() && at(record, "/status") == "completed" &&
                            at(record, "/jobshim/exit/reason") == "success",
                        "the next run is not recorded");
        insist_on_host_bytes(before);
        insist_on_tidiness(scene, "the next run");
        const auto previous = at(record, "/jobshim/previous");
        if (seen.is_null() || at(seen, "/verdict/state") == "queued") {
            retry_transient(!previous.is_object(), "a run before that there was not");
            return;
        }
        const auto told = at(seen, "/job/jobshim/exit");
        const bool is_former = !former_run.empty() && run_in(at(seen, "/job")) == former_run;
        if (is_former)
            retry_transient(same_end(previous, scene.former),
                            "the next run lost the last run's end");
        else if (!end.is_null())
            retry_transient(same_end(previous, end), "the next run lost the recorded end");
        else if (told.is_object())
            retry_transient(same_end(previous, told), "the next run lost the end");
        else if (at(seen, "/verdict/state") == "lost")
            retry_transient(at(previous, "/reason") == "shim-lost", "the next run made an end up");
    }

    Matrix matrix_;
    Sandbox& box_;
    const fs::path folder_ = box_.dir / "jobs", proofs_ = box_.dir / "proofs";
    const fs::path job_ = folder_ / "job.json", trace_ = box_.dir / "trace";
    // A short PATH makes the search short, and the working directory is not the job's (strace.hpp).
    const Options surroundings_{.env = {{"PATH", "/usr/bin:/bin"}}, .cwd = "/"};
    Then then_ = Then::run;
    Json said_;
    int points_ = 0, missed_ = 0;
};

// Writes `completed` itself, as hosts' workers do.
const std::string speaks =
    "until grep -q '\"phase\": *\"running\"' \"$JOBSHIM_JOB_FILE\"; do sleep 0.01; done\n"
    "sed 's/\"status\": *\"running\"/\"status\": \"completed\"/' \"$JOBSHIM_JOB_FILE\" > said\n"
    "echo > speaking\nmv said \"$JOBSHIM_JOB_FILE\"\necho > spoken";

const Files host{{"job.json", queued}};
// The previous run, for a run over its files.
const Scene first{.work = "sleep 0.02", .code = 5, .files = host};
const Scene in_the_background{.name = "in the background",
                              .options = {"--detach", "--on-shim-death", "keep"},
                              .work = "sleep 0.02",
                              .code = 7,
                              .has_log = true};

/// A run over the files left by an earlier one.
Scene scene_over(Sweep& sweep, const std::string& name, const Files& files, const fs::path& log) {
    Scene again{.name = name,
                .options = {"--log", log},
                .work = "echo said",
                .code = 7,
                .files = files,
                .has_log = true};
    // The end that an undisturbed next run makes of these files is the one that must be kept.
    again.former = at(parse(sweep.left_by_a_run(again).at("job.json")), "/jobshim/previous");
    return again;
}

}  // namespace

TEST_CASE_METHOD(Sandbox, "the shim is killed at each call: a new job file", "[sweep]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    Sweep sweep(*this, "kill sweep, new");
    sweep.kill_at_each_call({.name = "a new job file", .code = 7});
    sweep.check(130);
}

TEST_CASE_METHOD(Sandbox, "the worker is killed at each call before its exec", "[sweep]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    Sweep sweep(*this, "kill sweep, worker");
    sweep.kill_the_child_at_each_call({.code = 7});
    sweep.check(25);
}

TEST_CASE_METHOD(Sandbox, "the shim is killed at each call: an adopted file", "[sweep]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    Sweep sweep(*this, "kill sweep, adopted");
    sweep.kill_at_each_call({.name = "a host's file", .work = "sleep 0.02", .files = host});
    sweep.check(150);
}

TEST_CASE_METHOD(Sandbox, "the shim is killed at each call: a worker that writes its own end",
                 "[sweep]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    Sweep sweep(*this, "kill sweep, own end");
    sweep.kill_at_each_call({.name = "a worker that writes its own end",
                             .work = speaks,
                             .code = 3,
                             .files = host,
                             .worker_speaks = true});
    sweep.check(150);
}

TEST_CASE_METHOD(Sandbox, "the shim is killed at each call: over a record that ended", "[sweep]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    Sweep sweep(*this, "kill sweep, over an end");
    const auto ended = scene_over(sweep, "over a record that ended", sweep.left_by_a_run(first),
                                  dir / "jobs" / "job.log");
    REQUIRE(at(ended.former, "/code") == 5);
    sweep.kill_at_each_call(ended);
    sweep.check(150);
}

TEST_CASE_METHOD(Sandbox,
                 "the shim is killed at each call: over an end that is in the heartbeat file",
                 "[sweep]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    Sweep sweep(*this, "kill sweep, over a known end");
    const auto known =
        scene_over(sweep, "over a dead run whose end is in the heartbeat file",
                   sweep.left_by_a_kill(first, R"("{\"exit\")", 1), dir / "jobs" / "job.log");
    REQUIRE(at(known.former, "/code") == 5);
    sweep.kill_at_each_call(known);
    sweep.check(150);
}

TEST_CASE_METHOD(Sandbox, "the shim is killed at each call: over an end that nobody saw",
                 "[sweep]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    Sweep sweep(*this, "kill sweep, over a lost end");
    const auto lost = scene_over(sweep, "over a dead run whose end nobody saw",
                                 sweep.left_by_a_kill(first, "waitid("), dir / "jobs" / "job.log");
    REQUIRE(at(lost.former, "/reason") == "shim-lost");
    sweep.kill_at_each_call(lost);
    sweep.check(150);
}

TEST_CASE_METHOD(Sandbox, "the launcher of a job in the background is killed at each call",
                 "[sweep]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    Sweep sweep(*this, "kill sweep, launcher");
    sweep.kill_the_launcher_at_each_call(in_the_background);
    sweep.check(20);
}

TEST_CASE_METHOD(Sandbox, "the shim is killed at each call: in the background", "[sweep]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    Sweep sweep(*this, "kill sweep, detached");
    sweep.kill_detached_at_each_call(in_the_background);
    sweep.check(100);
}

TEST_CASE_METHOD(Sandbox, "reap is killed at each call", "[sweep]") {
    if (!in_path("strace")) SKIP_TEST("no strace");
    Sweep sweep(*this, "kill sweep, reap");
    const Scene fresh{.work = "sleep 0.02", .code = 5};
    Scene adopted = fresh;
    adopted.files = {{"job.json", queued}};
    sweep.kill_reap_at_each_call("an end that nobody saw", "shim-lost",
                                 sweep.left_by_a_kill(adopted, "waitid("));
    sweep.kill_reap_at_each_call("a worker that was not started", "shim-lost",
                                 sweep.left_by_a_kill(fresh, "socketpair("));
    const auto known = sweep.left_by_a_kill(adopted, R"("{\"exit\")", 1);
    sweep.kill_reap_at_each_call("an end in the heartbeat file", "exit-code", known);
    sweep.check(150);
}
