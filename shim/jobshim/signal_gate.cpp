#include "shim/jobshim/signal_gate.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include "shim/jobshim/process_attributes.hpp"

namespace jobshim {

bool calls_off(int signal) {
    switch (signal) {
        case SIGTERM:
        case SIGINT:
        case SIGHUP:
        case SIGQUIT:
            return true;
    }
    return false;
}

bool is_from_self(const siginfo_t& info) {
    return info.si_code == SI_USER && info.si_pid == ::getpid();
}

bool is_from_terminal(const siginfo_t& info) {
    if (!is_from_kernel(info)) return false;
    switch (info.si_signo) {
        case SIGINT:
        case SIGQUIT:
        case SIGTSTP:
        case SIGTTIN:
        case SIGTTOU:
        case SIGWINCH:
            return true;
        case SIGHUP:
        case SIGCONT:
            return ::getsid(0) != ::getpid();
    }
    return false;
}

void stop_self(int signal) {
    struct sigaction standard {};
    struct sigaction former {};
    standard.sa_handler = SIG_DFL;
    ::sigaction(signal, &standard, &former);  // fails for SIGSTOP, which does not need it
    ::kill(::getpid(), signal);
    let_through(signal);  // stops here
    ::sigaction(signal, &former, nullptr);
}

bool follow_stop(int child) {
    siginfo_t info{};
    if (::waitid(P_PID, static_cast<id_t>(child), &info, WSTOPPED | WNOHANG) != 0 ||
        info.si_pid == 0)
        return false;
    stop_self(info.si_status);
    return true;
}

void die_by(int signal) {
    forbid_core_dump();
    set_default(signal);
    ::kill(::getpid(), signal);
    let_through(signal);
}

}  // namespace jobshim
