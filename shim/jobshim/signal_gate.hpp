// The shim's signals: all blocked, and taken one by one where it waits, so that none interrupts
// anything and none is lost. What is done with one, such as passing it on to the worker, is in
// supervisor.cpp.
#pragma once

#include <csignal>

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

namespace jobshim {

class SignalGate {
public:
    // Blocks every signal. Restores SIGCHLD's default if the launcher ignored it: otherwise the
    // kernel would reap the worker and discard its status.
    SignalGate();

    // The next signal, or nothing at the timeout (or earlier, if the process was stopped and
    // continued). Without a timeout it waits forever.
    std::optional<siginfo_t> next(std::optional<std::chrono::nanoseconds> timeout) const;

    // Gives a child the signal state that the launcher meant for it. Async-signal-safe.
    void restore() const;

    // True if the launcher blocked or ignored it: the shim must not act on it before the worker
    // runs.
    bool is_unwanted(int signal) const;

    // The descriptors it needs open.
    std::vector<int> descriptors() const;

private:
    // The kernel's own form, one bit per signal: the library's sigset leaves out the signals that
    // it uses for its own threads, and those must not end the shim either.
    using KernelSignals = std::uint64_t;

    KernelSignals original_mask_ = 0;
    bool child_was_ignored_ = false;
};

// True for a signal that calls the job off if it comes before the worker runs.
bool calls_off(int signal);

// True if the kernel sent it, and not a process.
bool is_from_kernel(const siginfo_t& info);

// True for a signal that this process caused itself, such as SIGPIPE and SIGXFSZ on a write of its
// own.
bool is_from_self(const siginfo_t& info);

// True if the terminal sent it to its foreground process group, whose members all have it already.
// A hangup, and the SIGCONT that follows it, does not count in a session leader, which alone gets
// it.
bool is_from_terminal(const siginfo_t& info);

// Stops this process as `signal` stopped the worker, until it is continued. In an orphaned process
// group TSTP, TTIN and TTOU are ignored and stop nothing, as it should be.
void stop_self(int signal);

// For a shim in its child's process group, which a shell sees as one job: if the child has stopped,
// stops too. True if it did, and has been continued.
bool follow_stop(int child);

// Ends this process by `signal`, without a core dump. Returns if that is impossible, as it is for
// process 1 of a pid namespace.
void die_by(int signal);

// Restores a signal's default action, even for one that the C library reserves for itself.
void set_default(int signal);
// Lets a blocked signal take effect, if it is pending.
void let_through(int signal);

}  // namespace jobshim
