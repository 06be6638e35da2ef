// jobctl cancel JOB: ends a job, and waits until the record says so.
//
// The request (who, why, how) is on disk before the first signal, so that anybody who sees the end
// knows that it was requested. The shim carries the request out; an orphaned worker has no shim, so
// it is ended here.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

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

// What SIGKILL does not end within this time is stuck in the kernel.
constexpr milliseconds kill_patience{10'000};
// Another canceller may die before it sends its signal: how often to check that it is still at
// work.
constexpr milliseconds other_cancellers_turn{1000};
// A request that cannot be read is taken to be still being written for this long; after that it is
// stale.
constexpr milliseconds unreadable_patience{1000};

class Canceller {
public:
    Canceller(JobFiles files, const CtlOptions& options, const Context& context)
        : files_(std::move(files)), options_(options), context_(context) {
        request_.what.by = requester("jobctl cancel", context);
        request_.what.reason = options.reason;
        request_.at = iso_time(wall_now_ms());
        request_.signal = options.signal;
        if (options.kill_after) request_.kill_after_ms = options.kill_after->count();
        request_.start_time = context.observer.here.start_time;
    }

    // Returns once the job has ended, or once it is clear that it cannot be ended from here. A
    // request stays while the end is not recorded yet: it belongs in the record.
    Settled run() {
        Settled seen = end_it();
        if (is_final(seen.now.status())) withdraw();
        return seen;
    }

private:
    Settled end_it() {
        for (;;) {
            Settled seen = look_at(files_, context_.observer, true);
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
                    if (auto called_off = cancel_queued()) return std::move(*called_off);
                    break;
                case State::running:
                case State::stalled:
                    ask_shim(seen.now);
                    break;
                case State::orphaned:
                    if (auto ended = end_orphan()) return std::move(*ended);
                    break;
            }
        }
    }

    // Removes a request that was not acted on: the job had already ended, or cannot be reached.
    void withdraw() {
        const auto there = placed_ ? read_cancel_request(files_, ::geteuid()) : std::nullopt;
        if (there && there->what.by.pid == request_.what.by.pid && there->at == request_.at)
            ::unlink(files_.cancel.c_str());
        placed_ = false;
    }

    // True if it is up to this process to cancel the job; false if another one's request is there.
    bool place_request() {
        if (placed_) return true;
        const auto deadline = monotonic_now() + unreadable_patience;
        while (!make_request(files_.cancel)) {
            const auto theirs = read_cancel_request(files_, ::geteuid());
            if (theirs && canceller_is_alive(*theirs) && !asks_for_more()) return false;
            if (!theirs && is_ours_to_read() && monotonic_now() < deadline) {
                pause_for(milliseconds(5));
                continue;
            }
            // The other canceller has died, or is not worth waiting for. Rename, so that there is a
            // request at every moment: the shim may be about to read it.
            const std::string next =
                own_path_beside(files_, "cancel-" + std::to_string(::getpid()));
            ::unlink(next.c_str());  // left by a process that died with the same pid
            if (!make_request(next)) throw_errno("create " + next);
            if (::rename(next.c_str(), files_.cancel.c_str()) != 0) {
                const int error = errno;
                ::unlink(next.c_str());
                throw_errno("replace " + files_.cancel, error);
            }
            break;
        }
        placed_ = true;
        if (const UniqueFd directory = open_directory_to_flush(files_.directory))
            if (!flush_to_disk(directory.get()) && errno != EINVAL)
                throw_errno("flush " + files_.directory);
        return true;
    }

    // True if a request that cannot be read may be one that is half written and ours to read.
    bool is_ours_to_read() const {
        const auto there = stamp_at(files_.cancel);
        return there && (there->owner == 0 || there->owner == ::geteuid());
    }

    // A caller that says how to cancel does not wait for one that does it differently.
    bool asks_for_more() const { return options_.signal || options_.kill_after; }

    // False, with EEXIST in errno, if the file is already there.
    bool make_request(const std::string& path) const {
        const UniqueFd fd(
            ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644));
        if (!fd && errno == EEXIST) return false;
        if (!fd) throw_errno("create " + path);
        try {
            // Whatever the umask: the shim may belong to another user.
            if (::fchmod(fd.get(), 0644) != 0) throw_errno("make " + path + " readable");
            write_all(fd.get(), cancel_request_text(request_), path);
            if (!flush_to_disk(fd.get())) throw_errno("flush " + path);
        } catch (...) {
            ::unlink(path.c_str());
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
        return process;
    }

    [[noreturn]] void refuse(const std::string& why) const {
        throw Refusal(files_.job + ": not cancelled: " + why);
    }

    static std::string name_of(const ShimIdentity& shim) {
        return "the shim (pid " + std::to_string(shim.pid) + ")";
    }

    void ask_shim(const Observation& seen) {
        const ProcessHandle shim = open_shim(seen);
        if (!shim) return;
        if (!send_signal(shim, 0) && errno == EPERM) cannot_signal(seen);
        bool is_left_to_another = false;
        // A worker that has already ended was not cancelled, even if its shim has not noticed yet.
        if (!worker_has_ended(seen)) {
            is_left_to_another = !place_request();
            if (!is_left_to_another && !send_signal(shim, SIGTERM) && errno != ESRCH) {
                const int error = errno;
                withdraw();
                errno = error;
                cannot_signal(seen);
            }
        }
        // A stopped shim could not carry it out.
        const auto stat = read_process_stat(seen.run->shim.pid);
        if (stat && stat->state == 'T') send_signal(shim, SIGCONT);
        wait_for_end(shim, is_left_to_another ? other_cancellers_turn : milliseconds(-1));
    }

    [[noreturn]] void cannot_signal(const Observation& seen) const {
        throw_errno(files_.job + ": not cancelled: signal " + name_of(seen.run->shim));
    }

    static bool worker_has_ended(const Observation& seen) {
        const auto& worker = seen.run->worker;
        return worker && look_up_process(worker->pid, worker->start_time) == Liveness::dead;
    }

    // Nothing if somebody has started it meanwhile.
    std::optional<Settled> cancel_queued() {
        // Anybody who may write to the directory could plant a heartbeat file that keeps the owner
        // out.
        const auto job = stamp_at(files_.job);
        if (job && ::geteuid() != 0 && job->owner != ::geteuid())
            refuse("it belongs to uid " + std::to_string(job->owner));
        Settled settled =
            look_at(files_, context_.observer, true,
                    [&](const Observation& seen) -> std::optional<Conclusion> {
                        if (seen.verdict.state != State::queued) return std::nullopt;
                        return judge_never_started(request_.what.by, request_.what.reason);
                    });
        // A job is not called off unless that is on record.
        if (!settled.unwritable.empty()) refuse(settled.unwritable);
        if (!settled.wrote) return std::nullopt;
        return settled;
    }

    // Nothing if it is no longer orphaned, or if another canceller is at work.
    std::optional<Settled> end_orphan() {
        const auto lock = SettlerLock::try_take(files_.heartbeat);
        if (!lock) {
            pause_for(milliseconds(50));
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
        signal_orphan(seen, 0);  // a user who cannot signal it must not leave a request
        place_request();         // or another's request is there: the lock holder carries it out
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
            signal_orphan(seen, signal);
            evidence.push_back(signal_name(signal) + " sent to the orphan after " +
                               describe_duration(std::chrono::duration_cast<milliseconds>(
                                   monotonic_now() - began)));
        };
        send(options_.signal.value_or(SIGTERM));
        const auto stat = read_process_stat(seen.run->worker->pid);
        if (stat && stat->state == 'T') signal_orphan(seen, SIGCONT);
        const milliseconds grace = options_.kill_after.value_or(default_grace);
        if (wait_for_end(worker, grace.count() > 0 ? grace : milliseconds(-1))) return;
        send(SIGKILL);
        if (!wait_for_end(worker, kill_patience))
            refuse("SIGKILL did not end the worker (pid " + std::to_string(seen.run->worker->pid) +
                   "): it is stuck in the kernel");
    }

    JobFiles files_;
    const CtlOptions& options_;
    const Context& context_;
    CancelRequest request_;
    bool placed_ = false;
};

}  // namespace

Outcome cancel_job(const CtlOptions& options, const Context& context) {
    const std::string& job = options.jobs.front();
    const auto files = select_job(job, context.directories);
    if (!files || !is_there(*files)) {
        complain_of_no_such_job(job);
        return Outcome::no_such_job;
    }
    const Verdict before = look_at(*files, context.observer, true).now.verdict;
    const Settled after = Canceller(*files, options, context).run();
    if (after.now.look_failed) throw Refusal("not cancelled: " + after.now.trouble);
    const JobReport report = report_of(*files, after);
    print(options.json ? json_array_of({report}) : status_line(report));
    const Verdict& verdict = after.now.verdict;
    if (verdict.state == State::cancelled) return done;
    if (before.ended)
        complain(job + ": had already ended");
    else if (verdict.state == State::unknown)
        complain(job + ": not cancelled: whether it is alive cannot be determined from here " +
                 "(if you know that it is dead, use jobctl settle)");
    else
        complain(job + ": ended, but not because it was cancelled");
    return verdict.state == State::unknown ? Outcome::unknown : Outcome::failed;
}

}  // namespace jobshim
