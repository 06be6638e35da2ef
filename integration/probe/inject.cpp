// Runs a program and makes one of its system calls go wrong, several times as fast as strace
// starts:
//
//   inject TRACE PROCESS CALL NTH FAULT DIRECTORY COMMAND [ARG...]
//
//   TRACE      a file that says what was done, if anything was, as strace would
//   PROCESS    0: the program itself; 1: its first child, and so on. All are traced until they end
//              or, but for the program, execute another. "-": the program, which alone is traced,
//              until the fault is injected
//   CALL, NTH  the number of the system call, and which of them: from 1; "3+" is this and all after
//   FAULT      kill          SIGKILL as it enters the call, which is not made
//              ERRNO         the call is not made, and fails with this number
//              after-ERRNO   it is made, but reported as failed, as close(2) may be
//              half          it gets half as many bytes (write), but at least one
//   DIRECTORY  only calls on this directory or on something in it are counted; "-": all are
//
// It ends as the program does, once nothing is traced any more. x86-64 only: elsewhere the tests
// use strace where they can.

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace {

struct Order {
    const char* trace;
    int process;
    bool alone;
    unsigned long call;
    int nth;
    bool and_all_after;
    bool kill, after, half;
    int error;
    std::string directory;  ///< empty: any
};

Order parse(char** argv) {
    const std::string process = argv[2], nth = argv[4], fault = argv[5], directory = argv[6];
    Order order{};
    order.trace = argv[1];
    order.alone = process == "-";
    order.process = order.alone ? 0 : std::stoi(process);
    order.call = std::stoul(argv[3]);
    order.nth = std::stoi(nth);
    order.and_all_after = nth.ends_with('+');
    order.kill = fault == "kill";
    order.half = fault == "half";
    order.after = fault.starts_with("after-");
    if (!order.kill && !order.half)
        order.error = std::stoi(fault.substr(order.after ? sizeof "after-" - 1 : 0));
    if (directory != "-") order.directory = directory;
    return order;
}

/// Which arguments of a call are paths; of any other call, the first is a file descriptor.
std::vector<int> path_arguments(unsigned long call) {
    switch (call) {
        case SYS_open:
        case SYS_stat:
        case SYS_lstat:
        case SYS_access:
        case SYS_unlink:
        case SYS_mkdir:
        case SYS_rmdir:
        case SYS_readlink:
        case SYS_chmod:
        case SYS_chdir:
        case SYS_truncate:
        case SYS_statfs:
        case SYS_execve:
            return {0};
        case SYS_rename:
        case SYS_link:
            return {0, 1};
        case SYS_openat:
        case SYS_newfstatat:
        case SYS_statx:
        case SYS_unlinkat:
        case SYS_mkdirat:
        case SYS_readlinkat:
        case SYS_faccessat:
        case SYS_faccessat2:
        case SYS_fchmodat:
        case SYS_fchownat:
        case SYS_utimensat:
        case SYS_inotify_add_watch:
            return {1};
        case SYS_renameat:
        case SYS_renameat2:
        case SYS_linkat:
            return {1, 3};
        default:
            return {};
    }
}

std::string text_at(pid_t pid, unsigned long address) {
    std::string text;
    for (;;) {
        // Up to the end of a page, for the next may not be mapped.
        char block[256];
        const auto room = std::min(sizeof block, 4096 - address % 4096);
        const iovec here{block, room}, there{reinterpret_cast<void*>(address), room};
        const auto read = process_vm_readv(pid, &here, 1, &there, 1, 0);
        if (read <= 0) return text;
        const std::string_view part(block, static_cast<std::size_t>(read));
        const auto end = part.find('\0');
        text += part.substr(0, end);
        if (end != std::string_view::npos) return text;
        address += static_cast<unsigned long>(read);
    }
}

std::string target_of(pid_t pid, unsigned long descriptor) {
    char target[4096];
    const auto link =
        "/proc/" + std::to_string(pid) + "/fd/" + std::to_string(static_cast<int>(descriptor));
    const auto length = readlink(link.c_str(), target, sizeof target);
    return {target, static_cast<std::size_t>(std::max<ssize_t>(length, 0))};
}

bool is_within(const std::string& path, const std::string& directory) {
    return path.starts_with(directory) &&
           (path.size() == directory.size() || path[directory.size()] == '/');
}

class Tracer {
public:
    Tracer(pid_t program, Order order) : program_(program), order_(std::move(order)) {
        ordinal_of(program);
        std::ofstream(order_.trace).flush();
    }

    /// Returns the program's wait status.
    int run() {
        int status = 0, end = 0;
        waitpid(program_, &status, 0);  // its SIGSTOP
        long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC;
        if (!order_.alone)
            options |=
                PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL;
        if (ptrace(PTRACE_SETOPTIONS, program_, nullptr, options) != 0) return -1;
        ptrace(PTRACE_SYSCALL, program_, nullptr, nullptr);
        for (pid_t pid; (pid = waitpid(-1, &status, __WALL)) > 0;) {
            if (WIFSTOPPED(status))
                on_stop(pid, status);
            else if (pid == program_)
                end = status;
        }
        return end;
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
        // Most of the cost of tracing is the two stops at each call.
        ptrace(is_done() ? PTRACE_DETACH : PTRACE_SYSCALL, pid, nullptr, pass_on);
    }

    // One that is traced with its children is traced to the end, so that this process ends last.
    bool is_done() const {
        return order_.alone && count_ >= order_.nth && !order_.and_all_after && at_exit_ == 0;
    }

    void at_call(pid_t pid) {
        __ptrace_syscall_info info{};
        if (!executed_ || ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) <= 0) return;
        if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
            if (is_due(pid, info)) enter(pid);
        } else if (at_exit_ == pid) {
            at_exit_ = 0;
            auto registers = registers_of(pid);
            registers.rax = static_cast<unsigned long long>(-order_.error);
            ptrace(PTRACE_SETREGS, pid, nullptr, &registers);
        }
    }

    bool is_due(pid_t pid, const __ptrace_syscall_info& info) {
        if (info.entry.nr != order_.call || ordinal_of(pid) != order_.process ||
            !is_in_the_directory(pid, info))
            return false;
        ++count_;
        return count_ == order_.nth || (order_.and_all_after && count_ > order_.nth);
    }

    bool is_in_the_directory(pid_t pid, const __ptrace_syscall_info& info) const {
        if (order_.directory.empty()) return true;
        const auto paths = path_arguments(info.entry.nr);
        if (paths.empty()) return is_within(target_of(pid, info.entry.args[0]), order_.directory);
        return std::any_of(paths.begin(), paths.end(), [&](int path) {
            const auto text = text_at(pid, info.entry.args[path]);
            const bool relative = path > 0 && !text.starts_with('/') &&
                                  static_cast<int>(info.entry.args[path - 1]) >= 0;
            return is_within(relative ? target_of(pid, info.entry.args[path - 1]) : text,
                             order_.directory);
        });
    }

    void enter(pid_t pid) {
        std::ofstream(order_.trace, std::ios::app)
            << (order_.kill ? "+++ killed by SIGKILL +++\n" : "(INJECTED)\n");
        if (order_.kill) {
            ::kill(pid, SIGKILL);
            return;
        }
        auto registers = registers_of(pid);
        if (order_.half)
            registers.rdx = std::max(registers.rdx / 2, 1ULL);
        else if (!order_.after)
            registers.orig_rax = ~0ULL;
        if (!order_.half) at_exit_ = pid;
        ptrace(PTRACE_SETREGS, pid, nullptr, &registers);
    }

    static user_regs_struct registers_of(pid_t pid) {
        user_regs_struct registers{};
        ptrace(PTRACE_GETREGS, pid, nullptr, &registers);
        return registers;
    }

    pid_t program_;
    Order order_;
    bool executed_ = false;
    int count_ = 0;
    pid_t at_exit_ = 0;
    std::map<pid_t, int> ordinals_;
    std::set<pid_t> greeted_;
};

}  // namespace

int main(int argc, char** argv) {
    if (argc < 8) return 99;
    const auto program = fork();
    if (program == 0) {
        if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(99);
        raise(SIGSTOP);
        execvp(argv[7], argv + 7);
        _exit(99);
    }
    // What is sent to a group or by a terminal is for the program, and ends this process by that.
    for (const int number : {SIGHUP, SIGINT, SIGQUIT, SIGTERM}) signal(number, SIG_IGN);
    const int end = program < 0 ? -1 : Tracer(program, parse(argv)).run();
    if (!WIFSIGNALED(end)) return end == -1 ? 99 : WEXITSTATUS(end);
    signal(WTERMSIG(end), SIG_DFL);
    const rlimit no_core{};
    setrlimit(RLIMIT_CORE, &no_core);
    raise(WTERMSIG(end));
    return 128 + WTERMSIG(end);
}
