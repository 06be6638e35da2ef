// A forked process for one test: it runs a given function, and is killed when the test ends.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

namespace jobshim {

class Child {
public:
    // Runs `body` in the child. It calls `ready` once the test may go on; the child then waits to
    // be killed.
    explicit Child(const std::function<void(const std::function<void()>& ready)>& body) {
        int ends[2];
        if (::pipe2(ends, O_CLOEXEC) != 0) ::abort();
        pid_ = ::fork();
        if (pid_ == 0) {
            ::close(ends[0]);
            body([&] { (void)!::write(ends[1], "x", 1); });
            for (;;) ::pause();
        }
        ::close(ends[1]);
        char byte = 0;
        (void)!::read(ends[0], &byte, 1);
        ::close(ends[0]);
    }
    ~Child() { end(); }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    int pid() const { return pid_; }
    void kill(int signal = SIGKILL) const { ::kill(pid_, signal); }
    // Killed but not reaped: a zombie.
    void make_zombie() const {
        kill();
        siginfo_t info{};
        ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT);
    }
    void end() {
        if (pid_ <= 0) return;
        kill();
        ::waitpid(pid_, nullptr, 0);
        pid_ = -1;
    }

private:
    int pid_ = -1;
};

}  // namespace jobshim
