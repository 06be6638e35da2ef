#include "shim/jobshim/supervisor.hpp"

#include <unistd.h>

#include <algorithm>
#include <map>

#include "common/clocks.hpp"
#include "common/process_identity.hpp"
#include "common/send_signal.hpp"
#include "common/units.hpp"
#include "shim/jobshim/look_at_child.hpp"
#include "shim/jobshim/timers.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

class Supervisor {
public:
    Supervisor(const WorkerIdentity& worker, const ShimOptions& options, const SignalGate& signals,
               const SupervisorHooks& hooks)
        : worker_(worker),
          options_(options),
          signals_(signals),
          hooks_(hooks),
          began_(monotonic_now()) {
        timers_.set(Timer::beat, began_ + options.heartbeat_interval);
        if (options.timeout.count() > 0) timers_.set(Timer::timeout, began_ + options.timeout);
    }

    Ending run(const std::vector<siginfo_t>& early) {
        for (const siginfo_t& info : early) handle(info);
        while (!look_for_end() && !ending_.survivor) {
            if (const auto info = signals_.next(*timers_.next() - monotonic_now())) handle(*info);
            // It may have ended while this process was stopped, long before its time was up.
            if (look_for_end()) break;
            run_timers();
        }
        if (!ending_.cancelled)
            ending_.cancelled = hooks_.cancel_request();  // written before the end, if at all
        for (PassedOn& passed : ending_.passed_on)
            passed.before_end = since(passed_on_at_[passed.signal]);
        return std::move(ending_);
    }

private:
    enum class Timer {
        beat,  // always set
        timeout,
        kill,  // at the end of a grace period
        look,  // whether SIGKILL has ended the worker; set after it
        count,
    };

    bool look_for_end() {
        const auto end = look_at_child(worker_.pid);
        if (!end) return false;
        ending_.survivor.reset();  // ended at the last moment
        ending_.wait_status = end->wait_status;
        ending_.resources = end->resources;
        return true;
    }

    void run_timers() {
        const nanoseconds now = monotonic_now();
        if (timers_.take(Timer::beat, now)) {
            hooks_.beat();
            timers_.set(Timer::beat, now + options_.heartbeat_interval);
        }
        if (timers_.take(Timer::kill, now)) ask_to_end(SIGKILL, milliseconds(0), "");
        if (timers_.take(Timer::look, now)) look_for_survivor(now);
        if (timers_.take(Timer::timeout, now)) {
            ending_.timed_out = !ending_.cancelled;
            ask_to_end(options_.signal, options_.kill_after, ": timeout reached");
        }
    }

    void handle(const siginfo_t& info) {
        if (info.si_signo == SIGCHLD) {
            // As process 1 of a pid namespace, the shim becomes the parent of every orphan.
            if (::getpid() == 1) reap_orphans(worker_.pid);
            if (worker_.group == Group::share) follow_stop(worker_.pid);
            return;
        }
        if (is_from_self(info)) return;
        if (worker_.group == Group::share) {
            if (is_from_terminal(info)) return;  // the worker has it already
            if (info.si_signo == SIGCONT && !is_from_kernel(info) && !worker_is_stopped())
                return;  // the shell continued the whole group
        }
        if (info.si_signo == SIGTERM) {
            ++ending_.sigterm_count;
            if (const auto request = hooks_.cancel_request(); request && is_new_request(*request)) {
                carry_out(*request);
                return;
            }
        }
        const bool is_ignored = is_fatal(info.si_signo) && ignores(worker_.pid, info.si_signo);
        if (const int error = send(info.si_signo); error != 0)
            tell_unsent(info.si_signo, error);
        else if (is_fatal(info.si_signo))
            remember(info, is_ignored);
    }

    void remember(const siginfo_t& info, bool is_ignored) {
        std::erase_if(ending_.passed_on,
                      [&](const PassedOn& passed) { return passed.signal == info.si_signo; });
        ending_.passed_on.push_back(
            {info.si_signo, requester_of(info), milliseconds(0), is_ignored});
        passed_on_at_[info.si_signo] = monotonic_now();
    }

    // A second request may go further than the first: another signal, or less grace.
    bool is_new_request(const CancelRequest& request) const {
        return !ending_.cancelled || ending_.cancelled->at != request.at ||
               ending_.cancelled->what.by.pid != request.what.by.pid;
    }

    void carry_out(const CancelRequest& request) {
        ending_.cancelled = request;
        const int signal = request.signal.value_or(SIGTERM);
        ask_to_end(
            signal,
            request.kill_after_ms ? milliseconds(*request.kill_after_ms) : options_.kill_after,
            ": cancelled");
    }

    void ask_to_end(int signal, milliseconds grace, const char* why) {
        if (const int error = send(signal); error != 0)
            tell_unsent(signal, error);
        else
            ending_.evidence.push_back(signal_name(signal) + " sent" + why + " after " +
                                       describe_duration(since(began_)));
        // A stopped process could not obey. Only then: a SIGCONT right after the signal makes GNU
        // make lose track of its children.
        if (signal != SIGKILL && signal != SIGCONT && somebody_is_stopped()) (void)send(SIGCONT);
        // A grace of 0 has no end. Another request does not postpone a kill that is already
        // scheduled.
        if (grace.count() > 0) timers_.set_no_later(Timer::kill, monotonic_now() + grace);
        if (signal == SIGKILL && !timers_.is_set(Timer::look))
            timers_.set(Timer::look, monotonic_now() + between_looks);
    }

    void look_for_survivor(nanoseconds now) {
        timers_.set(Timer::look, now + between_looks);
        const auto hanging = find_blocker(worker_.pid);
        // The worker may have become somebody else's, and become ours again.
        const int error = send(SIGKILL);
        looks_ = hanging || error != 0 ? looks_ + 1 : 0;
        if (looks_ < looks_until_given_up) return;
        const Hanging there = hanging.value_or(Hanging{'R', ""});
        ending_.survivor = {worker_.pid, there.state, there.where,
                            looks_until_given_up * between_looks,
                            error == 0 ? "" : why_not_signalled(error, "it", worker_.pid)};
    }

    // To the worker and the rest of its group, each once. 0, or why the worker did not get it. The
    // worker is not reaped yet, so its pid is still its own.
    int send(int signal) const {
        if (worker_.group == Group::share) return signal_child(worker_.pid, signal);
        // An error means that none got it; but if one did, it need not have been the worker, which
        // may have become somebody else's, or have joined another group.
        (void)signal_group(worker_.pid, signal);
        return signal_child(worker_.pid, ::getpgid(worker_.pid) == worker_.pid ? 0 : signal);
    }

    void tell_unsent(int signal, int error) {
        const std::string why = signal_name(signal) + " could not be sent: " +
                                why_not_signalled(error, "the worker", worker_.pid);
        if (std::find(ending_.evidence.begin(), ending_.evidence.end(), why) ==
            ending_.evidence.end())
            ending_.evidence.push_back(why);
    }

    bool somebody_is_stopped() const {
        if (worker_is_stopped()) return true;
        if (worker_.group == Group::share) return false;
        const auto members = members_of_group(worker_.pid, 0);
        return std::any_of(members.begin(), members.end(),
                           [](const ProcessStat& member) { return is_stopped(member); });
    }

    bool worker_is_stopped() const {
        const auto stat = read_process_stat(worker_.pid);
        return stat && is_stopped(*stat);
    }

    static bool is_fatal(int signal) {
        switch (signal) {
            case SIGCONT:
            case SIGTSTP:
            case SIGTTIN:
            case SIGTTOU:
            case SIGURG:
            case SIGWINCH:
                return false;
        }
        return true;
    }

    static milliseconds since(nanoseconds moment) {
        return std::chrono::duration_cast<milliseconds>(monotonic_now() - moment);
    }

    const WorkerIdentity& worker_;
    const ShimOptions& options_;
    const SignalGate& signals_;
    const SupervisorHooks& hooks_;
    nanoseconds began_;
    Timers<Timer> timers_;
    int looks_ = 0;
    std::map<int, nanoseconds> passed_on_at_;  // by signal
    Ending ending_;
};

}  // namespace

Ending supervise(const WorkerIdentity& worker, const ShimOptions& options,
                 const SignalGate& signals, const SupervisorHooks& hooks,
                 const std::vector<siginfo_t>& early) {
    return Supervisor(worker, options, signals, hooks).run(early);
}

Requester requester_of(const siginfo_t& info) {
    Requester by;
    by.how = "signal to the shim";
    if (is_from_kernel(info)) return by;
    if (info.si_pid > 0) by.pid = info.si_pid;  // 0: in another pid namespace
    by.uid = info.si_uid;
    if (const auto stat = read_process_stat(info.si_pid)) by.command = printable(stat->command);
    return by;
}

}  // namespace jobshim
