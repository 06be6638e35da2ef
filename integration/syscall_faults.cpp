#include "integration/syscall_faults.hpp"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>
#include <stdexcept>

namespace harness {

#ifdef __x86_64__

namespace {

long number_of(const std::string& name) {
    static const std::map<std::string, long> numbers{
        {"read", SYS_read},
        {"write", SYS_write},
        {"pread64", SYS_pread64},
        {"openat", SYS_openat},
        {"open", SYS_open},
        {"close", SYS_close},
        {"dup2", SYS_dup2},
        {"dup3", SYS_dup3},
        {"setpgid", SYS_setpgid},
        {"prctl", SYS_prctl},
        {"getpid", SYS_getpid},
        {"getppid", SYS_getppid},
        {"execve", SYS_execve},
        {"rt_sigprocmask", SYS_rt_sigprocmask},
        {"rt_sigaction", SYS_rt_sigaction},
        {"rt_sigtimedwait", SYS_rt_sigtimedwait},
        {"socketpair", SYS_socketpair},
        {"pipe2", SYS_pipe2},
        {"clone", SYS_clone},
        {"fork", SYS_fork},
        {"fallocate", SYS_fallocate},
        {"ftruncate", SYS_ftruncate},
        {"fsync", SYS_fsync},
        {"renameat2", SYS_renameat2},
        {"mkdir", SYS_mkdir},
        {"unlink", SYS_unlink},
        {"fchmod", SYS_fchmod},
        {"fchown", SYS_fchown},
        {"newfstatat", SYS_newfstatat},
        {"stat", SYS_stat},
        {"lstat", SYS_lstat},
        {"fstat", SYS_fstat},
        {"readlink", SYS_readlink},
        {"fcntl", SYS_fcntl},
        {"wait4", SYS_wait4},
        {"getcwd", SYS_getcwd},
        {"poll", SYS_poll},
        {"getpgid", SYS_getpgid},
    };
    const auto found = numbers.find(name);
    if (found == numbers.end())
        throw std::runtime_error("syscall_faults: which call is " + name + "?");
    return found->second;
}

struct Wish {
    long number;
    int nth;
    int process;
    SyscallFault how;
    int error;
};

class Tracer {
public:
    Tracer(pid_t program, const Wish& wish) : program_(program), wish_(wish) {
        ordinal_of(program);
    }

    int run() {
        int end = 0;
        waitpid(program_, nullptr, 0);  // its SIGSTOP
        must(ptrace(PTRACE_SETOPTIONS, program_, nullptr,
                    PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                        PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL),
             "PTRACE_SETOPTIONS");
        ptrace(PTRACE_SYSCALL, program_, nullptr, nullptr);
        int status = 0;
        for (pid_t pid; (pid = waitpid(-1, &status, __WALL)) > 0;) {
            if (WIFSTOPPED(status))
                on_stop(pid, status);
            else if (pid == program_)
                end = status;
        }
        return WIFEXITED(end) ? WEXITSTATUS(end) : 128 + WTERMSIG(end);
    }

private:
    int ordinal_of(pid_t pid) {
        return ordinals_.emplace(pid, static_cast<int>(ordinals_.size())).first->second;
    }

    void on_stop(pid_t pid, int status) {
        const int signal = WSTOPSIG(status);
        const int event = status >> 16;
        long pass_on = 0;
        if (event == PTRACE_EVENT_EXEC) {
            if (pid != program_ || executed_) {
                ptrace(PTRACE_DETACH, pid, nullptr, nullptr);
                return;
            }
            executed_ = true;
        } else if (event != 0) {
            unsigned long child = 0;
            ptrace(PTRACE_GETEVENTMSG, pid, nullptr, &child);
            ordinal_of(static_cast<pid_t>(child));
        } else if (signal == (SIGTRAP | 0x80)) {
            at_call(pid);
        } else if (signal == SIGSTOP && pid != program_ && greeted_.insert(pid).second) {
            ordinal_of(pid);  // a new child starts with this, maybe before its parent's event
        } else {
            pass_on = signal;
        }
        ptrace(PTRACE_SYSCALL, pid, nullptr, pass_on);
    }

    void at_call(pid_t pid) {
        __ptrace_syscall_info info{};
        if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) <= 0) return;
        user_regs_struct registers{};
        ptrace(PTRACE_GETREGS, pid, nullptr, &registers);
        if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
            const bool wanted = executed_ && ordinal_of(pid) == wish_.process &&
                                info.entry.nr == static_cast<unsigned long>(wish_.number);
            if (!wanted || ++count_ != wish_.nth) return;
            if (wish_.how == SyscallFault::fail) registers.orig_rax = ~0ULL;
            if (wish_.how == SyscallFault::shorten)
                registers.rdx = std::max(registers.rdx / 2, 1ULL);
            else
                at_exit_ = pid;
            ptrace(PTRACE_SETREGS, pid, nullptr, &registers);
        } else if (at_exit_ == pid) {
            at_exit_ = 0;
            registers.rax = static_cast<unsigned long long>(-wish_.error);
            ptrace(PTRACE_SETREGS, pid, nullptr, &registers);
        }
    }

    pid_t program_;
    Wish wish_;
    bool executed_ = false;
    int count_ = 0;
    pid_t at_exit_ = 0;
    std::map<pid_t, int> ordinals_;
    std::set<pid_t> greeted_;
};

}  // namespace

bool can_fault_syscalls() { return true; }

std::function<void()> fault_syscall(const Call& call, SyscallFault how, int error) {
    const Wish wish{number_of(call.name), call.nth, call.process, how, error};
    return [wish] {
        const auto program = fork();
        must(program, "fork");
        if (program == 0) {
            must(ptrace(PTRACE_TRACEME, 0, nullptr, nullptr), "PTRACE_TRACEME");
            raise(SIGSTOP);
            return;
        }
        // A process waiting for the end of a pipe must not wait for this tracer.
        syscall(SYS_close_range, 3, ~0U, 0);
        _exit(Tracer(program, wish).run());
    };
}

#else

bool can_fault_syscalls() { return false; }
std::function<void()> fault_syscall(const Call&, SyscallFault, int) {
    return [] {};
}

#endif

}  // namespace harness
