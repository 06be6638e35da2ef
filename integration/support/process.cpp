#include "integration/support/process.hpp"

#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>

#include "integration/support/error.hpp"
#include "integration/support/json.hpp"
#include "integration/support/proc.hpp"
#include "integration/support/records.hpp"
#include "tests/catch.hpp"

namespace harness {
namespace {

/// Set when a wait times out: Catch2 may swallow a FAIL inside a CHECK, and the rest of the test
/// should not hang as well.
bool gave_up = false;

Fd memory_file(const char* name, std::string_view content = {}) {
    Fd fd(checked(memfd_create(name, MFD_CLOEXEC), name));
    checked(write(fd.get(), content.data(), content.size()), name);
    lseek(fd.get(), 0, SEEK_SET);
    return fd;
}

std::string content_of(int fd) {
    std::string text;
    char block[16384];
    // pread, because the offset is shared with the writer.
    for (ssize_t n; (n = pread(fd, block, sizeof block, static_cast<off_t>(text.size()))) > 0;)
        text.append(block, static_cast<std::size_t>(n));
    return text;
}

/// For messages: argv may hold any bytes.
std::string quoted(const Words& argv) {
    return Json(argv).dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// What a child does before it executes the program. Prepared by the parent, because the child
/// shares the parent's memory: it makes system calls and nothing else.
class Launch {
public:
    Launch(const Words& argv, const Options& options, const fs::path& cwd,
           const std::map<int, int>& fds, int report)
        : options_(options), cwd_(cwd), fds_(fds.begin(), fds.end()), report_(report) {
        for (const auto& word : argv) words_.push_back(const_cast<char*>(word.c_str()));
        words_.push_back(nullptr);
        for (char** entry = environ; *entry != nullptr; ++entry) {
            const std::string_view text = *entry;
            if (!options.env.contains(std::string(text.substr(0, text.find('=')))))
                environment_.push_back(*entry);
        }
        for (const auto& [name, value] : options.env) added_.push_back(name + "=" + value);
        for (auto& entry : added_) environment_.push_back(entry.data());
        environment_.push_back(nullptr);
    }

    pid_t start() {
        // before_exec may do anything, so that child gets memory of its own.
        if (options_.before_exec) {
            const auto child = fork();
            if (child == 0) run(this);
            return child;
        }
        // Copying our page tables could take as long as the rest of the start.
        std::vector<char> stack(std::size_t{256} * 1024);
        char** const ours = environ;
        const auto child =
            clone(run, stack.data() + stack.size(), CLONE_VM | CLONE_VFORK | SIGCHLD, this);
        environ = ours;
        return child;
    }

private:
    static int run(void* launch) {
        static_cast<Launch*>(launch)->become();
        _exit(99);
    }

    void become() {
        if (options_.own_session) setsid();
        for (int number = 1; number < NSIG; ++number) signal(number, SIG_DFL);
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, nullptr);
        // 1, not 0: a core_pattern that is a pipe ignores 0, and the wait status would then say
        // "dumped".
        rlimit core{};
        getrlimit(RLIMIT_CORE, &core);
        core.rlim_cur = std::min<rlim_t>(1, core.rlim_max);
        setrlimit(RLIMIT_CORE, &core);

        // First move them out of each other's way, then into place; everything else closes at exec.
        constexpr int aside = 300;
        for (auto& [number, ours] : fds_) must(ours = fcntl(ours, F_DUPFD_CLOEXEC, aside), "dup");
        must(report_ = fcntl(report_, F_DUPFD_CLOEXEC, aside), "dup");
        close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
        for (const auto& [number, ours] : fds_) dup2(ours, number);

        environ = environment_.data();
        if (chdir(cwd_.c_str()) == 0) {
            if (options_.before_exec) options_.before_exec();
            execvp(words_[0], words_.data());
        }
        const int error = errno;
        [[maybe_unused]] auto written = write(report_, &error, sizeof error);
    }

    const Options& options_;
    const fs::path& cwd_;
    std::vector<std::pair<int, int>> fds_;
    int report_;
    std::vector<char*> words_, environment_;
    Words added_;
};

}  // namespace

std::string Result::ended() const {
    return WIFSIGNALED(status) ? signal_name(WTERMSIG(status))
                               : "exit " + std::to_string(WEXITSTATUS(status));
}

int Result::code() const { return WIFEXITED(status) ? WEXITSTATUS(status) : -1; }

Process::Process(const Words& argv, const Options& options, const fs::path& cwd)
    : argv_(argv), cwd_(options.cwd.empty() ? cwd : options.cwd) {
    if (gave_up) FAIL("not started, because an earlier process hung: " << quoted(argv));
    out_ = memory_file("stdout");
    err_ = memory_file("stderr");
    const Fd in = options.input.empty() ? Fd(open("/dev/null", O_RDONLY | O_CLOEXEC))
                                        : memory_file("stdin", options.input);
    std::map<int, int> fds{{0, in.get()}, {1, out_.get()}, {2, err_.get()}};
    for (const auto& [number, ours] : options.fds) fds[number] = ours;

    Pipe report;
    std::cout.flush();
    begin_ = Clock::now();
    pid_ = checked(Launch(argv, options, cwd_, fds, report.write.get()).start(),
                   "cannot start a process");
    forget_status(pid_);
    pidfd_ = Fd(static_cast<int>(checked(syscall(SYS_pidfd_open, pid_, 0), "pidfd_open")));
    report.write.close();
    if (int error = 0; read(report.read.get(), &error, sizeof error) > 0)
        FAIL("cannot execute " << argv.at(0) << ": " << std::strerror(error));
}

void Process::kill(int signal) const {
    // By pidfd, so that it never hits another process, even if this one has been reaped.
    syscall(SYS_pidfd_send_signal, pidfd_.get(), signal, nullptr, 0);
}

bool Process::running() const { return !end_of(pid_) && alive(pid_); }

Result Process::wait(Milliseconds limit) {
    const auto end = Clock::now() + stretched(limit);
    pollfd poll_for{pidfd_.get(), POLLIN, 0};
    for (;;) {
        const auto left = std::chrono::duration_cast<Milliseconds>(end - Clock::now()).count();
        const int ready = poll(&poll_for, 1, static_cast<int>(std::max(left, 0L)));
        if (ready > 0) break;
        if (ready == 0) {
            std::string tree;
            for (pid_t pid : living_descendants()) tree += "\n  " + command_of(pid);
            kill_everything();
            gave_up = true;
            FAIL("still running after " << stretched(limit).count() << " ms: " << quoted(argv_)
                                        << "\nstdout: " << out() << "\nstderr: " << err()
                                        << "\nalive:" << tree);
        }
        if (errno != EINTR) fail_errno("poll");
    }
    const auto wall = std::chrono::duration_cast<Milliseconds>(Clock::now() - begin_);
    if (!end_of(pid_)) {
        int status = 0;
        checked(waitpid(pid_, &status, 0), "waitpid");
        keep_status(pid_, status);
    }
    Result result{*end_of(pid_), out(), err(), wall};
    keep_output(argv_, cwd_, result.status, result.out);
    return result;
}

std::string Process::out() const { return content_of(out_.get()); }
std::string Process::err() const { return content_of(err_.get()); }

void kill_everything() {
    wait_until([] {
        const auto living = living_descendants();
        for (pid_t pid : living) ::kill(pid, SIGKILL);
        return living.empty();
    });
}

void reset_processes() {
    forget_all_statuses();
    gave_up = false;
}

void must(long result, const char* what) {
    if (result >= 0) return;
    perror(what);
    _exit(99);
}

bool child_can(const std::function<void()>& attempt) {
    const auto pid = checked(fork(), "fork");
    if (pid == 0) {
        close(2);
        attempt();
        _exit(0);
    }
    int status = 0;
    checked(waitpid(pid, &status, 0), "waitpid");
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void enter_private_mounts() {
    must(unshare(CLONE_NEWNS), "unshare");
    must(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "mount --make-rprivate");
}

void become_nobody() {
    constexpr uid_t nobody = 65534;
    must(setgroups(0, nullptr), "setgroups");
    must(setresgid(nobody, nobody, nobody), "setresgid");
    must(setresuid(nobody, nobody, nobody), "setresuid");
}

}  // namespace harness
