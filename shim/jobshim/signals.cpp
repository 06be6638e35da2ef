#include "shim/jobshim/signals.hpp"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>

#include "common/clocks.hpp"

namespace jobshim {

SignalGate::SignalGate() {
    ::sigfillset(&all_);
    ::sigprocmask(SIG_SETMASK, &all_, &original_mask_);
    struct sigaction child {};
    ::sigaction(SIGCHLD, nullptr, &child);
    child_was_ignored_ = child.sa_handler == SIG_IGN;
    if (child_was_ignored_) {
        child.sa_handler = SIG_DFL;
        ::sigaction(SIGCHLD, &child, nullptr);
    }
}

std::optional<siginfo_t> SignalGate::next(std::optional<std::chrono::nanoseconds> timeout) const {
    siginfo_t info{};
    for (;;) {
        int signal = 0;
        if (timeout) {
            const timespec time =
                to_timespec(timeout->count() > 0 ? *timeout : std::chrono::nanoseconds(0));
            signal = ::sigtimedwait(&all_, &info, &time);
        } else {
            signal = ::sigwaitinfo(&all_, &info);
        }
        if (signal > 0) return info;
        if (errno != EINTR)  // stopped and continued: wait on
            return std::nullopt;
        if (timeout) return std::nullopt;  // the caller works out anew how long to wait
    }
}

void SignalGate::restore() const {
    if (child_was_ignored_) {
        struct sigaction child {};
        child.sa_handler = SIG_IGN;
        ::sigaction(SIGCHLD, &child, nullptr);
    }
    ::sigprocmask(SIG_SETMASK, &original_mask_, nullptr);
}

bool SignalGate::is_unwanted(int signal) const {
    if (::sigismember(&original_mask_, signal) == 1) return true;
    struct sigaction action {};
    return ::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

bool is_own_doing(const siginfo_t& info) {
    return info.si_code == SI_USER && info.si_pid == ::getpid();
}

bool is_from_terminal(const siginfo_t& info) {
    if (info.si_code != SI_KERNEL) return false;
    switch (info.si_signo) {
        case SIGINT:
        case SIGQUIT:
        case SIGTSTP:
        case SIGHUP:
        case SIGCONT:
        case SIGTTIN:
        case SIGTTOU:
        case SIGWINCH:
            return true;
    }
    return false;
}

void stop_self(int signal) {
    struct sigaction standard {};
    struct sigaction former {};
    standard.sa_handler = SIG_DFL;
    ::sigaction(signal, &standard, &former);  // fails for SIGSTOP, which needs it not
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, signal);
    ::kill(::getpid(), signal);
    ::sigprocmask(SIG_UNBLOCK, &set, nullptr);  // stops here
    ::sigprocmask(SIG_BLOCK, &set, nullptr);
    ::sigaction(signal, &former, nullptr);
}

void die_by(int signal) {
    const rlimit none{0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
    ::prctl(PR_SET_DUMPABLE, 0);  // a core pipe handler ignores the limit
    struct sigaction standard {};
    standard.sa_handler = SIG_DFL;
    ::sigaction(signal, &standard, nullptr);
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, signal);
    ::kill(::getpid(), signal);
    ::sigprocmask(SIG_UNBLOCK, &set, nullptr);
}

}  // namespace jobshim
