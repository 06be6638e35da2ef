// Process identities, tested on real processes.
#include "common/process_identity.hpp"

#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "common/clocks.hpp"
#include "tests/catch.hpp"
#include "tests/child.hpp"

using namespace jobshim;
using std::chrono::milliseconds;

TEST_CASE("process: one that is alive or a zombie or gone or has a reused pid") {
    Child child([](auto ready) { ready(); });
    const auto stat = read_process_stat(child.pid());
    REQUIRE(stat);
    CHECK(stat->parent == ::getpid());
    CHECK(look_up_process(child.pid(), stat->start_time) == Liveness::alive);
    CHECK(look_up_process(child.pid(), stat->start_time + 1) == Liveness::dead);  // a reused pid
    CHECK(look_up_process(child.pid(), std::nullopt) == Liveness::unknowable);
    child.kill(SIGSTOP);
    CHECK(look_up_process(child.pid(), stat->start_time) == Liveness::alive);
    child.make_zombie();
    CHECK(look_up_process(child.pid(), stat->start_time) == Liveness::dead);
    CHECK(look_up_process(child.pid(), std::nullopt) == Liveness::dead);
    const int pid = child.pid();
    child.end();
    CHECK(look_up_process(pid, stat->start_time) == Liveness::dead);
    CHECK(look_up_process(0, 1) == Liveness::unknowable);
    CHECK(look_up_process(-1, 1) == Liveness::unknowable);
}

TEST_CASE("process: a zombie leader whose threads still run is alive") {
    static std::function<void()> tell;
    const Child child([](auto ready) {
        tell = ready;
        pthread_t thread{};
        ::pthread_create(
            &thread, nullptr,
            [](void*) -> void* {
                // Until the leader is a zombie.
                for (;;) {
                    const auto stat = read_process_stat(::getpid());
                    if (stat && stat->state == 'Z') break;
                    ::sched_yield();
                }
                tell();
                for (;;) ::pause();
            },
            nullptr);
        ::syscall(SYS_exit, 0);  // only this thread
    });
    const auto stat = read_process_stat(child.pid());
    REQUIRE(stat);
    CHECK(stat->state == 'Z');
    CHECK(look_up_process(child.pid(), stat->start_time) == Liveness::alive);
}

TEST_CASE("process: another user's is alive even if it cannot be signalled") {
    if (::geteuid() != 0) {
        WARN("test skipped: needs root to become another user");
        return;
    }
    const auto self = read_process_stat(::getpid());
    int status = 0;
    const pid_t child = ::fork();
    if (child == 0) {
        if (::setresuid(65534, 65534, 65534) != 0) ::_exit(9);
        const bool refused = ::kill(::getppid(), 0) != 0 && errno == EPERM;
        const bool alive = look_up_process(::getppid(), self->start_time) == Liveness::alive;
        ::_exit(refused && alive ? 0 : 1);
    }
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("process: its end can be waited for") {
    Child child([](auto ready) { ready(); });
    const auto stat = read_process_stat(child.pid());
    CHECK_FALSE(open_process(child.pid(), stat->start_time + 1));
    const ProcessHandle process = open_process(child.pid(), stat->start_time);
    REQUIRE(process);
    CHECK_FALSE(wait_for_end(process, milliseconds(0)));
    child.kill();
    CHECK(wait_for_end(process, milliseconds(10'000)));
}

TEST_CASE("process: a name with parentheses and spaces does not shift the fields") {
    const Child child([](auto ready) {
        ::prctl(PR_SET_NAME, ") S 1 (x");
        ready();
    });
    const auto stat = read_process_stat(child.pid());
    REQUIRE(stat);
    CHECK(stat->parent == ::getpid());
    CHECK(stat->command == ") S 1 (x");
}

TEST_CASE("process: members of a process group") {
    const Child leader([](auto ready) {
        ::setpgid(0, 0);
        if (::fork() == 0)
            for (;;) ::pause();
        ready();
    });
    const auto others = members_of_group(leader.pid(), leader.pid());
    REQUIRE(others.size() == 1);
    CHECK(others[0].parent == leader.pid());
    CHECK(members_of_group(leader.pid(), 0).size() == 2);
    ::kill(-leader.pid(), SIGKILL);
}

TEST_CASE("process: the identity of this one") {
    const ShimIdentity here = identity_of_this_process(own_process_stat());
    CHECK(here.pid == ::getpid());
    CHECK(here.start_time == read_process_stat(::getpid())->start_time);
    CHECK(place_of(here, here) == Place::here);
}

TEST_CASE("process: its start time and command line and pidfd inode") {
    const Child child([](auto ready) { ready(); });
    const auto stat = read_process_stat(child.pid());
    REQUIRE(stat);
    const auto age = wall_now_ms() - wall_start_of(*stat);
    CHECK(age > -1000);
    CHECK(age < 60'000);

    const std::string line = command_line_of(::getpid());
    CHECK(line.ends_with('\0'));
    CHECK(line == command_line_of(child.pid()));
    CHECK(command_line_of(0) == "");

    const auto number = process_inode_of(child.pid());
    REQUIRE(number);
    CHECK(process_inode_of(child.pid()) == number);
    CHECK_FALSE(process_inode_of(0));
}

// The process is a grandchild of ours; its parent reaps it only when told to.
TEST_CASE(
    "process: a watcher of another process's child knows how it ended even after it is reaped") {
    const auto thread_ends_last = [] {
        pthread_t thread{};
        ::pthread_create(
            &thread, nullptr,
            [](void*) -> void* {
                for (;;) {
                    const auto stat = read_process_stat(::getpid());
                    if (stat && stat->state == 'Z') ::_exit(7);
                    ::sched_yield();
                }
            },
            nullptr);
        ::syscall(SYS_exit, 0);  // only the first thread
    };
    struct Case {
        std::function<void()> end;
        int status;
    };
    const Case cases[] = {{[] { ::raise(SIGUSR1); }, SIGUSR1},
                          {[] { ::_exit(3); }, 3 << 8},
                          {thread_ends_last, 7 << 8}};
    for (const Case& each : cases) {
        const int expected = each.status;
        CAPTURE(expected);
        int pids[2];
        int go[2];
        int reap[2];
        for (int* ends : {pids, go, reap}) REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
        const auto await = [](int fd) {
            char byte = 0;
            (void)!::read(fd, &byte, 1);
        };
        const Child parent([&](auto ready) {
            const int pid = ::fork();
            if (pid == 0) {
                await(go[0]);
                each.end();
            }
            (void)!::write(pids[1], &pid, sizeof pid);
            ready();
            await(reap[0]);
            ::waitpid(pid, nullptr, 0);
        });
        int pid = 0;
        REQUIRE(::read(pids[0], &pid, sizeof pid) == sizeof pid);
        const ProcessHandle process = open_process(pid, std::nullopt);
        REQUIRE(process);
        REQUIRE(::write(go[1], "x", 1) == 1);
        REQUIRE(wait_for_end(process, std::chrono::seconds(20)));
        const auto of_zombie = wait_status_of(process);
        REQUIRE(::write(reap[1], "x", 1) == 1);
        while (::kill(pid, 0) == 0) ::sched_yield();
        const auto of_reaped = wait_status_of(process);
        for (const int* ends : {pids, go, reap})
            for (const int fd : {ends[0], ends[1]}) ::close(fd);
        if (!of_zombie && !of_reaped) {
            WARN("test skipped: this kernel keeps no exit status for a non-parent (Linux 6.15)");
            return;
        }
        CHECK(of_zombie == expected);
        CHECK(of_reaped == expected);
    }
}

TEST_CASE("process: whose it is, even if it cannot be dumped") {
    CHECK(owner_of_process(::getpid()) == ::geteuid());
    if (::geteuid() != 0) {
        WARN("test skipped: needs root");
        return;
    }
    const Child child([](auto ready) {
        if (::setuid(1001) == 0 && ::prctl(PR_SET_DUMPABLE, 0) == 0) ready();
    });
    CHECK(owner_of_process(child.pid()) == 1001U);
    CHECK_FALSE(owner_of_process(4194303));
}

TEST_CASE("process: the environment that it was started with") {
    Child child([](auto ready) {
        const char* const argv[] = {"sleep", "600", nullptr};
        const char* const environment[] = {"OTHER_NAME=other", "NAME=/a value", nullptr};
        ready();
        ::execve("/bin/sleep", const_cast<char**>(argv), const_cast<char**>(environment));
    });
    while (command_line_of(child.pid()) != std::string("sleep\000600\0", 10)) ::sched_yield();
    CHECK(initial_environment_of(child.pid(), "NAME") == "/a value");
    CHECK_FALSE(initial_environment_of(child.pid(), "NAM"));
    CHECK_FALSE(initial_environment_of(child.pid(), "PATH"));
    CHECK_FALSE(initial_environment_of(4194303, "NAME"));
}
