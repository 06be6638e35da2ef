#include "shim/jobshim/job.hpp"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "common/clocks.hpp"
#include "common/posix_error.hpp"
#include "common/say.hpp"
#include "common/send_signal.hpp"
#include "common/system_calls.hpp"
#include "common/units.hpp"
#include "shim/jobshim/activity.hpp"
#include "shim/jobshim/companion_gate.hpp"
#include "shim/jobshim/descriptors.hpp"
#include "shim/jobshim/end_evidence.hpp"
#include "shim/jobshim/exit_statuses.hpp"
#include "shim/jobshim/log_file.hpp"
#include "shim/jobshim/recorder.hpp"
#include "shim/jobshim/setup.hpp"
#include "shim/jobshim/supervisor.hpp"
#include "shim/jobshim/worker.hpp"

namespace jobshim {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds exec_patience{1000};
constexpr milliseconds terminal_patience{50};

void complain(const std::string& message) { say("jobshim", message); }

// Why the worker was not started: a signal, the plugin's gate, or a failure to execute COMMAND.
struct CalledOff {
    siginfo_t signal;
};
struct RefusedByPlugin {
    std::string why;
};
using Stop = std::variant<CalledOff, RefusedByPlugin, StartFailure>;

// How the shim ends, to show the launcher how the worker ended.
End mirrored(const Ending& ending, bool recorded) {
    if (!recorded) return {own_failure};
    if (ending.timed_out) return {timed_out};
    // A plain status: if the shim died by SIGKILL, its record would look cut short.
    if (ending.survivor) return {128 + SIGKILL};
    if (WIFSIGNALED(ending.wait_status))
        return {128 + WTERMSIG(ending.wait_status), WTERMSIG(ending.wait_status)};
    return {WEXITSTATUS(ending.wait_status)};
}

class Job {
public:
    Job(ShimOptions options, Launcher launcher, const SignalGate& signals)
        : options_(std::move(options)),
          launcher_(std::move(launcher)),
          signals_(signals),
          context_(gather_context(options_)) {}

    End run() {
        take_the_job();
        open_log();
        record_starting();
        if (const auto stop = stopped_before_start()) return record_not_started(*stop);
        Start start = spawn();
        if (start.failure) return record_not_started(*start.failure);
        StartedWorker& worker = *start.worker;
        record_running(worker);
        if (const auto stop = execute(worker)) return record_not_started(*stop);
        launcher_.report_start(recorder_ ? recorder_->id() : options_.id);
        let_go_of_inherited(worker);
        const Ending ending = supervise(worker);
        if (const auto failure = late_failure(worker, ending)) {
            const End end = record_not_started(*failure);
            worker.reap();
            return end;
        }
        const bool recorded = record_end(worker.identity(), ending);
        if (!ending.survivor) worker.reap();
        keep_companion_in_step(CompanionGate::may_have_ended_worker(ending));
        return mirrored(ending, recorded || options_.best_effort);
    }

    void report_failure(int exit_status) { launcher_.report_failure(exit_status); }

private:
    // ---- before the worker exists

    // Runs an action that the record needs. Its failure ends the job, unless --best-effort was
    // given. If the job belongs to another shim, it always does: no best effort justifies two
    // workers for one job.
    template <class Action>
    void keep_record(Action action) {
        try {
            action();
        } catch (const JobIsTaken&) {
            recorder_.reset();
            throw;
        } catch (const SiblingFileFailure& failure) {
            continue_without_record(job_file_ + ": " + failure.what());
        } catch (const std::exception& error) {
            continue_without_record(error.what());
        }
    }

    void continue_without_record(const std::string& why) {
        recorder_.reset();
        if (!options_.best_effort) throw Refusal(why);
        complain("no record is kept: " + why);
    }

    void take_the_job() {
        keep_record([&] {
            if (!options_.companion.empty())
                companion_ = std::make_unique<CompanionGate>(open_companion(options_.companion),
                                                             options_.id);
            const JobFiles files =
                choose_files(options_, companion_ ? &companion_->state() : nullptr);
            job_file_ = files.path;
            recorder_ = std::make_unique<Recorder>(options_, context_, files, complain);
            recorder_->take_the_job();
        });
    }

    void open_log() {
        const JobFiles* const files = recorder_ ? &recorder_->files() : nullptr;
        log_ = jobshim::open_log(options_, files, recorder_ ? recorder_->id() : "",
                                 companion_ ? &companion_->state() : nullptr);
    }

    void record_starting() {
        if (!recorder_) return;
        memory_before_ = read_memory_before();
        keep_record([&] {
            std::optional<LogStart> place;
            if (log_.file) place = LogStart{log_.file->path(), log_.file->offset()};
            recorder_->begin(place, memory_before_.oom, companion_ ? companion_->job() : "");
        });
    }

    // Drains the signals that have come so far. All but the one that calls the job off are passed
    // on to the worker as soon as it runs.
    std::optional<CalledOff> called_off() {
        while (const auto info = signals_.next(milliseconds(0))) {
            // One that the launcher ignored or blocked does not.
            if (calls_off(info->si_signo) && !signals_.is_unwanted(info->si_signo))
                return CalledOff{*info};
            early_signals_.push_back(*info);
        }
        return std::nullopt;
    }

    std::optional<Stop> stopped_before_start() {
        auto off = called_off();
        if (!off && companion_) {
            const auto gate = companion_->wait_at_gate([&] { return bool(off = called_off()); });
            if (!gate.refusal.empty()) return RefusedByPlugin{gate.refusal};
            start_note_ = gate.evidence;
        }
        if (off) return *off;
        return std::nullopt;
    }

    // ---- the worker

    WorkerPlan plan(int input) const {
        WorkerPlan plan;
        plan.command = options_.command;
        plan.group = context_.group;
        plan.kill_on_shim_death = options_.kill_on_shim_death;
        plan.stdin_fd = input;
        if (log_.file)
            (log_.takes_stderr_alone ? plan.error_fd : plan.output_fd) = log_.file->descriptor();
        if (recorder_) {
            plan.heartbeat_fd = recorder_->heartbeat_fd();
            plan.job_file = recorder_->files().path;
        }
        return plan;
    }

    Start spawn() {
        began_ = boottime_now();
        const UniqueFd input = options_.detach ? open_empty_input() : UniqueFd();
        if (options_.detach && !input)
            return {std::nullopt, StartFailure{errno, own_failure,
                                               "no empty standard input: " + errno_text(errno)}};
        return start_worker(plan(input.get()), signals_);
    }

    void record_running(StartedWorker& worker) {
        if (!recorder_) return;
        recorder_->started(worker.identity());
        if (recorder_->holds_the_job()) return;
        worker.call_off();
        throw JobIsTaken(job_file_ + ": its heartbeat file was removed, and another shim has " +
                         "started this job");
    }

    std::optional<Stop> execute(StartedWorker& worker) {
        // The worker is still waiting before the exec, so any signal so far came before it ran.
        if (const auto off = called_off()) {
            worker.call_off();
            return *off;
        }
        // Pass on the terminal's signals that came before the worker existed. The worker still
        // blocks all signals, so one that it has already received does not arrive twice.
        if (context_.group == Group::share)
            for (const siginfo_t& info : early_signals_)
                if (is_from_terminal(info))
                    (void)signal_child(worker.identity().pid, info.si_signo);  // ours still
        // A ^Z before the exec stops the child there, and a shell waits for the shim to stop as
        // well, so do not wait for the exec for long.
        const milliseconds patience =
            context_.group == Group::share ? terminal_patience : exec_patience;
        if (const auto failure = worker.execute(patience)) return *failure;
        return std::nullopt;
    }

    // Nothing that the launcher gave is held any longer than the worker holds it: neither its
    // descriptors nor its working directory, which could not be unmounted.
    void let_go_of_inherited(const StartedWorker& worker) {
        std::vector<int> ours = worker.descriptors();
        for (const int fd : signals_.descriptors()) ours.push_back(fd);
        if (recorder_)
            for (const int fd : recorder_->descriptors()) ours.push_back(fd);
        if (log_.file) {
            log_.file->release();
            for (const int fd : log_.file->descriptors()) ours.push_back(fd);
        }
        if (companion_) ours.push_back(companion_->state().top().descriptor());
        close_inherited_descriptors(ours);
        if (recorder_) recorder_->lock_again();
        (void)change_working_directory("/");
    }

    Ending supervise(const StartedWorker& worker) {
        ShimOptions pace = options_;
        pace.heartbeat_interval = next_beat();
        std::optional<ActivityWatch> activity;
        if (recorder_ && options_.stall_after.count() > 0)
            activity.emplace(worker.identity(), log_.file.get());
        const SupervisorHooks hooks{
            [&] {
                if (recorder_)
                    recorder_->beat(activity ? std::optional(activity->look()) : std::nullopt);
                find_companion_job(worker.identity());
                pace.heartbeat_interval = next_beat();
            },
            [this] { return recorder_ ? recorder_->cancel_request() : std::nullopt; }};
        return jobshim::supervise(worker.identity(), pace, signals_, hooks, early_signals_);
    }

    // Without an id, the plugin's record is found by the worker's pid, which has to happen before
    // the worker ends. The plugin writes it soon after the start, if at all.
    milliseconds next_beat() const {
        if (!companion_ || !companion_->job().empty()) return options_.heartbeat_interval;
        const auto so_far = std::chrono::duration_cast<milliseconds>(boottime_now() - began_);
        return std::min(options_.heartbeat_interval, std::max(milliseconds(250), so_far / 2));
    }

    // Why COMMAND was never executed, if execute() gave up waiting before that was known.
    std::optional<StartFailure> late_failure(const StartedWorker& worker,
                                             const Ending& ending) const {
        if (ending.survivor) return std::nullopt;
        // To look at what COMMAND names.
        if (worker.may_have_failed()) (void)change_working_directory(context_.working_directory);
        return worker.late_failure();
    }

    // ---- the end

    bool record_end(const WorkerIdentity& worker, Ending ending) {
        const auto took = std::chrono::duration_cast<milliseconds>(boottime_now() - began_);
        FoundLeftovers leftovers = find_leftovers(worker, ending, options_.kill_leftovers);
        if (!recorder_) return true;
        ending.timeout = options_.timeout;
        ending.result_expected = options_.expect_record;
        ending.worker_wrote_final_status = has_worker_reported(worker);
        ending.oom = find_oom(memory_before_, context_.observer.here, worker, ending);
        look_for_killer(memory_before_, worker, wall_now_ms() - took.count(), ending);

        Conclusion last = judge_witnessed(ending);
        ExitRecord& exit = last.exit;
        if (!start_note_.empty()) exit.evidence.push_back(start_note_);
        if (!leftovers.evidence.empty()) exit.evidence.push_back(std::move(leftovers.evidence));
        if (std::string core = find_core(ending, context_.working_directory); !core.empty())
            exit.evidence.push_back(std::move(core));
        exit.leftovers = std::move(leftovers.list);
        exit.duration_ms = took.count();
        if (exit.resources) exit.resources->group_peak_kib = group_peak_since(memory_before_);
        if (log_.file) exit.tail = log_.file->tail(options_.tail_bytes);
        if (log_.file) recorder_->set_log_end(log_.file->size());
        recorder_->set_cancel(ending.cancelled);
        return finish(std::move(last), ending.sigterm_count);
    }

    // Without an id. What is found is recorded at once: whoever finds this shim dead must know.
    void find_companion_job(const WorkerIdentity& worker) {
        if (companion_ && companion_->job().empty() && companion_->find_job_of(worker) && recorder_)
            recorder_->set_companion_job(companion_->job());
    }

    bool has_worker_reported(const WorkerIdentity& worker) {
        find_companion_job(worker);
        return options_.expect_record &&
               ((companion_ && companion_->worker_reported()) || recorder_->worker_reported());
    }

    End record_not_started(const Stop& stop) {
        if (const auto* failure = std::get_if<StartFailure>(&stop)) return fail_to_start(*failure);
        if (const auto* refused = std::get_if<RefusedByPlugin>(&stop))
            return refuse_to_start(*refused);
        return call_off(std::get<CalledOff>(stop).signal);
    }

    End fail_to_start(const StartFailure& failure) {
        complain(failure.what);
        finish(judge_spawn_failure(errno_name(failure.error), failure.what), 0);
        keep_companion_in_step(false);
        return {failure.exit_status};
    }

    End call_off(const siginfo_t& info) {
        complain("cancelled before COMMAND started");
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

    // The plugin ended the job before its worker started, which is as good as a cancellation.
    End refuse_to_start(const RefusedByPlugin& refused) {
        complain("COMMAND was not started: " + refused.why);
        finish(judge_never_started(std::nullopt, refused.why), 0);
        return {own_failure};
    }

    // True if the end is in the job file, or no record is kept.
    bool finish(Conclusion last, int terms_so_far) {
        if (!recorder_) return true;
        last.exit.ended_at = iso_time(wall_now_ms());
        last_ = last;
        // One SIGTERM may have been meant for the worker; the second is for the shim.
        int sigterm_count = terms_so_far;
        return recorder_->finish(std::move(last), [&](milliseconds pause) {
            const auto until = monotonic_now() + pause;
            while (monotonic_now() < until) {
                const auto info = signals_.next(until - monotonic_now());
                if (info && info->si_signo == SIGTERM && ++sigterm_count >= 2) return true;
            }
            return false;
        });
    }

    void keep_companion_in_step(bool was_killed) {
        if (companion_ && last_)
            companion_->keep_in_step(*last_, recorder_->files(), was_killed, complain);
    }

    ShimOptions options_;
    Launcher launcher_;
    const SignalGate& signals_;
    RunContext context_;
    std::string job_file_;
    std::vector<siginfo_t> early_signals_;
    MemoryBefore memory_before_;
    std::unique_ptr<Recorder> recorder_;  // null if no record is kept
    JobLog log_;
    std::unique_ptr<CompanionGate> companion_;
    std::string start_note_;  // goes into the evidence
    std::chrono::nanoseconds began_{0};
    std::optional<Conclusion> last_;  // as recorded
};

}  // namespace

End run_job(const ShimOptions& options, Launcher launcher, const SignalGate& signals) {
    Job job(options, std::move(launcher), signals);
    End end;
    try {
        end = job.run();
    } catch (const std::exception& error) {
        complain(error.what());
        end = {own_failure};
    }
    // Does nothing if COMMAND was executed: the launcher has its report by then.
    if (end.signal != 0)
        job.report_failure(own_failure);
    else if (end.exit_status != 0)
        job.report_failure(end.exit_status);
    return end;
}

}  // namespace jobshim
