// A prefix must not be noticed: what a launcher has set up before the exec works as without the
// shim. Each test tells the story of a fault.

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>

#include "integration/companion.hpp"
#include "integration/strace.hpp"
#include "integration/support.hpp"

using namespace harness;

namespace {

// For before_exec: takes a record lock that survives the exec, on a new descriptor.
int lock_record(const fs::path& file, short type, int flags = O_RDWR | O_CREAT) {
    const int fd = open(file.c_str(), flags, 0600);
    must(fd, "open");
    struct flock lock {};
    lock.l_type = type;
    lock.l_len = 1;
    must(fcntl(fd, F_SETLK, &lock), "lock");
    return fd;
}

// Who holds a record lock on the file; 0 if nobody does.
pid_t holder_of(const fs::path& file) {
    const Fd fd(checked(open(file.c_str(), O_RDWR | O_CLOEXEC), "open"));
    struct flock lock {};
    lock.l_type = F_WRLCK;
    checked(fcntl(fd.get(), F_GETLK, &lock), "look for a lock");
    return lock.l_type == F_UNLCK ? 0 : lock.l_pid;
}

bool is_at_root(const Process& shim) {
    std::error_code none;
    return fs::read_symlink("/proc/" + std::to_string(shim.pid()) + "/cwd", none) == "/";
}

// The number of open descriptors of a process that lead to this file.
std::size_t descriptors_to(const Process& process, const fs::path& file) {
    std::size_t count = 0;
    for (const auto& [number, link] : descriptors_of(process.pid())) count += link == file ? 1 : 0;
    return count;
}

// What comes through a pipe until its end; nothing if the end does not come.
std::optional<std::string> read_to_end(const Fd& pipe, Milliseconds limit = 5s) {
    std::string text;
    pollfd readable{pipe.get(), POLLIN, 0};
    char block[256];
    while (poll(&readable, 1, static_cast<int>(stretched(limit).count())) > 0) {
        const auto count = read(pipe.get(), block, sizeof block);
        if (count <= 0) return text;
        text.append(block, static_cast<std::size_t>(count));
    }
    return std::nullopt;
}

// For before_exec: from now on the kernel refuses this system call, as old container profiles do.
void refuse_call(unsigned number, int error) {
    sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(error)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog filter{sizeof program / sizeof *program, program};
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges");
    must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), "seccomp");
}

// For before_exec: a /dev in which only this test's files are.
void hide_devices() {
    enter_private_mounts();
    must(mount("tmpfs", "/dev", "tmpfs", 0, ""), "mount");
}

}  // namespace

// ---------------------------------------------------------------------------------------------
// The command

// access(2) was asked whether a file can be executed, and a filter of an older container runtime
// answers EPERM to every system call that it does not know: each command was status 126.
TEST_CASE_METHOD(Sandbox, "only the attempt to execute a command decides whether it can be",
                 "[quick][libc]") {
#ifdef SYS_faccessat2
    if (!child_can([] { refuse_call(SYS_faccessat2, EPERM); })) SKIP_TEST("no seccomp filters");
    const Options refused{.before_exec = [] {
        refuse_call(SYS_faccessat2, EPERM);
        refuse_call(SYS_faccessat, EPERM);
    }};
    CHECK(run_job(job, "exit 3", {}, refused).ended() == "exit 3");
    CHECK(run_shim({"-j", dir / "slash.json", "--", "/bin/sh", "-c", "exit 4"}, refused).ended() ==
          "exit 4");
    // And the words say no more than is known.
    put(dir / "plain", "echo hello\n");
    const auto plain = run_shim({"-j", dir / "plain.json", "--", dir / "plain"}, refused);
    CHECK(plain.ended() == "exit 126");
    CHECK(contains(plain.err, "is not executable (mode 06"));
#else
    SKIP_TEST("no faccessat2 in the headers");
#endif
}

// execvp(3) tries the next directory after a file that it cannot execute, whatever made it fail.
TEST_CASE_METHOD(Sandbox, "a command is the first in PATH that can be executed", "[quick][libc]") {
    const auto make = [&](const std::string& directory, const std::string& text, unsigned mode) {
        fs::create_directory(dir / directory);
        put(dir / directory / "tool", text);
        fs::permissions(dir / directory / "tool", fs::perms(mode));
    };
    make("plain", "", 0644);
    make("orphan", "#!/no/such/interpreter\n", 0755);
    make("text", "exit 5\n", 0755);
    make("good", "#!/bin/sh\nexit 6\n", 0755);
    fs::create_directories(dir / "folder" / "tool");
    const auto try_in = [&](const Words& directories) {
        std::string path;
        for (const auto& each : directories)
            path += (path.empty() ? "" : ":") + (dir / each).string();
        // execvp() looks into the PATH of whoever calls it.
        return run_shim({"-j", dir / (std::to_string(std::hash<std::string>{}(path)) + ".json"),
                         "--", "tool", "argument"},
                        {.before_exec = [path] { setenv("PATH", path.c_str(), 1); }});
    };
    CHECK(try_in({"none", "plain", "orphan", "folder", "good"}).ended() == "exit 6");
    CHECK(try_in({"plain", "text", "good"}).ended() == "exit 5");
    const auto plain = try_in({"folder", "plain", "orphan"});
    CHECK(plain.ended() == "exit 126");
    CHECK(contains(plain.err, (dir / "folder" / "tool").string() + ": is a directory"));
    const auto orphan = try_in({"none", "orphan"});
    CHECK(orphan.ended() == "exit 126");
    CHECK(contains(orphan.err, (dir / "orphan" / "tool").string()));
    CHECK(try_in({"none"}).ended() == "exit 127");
}
