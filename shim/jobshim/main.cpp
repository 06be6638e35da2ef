// jobshim: runs a worker as its child and records how it ended. The life of a job, top down.

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "common/atomic_file.hpp"
#include "common/clocks.hpp"
#include "common/core_pattern.hpp"
#include "common/oom_evidence.hpp"
#include "common/posix_error.hpp"
#include "common/process_identity.hpp"
#include "common/units.hpp"
#include "shim/jobshim/companion_gate.hpp"
#include "shim/jobshim/descriptors.hpp"
#include "shim/jobshim/launcher.hpp"
#include "shim/jobshim/log_file.hpp"
#include "shim/jobshim/options.hpp"
#include "shim/jobshim/recorder.hpp"
#include "shim/jobshim/signals.hpp"
#include "shim/jobshim/supervisor.hpp"
#include "shim/jobshim/worker.hpp"

namespace jobshim {
namespace {

using std::chrono::milliseconds;

constexpr int own_failure = 125;
constexpr int timed_out = 124;
constexpr milliseconds exec_patience{1000};
constexpr milliseconds terminal_patience{50};

void say(const std::string& message) {
    // As one write, so that no other line comes between.
    std::fputs(("jobshim: " + printable(message) + "\n").c_str(), stderr);
}

std::string current_directory() {
    const std::unique_ptr<char, decltype(&std::free)> path(::getcwd(nullptr, 0), &std::free);
    return path ? path.get() : "";
}

Setting gather_setting(const Options& options) {
    Setting setting;
    const ProcessStat own = own_process_stat();
    setting.observer.here = identity_of_this_process(own);
    try {
        setting.observer.state_directory =
            state_directory(std::getenv("XDG_STATE_HOME"), std::getenv("HOME"));
    } catch (const Refusal&) {
        // Needed only for the default place of a job file, which says so itself.
        setting.observer.state_directory.clear();
    }
    setting.working_directory = current_directory();
    setting.group = options.group.value_or(own.terminal == 0 ? Group::own : Group::share);
    return setting;
}

std::string made_up_id() {
    const auto base36 = [](std::uint64_t number, std::size_t width) {
        std::string text;
        for (; number != 0 || text.size() < width; number /= 36)
            text.insert(text.begin(), "0123456789abcdefghijklmnopqrstuvwxyz"[number % 36]);
        return text;
    };
    const auto now = static_cast<std::uint64_t>(wall_now_ms());
    // Unique, not secret: the file is made with O_EXCL, and a lock guards it.
    const auto noise = static_cast<std::uint64_t>(monotonic_now().count()) * 6364136223846793005U +
                       static_cast<std::uint64_t>(::getpid()) * 1442695040888963407U;
    return "job-" + base36(now, 1) + "-" + base36((noise >> 16U) % 2176782336U, 6);
}

// Where the record goes. A folder that the user named must exist; the default one is made.
JobFiles choose_files(Options& options) {
    if (!options.job.empty()) return job_files_of(options.job);
    // A mistyped one must not be littered. One that is not there yet is made, as the plugin would.
    struct stat info {};
    if (!options.companion.empty() && ::stat(options.companion.c_str(), &info) == 0 &&
        !is_companion_directory(options.companion))
        throw Refusal(options.companion +
                      ": no state directory of codex-companion (no state.json, no jobs/)");
    const std::string jobs =
        options.companion.empty()
            ? state_directory(std::getenv("XDG_STATE_HOME"), std::getenv("HOME")) + "/jobs"
            : CompanionPlaces(absolute_path(options.companion)).own;
    make_directories(jobs);
    if (options.id.empty()) options.id = made_up_id();
    return job_files_of(jobs + "/" + options.id + ".json");
}

bool leads_to_dev_null(int fd) {
    struct stat info {};
    return ::fstat(fd, &info) == 0 && S_ISCHR(info.st_mode) && info.st_rdev == makedev(1, 3);
}

std::unique_ptr<LogFile> open_log(const Options& options, const Recorder* recorder) {
    if (!options.log.empty()) {
        // What is appended to the record or to the lock's file would destroy it.
        if (recorder != nullptr) {
            const std::string log = job_files_of(options.log).job;
            if (log == recorder->files().job || log == recorder->files().heartbeat)
                throw Refusal(options.log + ": is the job's own file, and cannot be its log");
        }
        return std::make_unique<LogFile>(options.log);
    }
    if (!options.detach) return nullptr;
    if (recorder == nullptr) throw Refusal("--detach without a record needs --log");
    return std::make_unique<LogFile>(recorder->files().directory + "/" + recorder->id() + ".log");
}

// True for what calls a job off before its worker is there. Of what the launcher ignored or blocked
// none does.
bool calls_off(const siginfo_t& info, const SignalGate& signals) {
    switch (info.si_signo) {
        case SIGTERM:
        case SIGINT:
        case SIGHUP:
        case SIGQUIT:
            return !signals.is_unwanted(info.si_signo);
    }
    return false;
}

// Ended by a signal by which the plugin, or a person, ends a job.
bool may_be_the_plugins_doing(const Ending& ending) {
    if (ending.terms > 0 || ending.stuck) return true;
    if (!WIFSIGNALED(ending.wait_status)) return false;
    const int signal = WTERMSIG(ending.wait_status);
    return signal == SIGTERM || signal == SIGINT || signal == SIGKILL;
}

// One run, from the first lock to the last.
class Job {
public:
    Job(Options options, Launcher launcher, const SignalGate& signals)
        : options_(std::move(options)),
          launcher_(std::move(launcher)),
          signals_(signals),
          setting_(gather_setting(options_)) {}

    // The status to end with, or the signal.
    struct End {
        int exit_status = 0;
        int signal = 0;
    };

    End run() {
        prepare_record();
        log_ = open_log(options_, recorder_.get());
        keep_stderr();
        oom_before_ = read_oom_baseline();
        if (oom_before_) peak_before_ = group_memory_peak(*oom_before_);
        begin_record();
        if (const auto info = called_off()) return call_off(*info);
        if (companion_) {
            std::optional<siginfo_t> info;
            const auto gate = companion_->wait_at_gate([&] { return bool(info = called_off()); });
            if (gate.called_off) return call_off(*info);
            if (!gate.refusal.empty()) return stay_out(gate.refusal);
            if (!gate.evidence.empty()) odd_start_ = gate.evidence;
        }

        const auto began = boottime_now();
        const UniqueFd null(options_.detach ? ::open("/dev/null", O_RDONLY | O_CLOEXEC) : -1);
        Start start = start_worker(plan(null.get()), signals_);
        if (!start.worker) return fail_to_start(*start.failure);
        StartedWorker& worker = *start.worker;
        if (recorder_) recorder_->started(worker.identity);
        if (recorder_ && !recorder_->holds_the_job()) {
            worker.call_off();
            throw JobIsTaken(job_file_ + ": its heartbeat file was removed, and another shim has " +
                             "begun this job");
        }
        // It waits before the exec: what came until now came before the worker ran.
        if (const auto info = called_off()) {
            worker.call_off();
            return call_off(*info);
        }
        // What the terminal sent before there was a worker, the worker has not had yet. It has them
        // all blocked still: what it had already stays one signal.
        if (setting_.group == Group::share)
            for (const siginfo_t& info : early_signals_)
                if (is_from_terminal(info)) ::kill(worker.identity.pid, info.si_signo);
        // A ^Z that came before the exec stops the child in front of it, and a shell waits for the
        // shim to stop as well.
        const milliseconds patience =
            setting_.group == Group::share ? terminal_patience : exec_patience;
        if (const auto failure = worker.execute(patience)) return fail_to_start(*failure);
        launcher_.report_start(recorder_ ? recorder_->id() : options_.id);
        let_go_of_inherited(descriptors(worker));
        if (recorder_) recorder_->lock_again();

        const SupervisorHooks hooks{
            [this, pid = worker.identity.pid] {
                if (recorder_) recorder_->beat();
                if (companion_) companion_->find_job_of(pid);
            },
            [this] { return recorder_ ? recorder_->cancel_request() : std::nullopt; }};
        Options pace = options_;
        // Who looks for the plugin's record by its worker's pid must come before the worker's end.
        if (companion_ && companion_->job().empty())
            pace.heartbeat_interval = std::min(pace.heartbeat_interval, milliseconds(250));
        const Ending ending = supervise(worker.identity, pace, signals_, hooks, early_signals_);
        const auto failure = ending.stuck ? std::nullopt : worker.late_failure();
        if (failure) {
            const End end = fail_to_start(*failure);
            reap(worker.identity);
            return end;
        }
        const auto took = std::chrono::duration_cast<milliseconds>(boottime_now() - began);
        const bool recorded = record_end(worker.identity, ending, took);
        if (!ending.stuck) reap(worker.identity);
        keep_companion_in_step(may_be_the_plugins_doing(ending));
        if (!recorded) return {own_failure};
        if (ending.timed_out) return {timed_out};
        // A plain status: a death of this process by SIGKILL would look like a record that was cut
        // short.
        if (ending.stuck) return {128 + SIGKILL};
        if (WIFSIGNALED(ending.wait_status))
            return {128 + WTERMSIG(ending.wait_status), WTERMSIG(ending.wait_status)};
        return {WEXITSTATUS(ending.wait_status)};
    }

    void report_failure(int exit_status) { launcher_.report_failure(exit_status); }

private:
    // Does what keeps a record. Without one it is a failure only if it is insisted on, or if the
    // job is another's: two workers for one job is nobody's best effort.
    template <class Action>
    void keep_record(Action action) {
        try {
            action();
        } catch (const std::exception& error) {
            recorder_.reset();
            std::string what = error.what();
            if (what.find(job_file_) == std::string::npos)  // it names another file beside it
                what.insert(0, job_file_ + ": ");
            const bool taken = dynamic_cast<const JobIsTaken*>(&error) != nullptr;
            if (taken || !options_.best_effort) throw Refusal(what);
            say("no record is kept: " + what);
        }
    }

    void prepare_record() {
        if (!options_.companion.empty())
            companion_ =
                std::make_unique<CompanionGate>(absolute_path(options_.companion), options_.id);
        keep_record([&] {
            const JobFiles files = choose_files(options_);
            job_file_ = files.job;
            recorder_ = std::make_unique<Recorder>(options_, setting_, files, say);
        });
    }

    // The plugin throws its workers' stderr away, and with it what Node says as it dies.
    void keep_stderr() {
        if (!companion_ || !recorder_ || log_ || !leads_to_dev_null(STDERR_FILENO)) return;
        log_ = std::make_unique<LogFile>(companion_->places().own_stderr(recorder_->id()));
        only_stderr_ = true;
        // What this program itself has to say goes there too.
        ::dup2(log_->descriptor(), STDERR_FILENO);
    }

    void begin_record() {
        if (!recorder_) return;
        keep_record([&] {
            std::optional<LogPlace> place;
            if (log_) place = LogPlace{to_utf8(log_->path()), log_->offset()};
            recorder_->begin(place, oom_before_);
        });
    }

    // Looks through the signals that have come so far. All but the one that calls the job off are
    // the worker's, as soon as it runs.
    std::optional<siginfo_t> called_off() {
        while (const auto info = signals_.next(milliseconds(0))) {
            if (calls_off(*info, signals_)) return info;
            early_signals_.push_back(*info);
        }
        return std::nullopt;
    }

    WorkerPlan plan(int null) const {
        WorkerPlan plan;
        plan.command = options_.command;
        plan.group = setting_.group;
        plan.kill_on_shim_death = options_.kill_on_shim_death;
        plan.stdin_fd = null;
        if (log_) (only_stderr_ ? plan.error_fd : plan.output_fd) = log_->descriptor();
        if (recorder_) {
            plan.heartbeat_fd = recorder_->heartbeat_fd();
            plan.job_file = recorder_->files().job;
        }
        return plan;
    }

    std::vector<int> descriptors(const StartedWorker& worker) const {
        std::vector<int> ours;
        if (recorder_) ours = recorder_->descriptors();
        if (worker.line) ours.push_back(worker.line.get());
        if (log_) ours.push_back(log_->descriptor());
        return ours;
    }

    void keep_companion_in_step(bool was_killed) {
        if (companion_ && last_) companion_->keep_in_step(*last_, was_killed, say);
    }

    bool finish(FinalWord last, int terms_so_far) {
        if (!recorder_) return true;
        if (companion_) recorder_->set_companion_job(companion_->job());
        last_ = last;
        last_->exit.ended_at = iso_time(wall_now_ms());
        // One TERM may have been meant for the worker; the second is for us.
        int terms = terms_so_far;
        return recorder_->finish(std::move(last), [&](milliseconds pause) {
            const auto until = monotonic_now() + pause;
            while (monotonic_now() < until) {
                const auto info = signals_.next(until - monotonic_now());
                if (info && info->si_signo == SIGTERM && ++terms >= 2) return true;
            }
            return false;
        });
    }

    End fail_to_start(const StartFailure& failure) {
        say(failure.what);
        finish(judge_spawn_failure(errno_name(failure.error), failure.what), 0);
        keep_companion_in_step(false);
        return {failure.exit_status};
    }

    End call_off(const siginfo_t& info) {
        say("called off before COMMAND was started");
        const auto request = recorder_ ? recorder_->cancel_request() : std::nullopt;
        if (request) {
            recorder_->set_cancel(request);
            finish(judge_never_started(request->what.by, request->what.reason), 1);
        } else {
            finish(judge_never_started(requester_of(info)), 1);
        }
        keep_companion_in_step(true);
        return {128 + info.si_signo, info.si_signo};
    }

    // The plugin has ended the job before its worker began: that is as good as a cancellation.
    End stay_out(const std::string& why) {
        say("COMMAND is not started: " + why);
        finish(judge_never_started(std::nullopt, why), 0);
        return {own_failure};
    }

    // What the worker's memory group needed at most, in KiB, if that was in this run.
    std::optional<std::int64_t> group_peak() const {
        if (!peak_before_) return std::nullopt;
        const auto peak = group_memory_peak(*oom_before_);
        if (!peak || *peak <= *peak_before_) return std::nullopt;
        return static_cast<std::int64_t>(*peak >> 10U);
    }

    // False for a worker that started nothing, on a machine where nobody else did meanwhile: there
    // a look through all processes would be a fifth of what a short job costs.
    bool may_have_company(const WorkerIdentity& worker, const Ending& ending) const {
        return ending.stuck || options_.kill_leftovers || !is_newest_process(worker.pid);
    }

    bool record_end(const WorkerIdentity& worker, const Ending& ending, milliseconds took) {
        std::vector<Leftover> leftovers;
        if (worker.group == Group::own && may_have_company(worker, ending)) {
            for (const ProcessStat& member :
                 members_of_group(worker.pid, ending.stuck ? 0 : worker.pid))
                leftovers.push_back({member.pid, printable(member.command)});
            // The zombie is not reaped yet: the group's number is still its.
            if (options_.kill_leftovers && !leftovers.empty()) ::kill(-worker.pid, SIGKILL);
        }
        if (!recorder_) return true;
        WitnessedEnd seen;
        seen.wait_status = ending.wait_status;
        seen.stuck = ending.stuck;
        seen.timed_out = ending.timed_out;
        seen.timeout = options_.timeout;
        if (ending.cancelled) seen.cancelled = ending.cancelled->what;
        seen.signalled_by = ending.signalled_by;
        seen.signalled_with = ending.signalled_with;
        seen.result_expected = options_.expect_record;
        if (companion_) companion_->find_job_of(worker.pid);
        seen.worker_wrote_terminal_status =
            options_.expect_record &&
            ((companion_ && companion_->worker_spoke()) || recorder_->worker_spoke());
        if (oom_before_) {
            const std::vector<OomSuspect> us{{worker.pid, OomSuspect::worker}};
            const ShimIdentity& here = setting_.observer.here;
            seen.oom = look_for_oom(*oom_before_, here, us);
            if (!seen.oom && WIFSIGNALED(ending.wait_status) &&
                WTERMSIG(ending.wait_status) == SIGKILL)
                seen.oom = look_for_oom_in_log(*oom_before_, here, us);
        }
        FinalWord last = judge_witnessed(seen);
        if (!odd_start_.empty()) last.exit.evidence.push_back(odd_start_);
        last.exit.evidence.insert(last.exit.evidence.begin(), ending.evidence.begin(),
                                  ending.evidence.end());
        if (options_.kill_leftovers && !leftovers.empty())
            last.exit.evidence.push_back("SIGKILL sent to what the worker left behind");
        if (last.exit.core_dumped.value_or(false))
            last.exit.evidence.push_back(
                printable(core_in_words(read_core_pattern(), setting_.working_directory)));
        last.exit.leftovers = std::move(leftovers);
        last.exit.duration_ms = took.count();
        if (!ending.stuck) {
            last.exit.resources = ending.resources;
            last.exit.resources->group_peak_kib = group_peak();
        }
        if (log_) last.exit.tail = log_->tail(options_.tail_bytes);
        recorder_->set_cancel(ending.cancelled);
        return finish(std::move(last), ending.terms);
    }

    Options options_;
    Launcher launcher_;
    const SignalGate& signals_;
    Setting setting_;
    std::string job_file_;
    std::vector<siginfo_t> early_signals_;
    std::optional<OomBaseline> oom_before_;
    std::optional<std::uint64_t> peak_before_;  // in bytes
    std::unique_ptr<Recorder> recorder_;
    std::unique_ptr<LogFile> log_;
    bool only_stderr_ = false;  // is what the log takes
    std::unique_ptr<CompanionGate> companion_;
    std::string odd_start_;          // for the evidence
    std::optional<FinalWord> last_;  // as it was recorded
};

Job::End run_job(const Options& options, Launcher launcher, const SignalGate& signals) {
    Job job(options, std::move(launcher), signals);
    Job::End end;
    try {
        end = job.run();
    } catch (const std::exception& error) {
        say(error.what());
        end = {own_failure};
    }
    // Nobody listens any more once COMMAND was executed.
    if (end.signal != 0)
        job.report_failure(own_failure);
    else if (end.exit_status != 0)
        job.report_failure(end.exit_status);
    return end;
}

}  // namespace
}  // namespace jobshim

int main(int argc, char** argv) {
    using namespace jobshim;
    const CommandLine line = parse_command_line(argc, argv);
    if (!line.options) {
        std::fputs(line.err.c_str(), stderr);
        try {
            write_all(STDOUT_FILENO, line.out, "standard output");
        } catch (const std::exception& error) {
            say(error.what());
            return own_failure;
        }
        return line.exit_status;
    }
    const SignalGate signals;
    ::prctl(PR_SET_NAME, "jobshim");  // by which a waiter finds it, whatever the file is called
    occupy_low_descriptors();
    Launcher::Detached detached;
    try {
        if (line.options->detach) detached = Launcher::detach();
    } catch (const std::exception& error) {
        say(error.what());
        return own_failure;
    }
    if (detached.exit_status) return *detached.exit_status;
    const Job::End end = run_job(*line.options, std::move(detached.launcher), signals);
    if (end.signal != 0 && ::getpid() != 1) die_by(end.signal);
    return end.exit_status;
}
