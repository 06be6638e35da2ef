// jobctl cancel JOB...: ends jobs, and waits until their records say so. All shims are asked before
// any is waited for.
//
// The request (who, why, how) is on disk before the first signal, so that anybody who sees the end
// knows that it was requested. The shim carries the request out; an orphaned worker has no shim, so
// it is ended here.
//
// No file is believed about whom to signal. A process is signalled as the shim only if the kernel
// says that it holds the lock on the heartbeat file, and that it belongs to the file's owner.
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "common/clocks.hpp"
#include "common/heartbeat_lines.hpp"
#include "common/process_identity.hpp"
#include "common/system_calls.hpp"
#include "common/units.hpp"
#include "shim/jobctl/commands.hpp"
#include "shim/jobctl/file_watch.hpp"
#include "shim/jobctl/look.hpp"
#include "shim/jobctl/output.hpp"
#include "shim/jobctl/selection.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;

// How long a cancellation may take, unless the user says otherwise.
constexpr milliseconds default_timeout{60'000};
// For a shim whose heartbeat file is gone: it makes a new one at its next beat.
constexpr milliseconds between_tries{50};
// What SIGKILL does not end within this time is given up.
constexpr milliseconds kill_patience{10'000};
// Another canceller may die before it sends its signal: how often to check that it is still at
// work.
constexpr milliseconds other_cancellers_turn{1000};
// A request that cannot be read is taken to be still being written for this long; after that it is
// stale.
constexpr milliseconds unreadable_patience{1000};

// The time is up. what() says what is still alive.
class TimedOut : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

class Canceller {
public:
    Canceller(JobFiles files, const CtlOptions& options, const Context& context)
        : files_(std::move(files)), options_(options), context_(context) {
        request_.what.by = requester("jobctl cancel", context);
        request_.what.reason = shortened(to_utf8(options.reason), longest_reason);
        request_.at = iso_time(wall_now_ms());
        request_.signal = options.signal;
        if (options.kill_after) request_.kill_after_ms = options.kill_after->count();
        request_.start_time = context.observer.here.start_time;
        // A grace period that was asked for is given, and what comes after it is done.
        const milliseconds patience = options.timeout.value_or(
            default_timeout + options.kill_after.value_or(milliseconds(0)));
        if (patience.count() > 0) deadline_ = monotonic_now() + patience;
        if (deadline_ != end_of_time) context_.observer.deadline = deadline_;
    }

    // Asks a shim that is alive, and waits for nothing. What fails is left to run().
    void ask() {
        try {
            const Settled seen = look_at(files_, context_, files_.may_act());
            const State state = seen.now.verdict.state;
            if (files_.may_act() && (state == State::running || state == State::stalled))
                signal_for_request(seen.now, open_shim(seen.now));
        } catch (const std::exception&) {
            // run() does it again, and says what is wrong.
        }
    }

    // Returns once the job has ended, or once it is clear that it cannot be ended from here. Throws
    // TimedOut. A request stays while the end is not recorded yet: it belongs in the record.
    Settled run() {
        Settled seen = end_it();
        if (is_final(seen.now.status())) withdraw();
        return seen;
    }

private:
    Settled end_it() {
        for (;;) {
            Settled seen = look_at(files_, context_, files_.may_act());
            if (!seen.now.verdict.ended && !files_.may_act())
                refuse(why_only_looking(files_.parties));
            switch (seen.now.verdict.state) {
                case State::completed:
                case State::failed:
                case State::cancelled:
                    if (seen.now.verdict.ended) return seen;
                    // The worker wrote this and is still running, or its shim is about to exit.
                    ask_shim(seen.now);
                    break;
                case State::lost:
                case State::unknown:
                    return seen;
                case State::queued:
                    give_up_if_late(seen.now);
                    if (auto called_off = cancel_queued()) return std::move(*called_off);
                    break;
                case State::running:
                case State::stalled:
                    ask_shim(seen.now);
                    break;
                case State::orphaned:
                    if (auto ended = end_orphan(seen.now)) return std::move(*ended);
                    break;
            }
        }
    }

    // Negative: for ever. Rounded up: whoever waits for so long finds that the moment has come.
    static milliseconds time_until(std::chrono::nanoseconds moment) {
        if (moment == end_of_time) return milliseconds(-1);
        return std::max(milliseconds(0), std::chrono::ceil<milliseconds>(moment - monotonic_now()));
    }

    // Time left, at most `wanted` (negative: no limit of its own).
    milliseconds time_left(milliseconds wanted) const {
        const milliseconds left = time_until(deadline_);
        if (left.count() < 0) return wanted;
        return wanted.count() < 0 ? left : std::min(left, wanted);
    }

    void give_up_if_late(const Observation& seen) const {
        if (monotonic_now() >= deadline_)
            throw TimedOut(files_.path + ": not cancelled in time: " + seen.verdict.because);
    }

    // Removes a request that was not acted on: the job had already ended, or cannot be reached.
    void withdraw() {
        Observer patient = context_.observer;
        patient.deadline.reset();  // late or not, nothing of ours is left behind
        const auto there =
            placed_ ? find_cancel_request(files_, request_.run, patient) : std::nullopt;
        if (there && there->request.what.by.pid == request_.what.by.pid &&
            there->request.at == request_.at)
            files_.directory.remove(there->name);
        placed_ = false;
    }

    // True if it is up to this process to cancel the job; false if another one's request is there.
    bool place_request(const ShimIdentity& run) {
        if (placed_) return true;
        request_.run = run;
        const auto deadline = monotonic_now() + unreadable_patience;
        while (!make_request(files_.cancel)) {
            const auto there = files_.directory.stamp_if_known(files_.cancel);
            // The name may be taken by somebody else's file, or by no file at all.
            if (there && !files_.may_be_request(*there)) {
                if (replace_request()) break;
                const std::string name = Directory::random_name_like(files_.cancel);
                if (!make_request(name)) throw_errno("create " + files_.path_of(name));
                break;
            }
            const auto theirs = find_cancel_request(files_, run, context_.observer);
            if (theirs && canceller_is_alive(theirs->request) && !asks_for_more()) return false;
            if (!theirs && there && monotonic_now() < deadline) {
                pause_for(milliseconds(5));  // it may be half written
                continue;
            }
            // The other canceller has died, or is not worth waiting for. Rename, so that there is a
            // request at every moment: the shim may be about to read it.
            if (!replace_request()) throw_errno("replace " + files_.path_of(files_.cancel));
            break;
        }
        placed_ = true;
        if (const UniqueFd directory = files_.directory.open_to_flush())
            if (!flush_to_disk(directory.get()) && errno != EINVAL)
                throw_errno("flush " + files_.directory.path());
        return true;
    }

    // The job may be what fills the disk: it is ended even if no request can be left.
    bool place_request_if_possible(const ShimIdentity& run) {
        try {
            return place_request(run);
        } catch (const std::exception& failure) {
            if (!is_for_want_of_room(failure)) throw;
            complain(std::string(failure.what()) +
                     "; its shim gets SIGTERM all the same, but the record will not say that the "
                     "job was cancelled");
            return true;
        }
    }

    // False, with errno, if what has the name cannot be replaced.
    bool replace_request() const {
        const std::string next =
            Directory::random_name_like(own_name_beside(files_.name, "cancel"));
        if (!make_request(next)) throw_errno("create " + files_.path_of(next));
        if (files_.directory.rename(next, files_.directory, files_.cancel)) return true;
        const int error = errno;
        files_.directory.remove(next);
        errno = error;
        return false;
    }

    // A caller that says how to cancel does not wait for one that does it differently.
    bool asks_for_more() const { return options_.signal || options_.kill_after; }

    // False, with EEXIST in errno, if the file is already there.
    bool make_request(const std::string& name) const {
        try {
            return write_request(name);
        } catch (const std::exception& failure) {
            if (!is_for_want_of_room(failure)) throw;
            // A short link has its place in the directory and in the inode: it needs no block.
            constexpr std::size_t any_length = 1024;
            constexpr std::size_t fits_into_inode = 59;  // of ext4
            for (const std::size_t longest : {any_length, fits_into_inode})
                if (files_.directory.make_link(short_cancel_request(request_, longest), name))
                    return true;
            if (errno == EEXIST) return false;
            throw;
        }
    }

    bool write_request(const std::string& name) const {
        const std::string path = files_.path_of(name);
        const UniqueFd fd = files_.directory.open_file(name, O_WRONLY | O_CREAT | O_EXCL, 0644);
        if (!fd && errno == EEXIST) return false;
        if (!fd) throw_errno("create " + path);
        try {
            // Whatever the umask: the shim may belong to another user.
            if (!files_.directory.change_mode(fd.get(), 0644))
                throw_errno("make " + path + " readable");
            write_all(fd.get(), cancel_request_text(request_), path);
            if (!flush_to_disk(fd.get())) throw_errno("flush " + path);
        } catch (...) {
            files_.directory.remove(name);
            throw;
        }
        return true;
    }

    // Where the shim can be signalled, the other canceller can be seen, too.
    static bool canceller_is_alive(const CancelRequest& request) {
        return request.what.by.pid && request.start_time &&
               look_up_process(*request.what.by.pid, request.start_time) == Liveness::alive;
    }

    // The shim, to be signalled and waited for. Empty if it has just gone.
    ProcessHandle open_shim(const Observation& seen) const {
        if (!seen.run || seen.place != Place::here) {
            if (!seen.run && seen.probe.lock == LivenessLock::held) {
                pause_for(milliseconds(5));  // a new run, whose shim has not identified itself yet
                return {};
            }
            refuse("its shim cannot be reached from here (" + seen.verdict.because + ")");
        }
        const ShimIdentity& shim = seen.run->shim;
        ProcessHandle process = open_process(shim.pid, shim.start_time);
        if (!process && look_up_process(shim.pid, shim.start_time) == Liveness::alive)
            refuse("no pidfds here, and without one " + name_of(shim) +
                   " cannot be signalled safely");
        if (!process) return {};
        switch (seen.probe.lock) {
            case LivenessLock::held:
                break;
            case LivenessLock::free:
            case LivenessLock::no_file:
                // Somebody removed the heartbeat file under it: it locks a new one when it beats.
                pause_for(between_tries);
                return {};
            case LivenessLock::unavailable:
                refuse("nothing but the job's files says that pid " + std::to_string(shim.pid) +
                       " is its shim (" + seen.probe.obstacle + ")");
        }
        if (!seen.heartbeat_agrees || seen.probe.lock_holder != shim.pid)
            refuse("the lock on its heartbeat file is held by " +
                   (seen.probe.lock_holder > 0
                        ? "pid " + std::to_string(seen.probe.lock_holder)
                        : std::string("a process that cannot be seen from here")) +
                   ", and not by " + name_of(shim));
        if (seen.probe.owner != owner_of_process(shim.pid))
            refuse(name_of(shim) + " does not belong to the owner of its heartbeat file");
        return process;
    }

    [[noreturn]] void refuse(const std::string& why) const {
        throw Refusal(files_.path + ": not cancelled: " + why);
    }

    static std::string name_of(const ShimIdentity& shim) {
        return "the shim (pid " + std::to_string(shim.pid) + ")";
    }

    // 0, or an errno.
    int signal_shim(const ProcessHandle& shim, int signal) const {
        return signal_process(shim, signal, files_.directory.identity());
    }

    void ask_shim(const Observation& seen) {
        const ProcessHandle shim = open_shim(seen);
        if (!shim) return give_up_if_late(seen);
        const bool is_left_to_another = !signal_for_request(seen, shim);
        const milliseconds wanted = is_left_to_another ? other_cancellers_turn : milliseconds(-1);
        if (!wait_for_end(shim, time_left(wanted))) give_up_if_late(seen);
    }

    // Places the request and makes the shim read it. False if another canceller has done so.
    bool signal_for_request(const Observation& seen, const ProcessHandle& shim) {
        if (!shim || asked_ == seen.run->shim) return true;
        if (signal_shim(shim, 0) == EPERM) cannot_signal(seen, EPERM);
        // A worker that has already ended was not cancelled, even if its shim has not noticed yet.
        if (!worker_has_ended(seen)) {
            if (!place_request_if_possible(seen.run->shim)) return false;
            const int error = signal_shim(shim, SIGTERM);
            if (error != 0 && error != ESRCH) {
                withdraw();
                cannot_signal(seen, error);
            }
            asked_ = seen.run->shim;
        }
        // A stopped shim could not carry it out.
        const auto stat = read_process_stat(seen.run->shim.pid);
        if (stat && is_stopped(*stat)) signal_shim(shim, SIGCONT);
        return true;
    }

    [[noreturn]] void cannot_signal(const Observation& seen, int error) const {
        throw_errno(files_.path + ": not cancelled: signal " + name_of(seen.run->shim), error);
    }

    static bool worker_has_ended(const Observation& seen) {
        const auto& worker = seen.run->worker;
        return worker && look_up_process(worker->pid, worker->start_time) == Liveness::dead;
    }

    // Nothing if somebody has started it meanwhile.
    std::optional<Settled> cancel_queued() {
        Settled settled = look_at(
            files_, context_, true, [&](const Observation& seen) -> std::optional<Conclusion> {
                if (seen.verdict.state != State::queued) return std::nullopt;
                return judge_never_started(request_.what.by, request_.what.reason);
            });
        // A job is not called off unless that is on record.
        if (!settled.unwritable.empty()) refuse(settled.unwritable);
        if (!settled.wrote) return std::nullopt;
        return settled;
    }

    // Nothing if it is no longer orphaned, or if another canceller is at work.
    std::optional<Settled> end_orphan(const Observation& found) {
        const auto lock = SettlerLock::try_take(files_);
        if (!lock) {
            pause_for(between_tries);
            give_up_if_late(found);
            return std::nullopt;
        }
        const Observation seen = observe(files_, context_.observer, [&] { return lock->probe(); });
        if (seen.verdict.state != State::orphaned || !lock->still_in_place()) return std::nullopt;
        const WorkerIdentity worker = *seen.run->worker;
        const ProcessHandle process = open_process(worker.pid, worker.start_time);
        if (!process) {
            if (look_up_process(worker.pid, worker.start_time) == Liveness::alive)
                refuse("no pidfds here, and without one its worker cannot be signalled safely");
            return std::nullopt;
        }
        signal_orphan(seen, files_, 0);  // who cannot signal it must not leave a request
        place_request(
            seen.run->shim);  // or another's request is there: the lock holder carries it out
        Eyewitness eyewitness{worker, 0, context_.observer.here.pid, {}};
        end(seen, process, eyewitness.evidence);
        const auto status = wait_status_of(process);
        eyewitness.wait_status = status.value_or(0);
        return settle_under(*lock, files_, context_.observer,
                            status ? with_eyewitness(eyewitness) : conclude_if_dead);
    }

    void end(const Observation& seen, const ProcessHandle& worker,
             std::vector<std::string>& evidence) {
        const auto began = monotonic_now();
        const auto send = [&](int signal) {
            signal_orphan(seen, files_, signal);
            evidence.push_back(signal_name(signal) + " sent to the orphan after " +
                               describe_duration(std::chrono::duration_cast<milliseconds>(
                                   monotonic_now() - began)));
        };
        send(options_.signal.value_or(SIGTERM));
        const auto stat = read_process_stat(seen.run->worker->pid);
        if (stat && is_stopped(*stat)) signal_orphan(seen, files_, SIGCONT);
        const milliseconds grace = options_.kill_after.value_or(default_grace);
        const auto kill_at = grace.count() > 0 ? monotonic_now() + grace : end_of_time;
        while (monotonic_now() < kill_at) {
            if (wait_for_end(worker, time_left(time_until(kill_at)))) return;
            give_up_if_late(seen);
        }
        send(SIGKILL);
        if (wait_for_end(worker, kill_patience)) return;
        const auto hanging = find_blocker(seen.run->worker->pid);
        refuse("SIGKILL did not end the worker (pid " + std::to_string(seen.run->worker->pid) +
               ")" + (hanging && hanging->state == 'D' ? ": it is stuck in the kernel" : ""));
    }

    JobFiles files_;
    const CtlOptions& options_;
    Context context_;
    CancelRequest request_;
    std::chrono::nanoseconds deadline_ = end_of_time;
    bool placed_ = false;
    std::optional<ShimIdentity> asked_;  // it has its signal: a second one would be the worker's
};

// A job to be cancelled.
struct Target {
    std::string named;
    std::optional<JobFiles> files;  // nothing: no such job
    std::string trouble;            // why it cannot be looked at
    Verdict before;
    std::unique_ptr<Canceller> canceller;
};

Target find_target(const std::string& job, const Context& context) {
    Target target;
    target.named = job;
    try {
        target.files = select_job(job, context.directories, Match::exact);
        if (target.files && !is_there(*target.files)) target.files.reset();
    } catch (const AmbiguousJob&) {
        throw;
    } catch (const std::exception& error) {
        target.trouble = error.what();
    }
    return target;
}

bool is_same_job(const Target& one, const Target& other) {
    return one.files && other.files && one.files->name == other.files->name &&
           one.files->directory.is_same_as(other.files->directory);
}

// Each job once. An ambiguous name is refused before anything is cancelled.
std::vector<Target> find_targets(const CtlOptions& options, const Context& context) {
    std::vector<Target> targets;
    for (const std::string& job : options.jobs) {
        Target target = find_target(job, context);
        if (std::none_of(targets.begin(), targets.end(),
                         [&](const Target& other) { return is_same_job(target, other); }))
            targets.push_back(std::move(target));
    }
    return targets;
}

void prepare(Target& target, const CtlOptions& options, const Context& context) {
    if (!target.files) return;
    try {
        target.before = look_at(*target.files, context, target.files->may_act()).now.verdict;
        target.canceller = std::make_unique<Canceller>(*target.files, options, context);
    } catch (const std::exception& error) {
        target.trouble = error.what();
    }
}

Outcome conclude(const Target& target, const Settled& after) {
    const Verdict& verdict = after.now.verdict;
    const auto end = end_of(after);
    const bool lives_on =
        end && end->reason == ExitReason::cancelled && end->certainty == Certainty::unknown;
    if (verdict.state == State::cancelled && !lives_on) return done;
    if (lives_on)
        complain(target.named + ": its worker was not ended and lives on");
    else if (target.before.ended)
        complain(target.named + ": had already ended");
    else if (verdict.state == State::unknown)
        complain(target.named + ": not cancelled: whether it is alive cannot be determined from " +
                 "here (if you know that it is dead, use jobctl settle)");
    else
        complain(target.named + ": ended, but not because it was cancelled");
    return verdict.state == State::unknown ? Outcome::unknown : Outcome::failed;
}

// A job that cannot be cancelled does not keep the others from it.
Outcome cancel(const Target& target, const CtlOptions& options, const Context& context,
               std::vector<JobReport>& reports) {
    try {
        if (!target.trouble.empty()) throw Refusal(target.trouble);
        if (!target.files) {
            complain_of_no_exact_job(target.named, context.directories);
            return Outcome::no_such_job;
        }
        const Settled after = target.canceller->run();
        if (after.now.look_failed) throw Refusal("not cancelled: " + after.now.trouble);
        reports.push_back(report_of(*target.files, after));
        if (!options.json) print(status_line(reports.back()));
        return conclude(target, after);
    } catch (const TimedOut& late) {
        complain(late.what());
        return Outcome::timed_out;
    } catch (const std::exception& error) {
        complain(error.what());
        return Outcome::own_failure;
    }
}

}  // namespace

Outcome cancel_jobs(const CtlOptions& options, const Context& unbounded) {
    Context context = unbounded;
    if (options.timeout) context.observer.hurry(*options.timeout);
    std::vector<Target> targets = find_targets(options, context);
    for (Target& target : targets) prepare(target, options, context);
    if (targets.size() > 1)
        for (Target& target : targets)
            if (target.canceller) target.canceller->ask();
    std::vector<JobReport> reports;
    std::vector<Outcome> outcomes;
    for (const Target& target : targets)
        outcomes.push_back(cancel(target, options, context, reports));
    if (options.json) print(json_array_of(reports));
    return worst_of(outcomes);
}

}  // namespace jobshim
