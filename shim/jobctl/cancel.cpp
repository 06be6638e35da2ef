// jobctl cancel JOB: ends a job, and waits until the record says so.
//
// The request (who, why, how) is on disk before the first signal, so that whoever sees the end
// knows that it was asked for. The shim carries it out; an orphan, which has none, is ended here.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "common/clocks.hpp"
#include "common/process_identity.hpp"
#include "common/units.hpp"
#include "shim/jobctl/commands.hpp"
#include "shim/jobctl/look.hpp"
#include "shim/jobctl/output.hpp"
#include "shim/jobctl/selection.hpp"
#include "shim/jobctl/watch.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds default_grace{10'000};
// What SIGKILL does not end in this time is stuck in the kernel.
constexpr milliseconds kill_patience{10'000};
constexpr milliseconds other_cancellers_turn{1000};
// A request that cannot be read is being written, for so long; then it is a leaving.
constexpr milliseconds unreadable_patience{1000};

class Canceller {
public:
    Canceller(JobFiles files, const Options& options, const Context& context)
        : files_(std::move(files)), options_(options), context_(context) {
        request_.what.by = requester("jobctl cancel", context);
        request_.what.reason = options.reason;
        request_.at = iso_time(wall_now_ms());
        request_.signal = options.signal;
        if (options.kill_after) request_.kill_after_ms = options.kill_after->count();
    }
    ~Canceller() {
        // Nobody has taken it up: the job had ended before.
        if (placed_ && is_ours(read_cancel_request(files_))) ::unlink(files_.cancel.c_str());
    }
    Canceller(const Canceller&) = delete;
    Canceller& operator=(const Canceller&) = delete;

    // Returns once the job has ended, or it is clear that it cannot be ended from here.
    Settled run() {
        for (;;) {
            Settled seen = look_at(files_, context_.observer, true);
            switch (seen.now.verdict.state) {
                case State::completed:
                case State::failed:
                case State::cancelled:
                    if (seen.now.verdict.ended) return seen;
                    wait_for_shim(seen.now);
                    break;
                case State::lost:
                case State::unknown:
                    return seen;
                case State::queued:
                    if (auto called_off = call_off()) return std::move(*called_off);
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

private:
    bool is_ours(const std::optional<CancelRequest>& request) const {
        return request && request->what.by.pid == request_.what.by.pid &&
               request->at == request_.at;
    }

    // True if it is this process that has to see to it: not another one whose request is there.
    bool place_request() {
        if (placed_) return true;
        const auto deadline = monotonic_now() + unreadable_patience;
        for (;;) {
            // Not 0600: the shim may be another user's.
            const UniqueFd fd(::open(files_.cancel.c_str(),
                                     O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644));
            if (fd) {
                write_request(fd);
                placed_ = true;
                return true;
            }
            if (errno != EEXIST) throw_errno("make " + files_.cancel);
            const auto theirs = read_cancel_request(files_);
            if (theirs && is_at_it(*theirs)) return false;
            if (theirs || monotonic_now() >= deadline)
                ::unlink(files_.cancel.c_str());  // whoever made it has died
            else
                pause_for(milliseconds(5));
        }
    }

    void write_request(const UniqueFd& fd) {
        try {
            write_all(fd.get(), cancel_request_text(request_), files_.cancel);
            if (::fsync(fd.get()) != 0) throw_errno("flush " + files_.cancel);
            if (const UniqueFd directory = open_directory_to_flush(files_.directory))
                if (::fsync(directory.get()) != 0) throw_errno("flush " + files_.directory);
        } catch (...) {
            ::unlink(files_.cancel.c_str());
            throw;
        }
    }

    // Its number alone: a canceller is short-lived, and one that is taken for alive by mistake
    // means only that we wait with it.
    static bool is_at_it(const CancelRequest& request) {
        return request.what.by.pid && *request.what.by.pid > 0 &&
               (::kill(*request.what.by.pid, 0) == 0 || errno == EPERM);
    }

    // The shim, to be signalled and waited for. Empty if it has gone this moment.
    UniqueFd shim_of(const Observation& seen) const {
        if (!seen.run || seen.place != Place::here) {
            if (!seen.run && seen.probe.lock == LifeLock::held) {
                pause_for(milliseconds(5));  // a new run, which has not said yet who it is
                return {};
            }
            throw Refusal(printable(files_.job) +
                          ": not cancelled: its shim cannot be reached from " + "here (" +
                          seen.verdict.because + ")");
        }
        return open_process(seen.run->shim.pid, seen.run->shim.start_time);
    }

    void wait_for_shim(const Observation& seen) const {
        if (const UniqueFd shim = shim_of(seen)) wait_for_end(shim, milliseconds(-1));
    }

    void ask_shim(const Observation& seen) {
        const UniqueFd shim = shim_of(seen);
        if (!shim) return;
        const std::string name = "the shim (pid " + std::to_string(seen.run->shim.pid) + ")";
        if (!send_signal(shim, 0) && errno == EPERM) throw_errno("signal " + name);
        const bool is_ours = place_request();
        if (is_ours && !send_signal(shim, SIGTERM) && errno != ESRCH) throw_errno("signal " + name);
        // A shim that is stopped could not carry it out.
        const auto stat = read_process_stat(seen.run->shim.pid);
        if (stat && stat->state == 'T') send_signal(shim, SIGCONT);
        // Another canceller may die before his signal.
        wait_for_end(shim, is_ours ? milliseconds(-1) : other_cancellers_turn);
    }

    // Nothing if somebody has begun it meanwhile.
    std::optional<Settled> call_off() {
        Settled settled =
            look_at(files_, context_.observer, true,
                    [&](const Observation& seen) -> std::optional<FinalWord> {
                        if (seen.verdict.state != State::queued) return std::nullopt;
                        return judge_never_started(request_.what.by, request_.what.reason);
                    });
        if (!settled.wrote && settled.unwritable.empty()) return std::nullopt;
        return settled;
    }

    // Nothing if it is not an orphan any more, or another canceller is at it.
    std::optional<Settled> end_orphan() {
        const auto lock = SettlerLock::try_take(files_.heartbeat);
        if (!lock) {
            pause_for(milliseconds(5));
            return std::nullopt;
        }
        const Observation seen = observe(files_, context_.observer, [&] { return lock->probe(); });
        if (seen.verdict.state != State::orphaned || !lock->still_in_place()) return std::nullopt;
        const WorkerIdentity worker = *seen.run->worker;
        const UniqueFd process = open_process(worker.pid, worker.start_time);
        if (!process) return std::nullopt;
        place_request();  // or another's is there: whoever has the lock carries it out
        Eyewitness eyewitness{worker, 0, context_.observer.here.pid, {}};
        end(seen, process, eyewitness.evidence);
        const auto status = wait_status_of(process, worker.pid);
        eyewitness.wait_status = status.value_or(0);
        return settle_under(*lock, files_, context_.observer,
                            status ? with_eyewitness(eyewitness) : judge_dead);
    }

    void end(const Observation& seen, const UniqueFd& worker, std::vector<std::string>& evidence) {
        const auto began = monotonic_now();
        const auto send = [&](int signal) {
            signal_orphan(seen, signal);
            evidence.push_back(signal_name(signal) + " sent to the orphan after " +
                               duration_in_words(std::chrono::duration_cast<milliseconds>(
                                   monotonic_now() - began)));
        };
        send(options_.signal.value_or(SIGTERM));
        const auto stat = read_process_stat(seen.run->worker->pid);
        if (stat && stat->state == 'T') signal_orphan(seen, SIGCONT);
        const milliseconds grace = options_.kill_after.value_or(default_grace);
        if (wait_for_end(worker, grace.count() > 0 ? grace : milliseconds(-1))) return;
        send(SIGKILL);
        if (!wait_for_end(worker, kill_patience))
            throw Refusal("SIGKILL did not end the worker (pid " +
                          std::to_string(seen.run->worker->pid) + "): it is stuck in the kernel");
    }

    JobFiles files_;
    const Options& options_;
    const Context& context_;
    CancelRequest request_;
    bool placed_ = false;
};

}  // namespace

Outcome cancel_job(const Options& options, const Context& context) {
    const std::string& job = options.jobs.front();
    const auto files = select_job(job, context.directories);
    if (!files || !is_there(*files)) {
        complain_of_no_such_job(job);
        return Outcome::no_such_job;
    }
    const Verdict before = look_at(*files, context.observer, true).now.verdict;
    const Settled after = Canceller(*files, options, context).run();
    const JobReport report = report_of(*files, after);
    print(options.json ? json_array_of({report}) : status_line(report));
    const Verdict& verdict = after.now.verdict;
    if (verdict.state == State::cancelled) return done;
    if (before.ended)
        complain(printable(job) + ": had ended before");
    else if (verdict.state == State::unknown)
        complain(printable(job) + ": not cancelled: whether it lives cannot be told from here " +
                 "(jobctl settle, if you know that it is dead)");
    else
        complain(printable(job) + ": ended, but not because it was cancelled");
    return verdict.state == State::unknown ? Outcome::unknown : Outcome::failed;
}

}  // namespace jobshim
