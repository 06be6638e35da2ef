#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "shim/jobshim/look_at_child.hpp"

namespace jobshim {

namespace {

Resources resources_of(const rusage& used) {
    const auto ms = [](const timeval& time) {
        return static_cast<std::int64_t>(time.tv_sec) * 1000 + time.tv_usec / 1000;
    };
    return {ms(used.ru_utime), ms(used.ru_stime), used.ru_maxrss};
}

// The raw status of wait(2), rebuilt from waitid(2), the only call that can look at a zombie
// without reaping it.
int raw_wait_status(const siginfo_t& info) {
    switch (info.si_code) {
        case CLD_EXITED:
            return (info.si_status & 0xFF) << 8;
        case CLD_DUMPED:
            return info.si_status | 0x80;
        default:
            return info.si_status;
    }
}

// Where waitid(2) is forbidden: then the pid is free from now on.
std::optional<ChildEnd> reap_child(int pid) {
    int status = 0;
    rusage used{};
    if (::wait4(pid, &status, WNOHANG, &used) != pid) return std::nullopt;
    return ChildEnd{status, resources_of(used)};
}

}  // namespace

std::optional<ChildEnd> look_at_child(int pid) {
    siginfo_t info{};
    rusage used{};
    // The raw system call: unlike the library's waitid, it also returns the resource usage.
    const long result =
        ::syscall(SYS_waitid, P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT, &used);
    if (result != 0 && errno != EINTR && errno != ECHILD) return reap_child(pid);
    if (result != 0 || info.si_pid == 0) return std::nullopt;
    return ChildEnd{raw_wait_status(info), resources_of(used)};
}

void reap_orphans(int own) {
    for (;;) {
        siginfo_t info{};
        if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0 ||
            info.si_pid == own)
            return;
        ::waitpid(info.si_pid, nullptr, WNOHANG);
    }
}

}  // namespace jobshim
