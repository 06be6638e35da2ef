// The shim's signals: all blocked, taken one by one where it waits, so that none interrupts
// anything and none is lost.
#pragma once

#include <csignal>

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

namespace jobshim {

class SignalGate {
public:
    // Blocks everything. SIGCHLD gets its default back if the launcher ignored it: else the kernel
    // would reap the worker and throw its status away.
    SignalGate();

    // The next signal; nothing at the time-out. Without one it waits for ever.
    std::optional<siginfo_t> next(std::optional<std::chrono::nanoseconds> timeout) const;

    // Gives a child what the launcher meant it to have. Async-signal-safe.
    void restore() const;

    // The launcher blocked or ignored it: not for us to act on before the worker is there.
    bool is_unwanted(int signal) const;

    // What it needs open.
    std::vector<int> descriptors() const;

private:
    // As the kernel has it, one bit a signal: the library's sigset leaves out those that it uses
    // for threads of its own, and those must not end the shim either.
    using KernelSignals = std::uint64_t;

    KernelSignals original_mask_ = 0;
    bool child_was_ignored_ = false;
};

// No process sent it.
bool is_from_kernel(const siginfo_t& info);

// A signal that this process caused itself (SIGPIPE and SIGXFSZ of a write of its own), or that
// stands for its own fault.
bool is_own_doing(const siginfo_t& info);

// Sent by the terminal to its foreground group, whose members all have it already. A hangup (and
// the continuation that follows it) goes to the session's leader alone.
bool is_from_terminal(const siginfo_t& info);

// Stops this process as `signal` stopped the worker, until it is continued. A signal that is
// ignored in an orphaned group (TSTP, TTIN, TTOU) stops nothing, as it should be.
void stop_self(int signal);

// Where the shim is in its child's group, a shell sees one job: it must stop as the child did. True
// if it was stopped, and has been continued.
bool follow_stop(int child);

// Ends this process by `signal`, without a core dump of its own. Returns if that cannot be: as
// process 1 of a pid namespace.
void die_by(int signal);

// Gives a signal its default, also one that the C library keeps for itself.
void set_default(int signal);
// Lets one of those that are blocked have its effect, if it is there.
void let_through(int signal);

}  // namespace jobshim
