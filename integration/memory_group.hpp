#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "integration/support.hpp"

namespace harness {

/// A memory cgroup (cgroup v1). Only one test at a time may have one: what the kernel's log says
/// about the OOM killer is shared by the whole machine, and cut short if there is too much of it.
class MemoryCgroup {
public:
    /// A sanitized shim alone would fill a small cgroup.
    static int limit_mib() { return is_sanitized() ? 128 : 16; }

    explicit MemoryCgroup(int mib = limit_mib())
        : mib_(mib), lock_(open(hierarchy, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
        if (lock_.get() < 0) return;
        flock(lock_.get(), LOCK_EX);
        static int number = 0;
        const auto path = fs::path(hierarchy) / ("jobshim-test-" + std::to_string(getpid()) + "-" +
                                                 std::to_string(++number));
        if (mkdir(path.c_str(), 0755) != 0) return;
        directory_ = path;
        const auto limit = std::to_string(mib_) + "M";
        put(directory_ / "memory.limit_in_bytes", limit);
        std::error_code none;
        if (fs::exists(directory_ / "memory.memsw.limit_in_bytes", none))
            put(directory_ / "memory.memsw.limit_in_bytes", limit);  // no escape into swap
    }
    ~MemoryCgroup() {
        if (directory_.empty()) return;
        for (const auto& pid : lines_of(slurp(directory_ / "cgroup.procs")))
            kill(static_cast<pid_t>(std::stol(pid)), SIGKILL);
        wait_until([&] { return remove() || errno == ENOENT; });
    }
    /// False if a process is still in it.
    bool remove() const { return rmdir(directory_.c_str()) == 0; }
    MemoryCgroup(const MemoryCgroup&) = delete;
    MemoryCgroup& operator=(const MemoryCgroup&) = delete;

    /// False without root or without cgroup v1's memory controller.
    bool works() const {
        return geteuid() == 0 && !directory_.empty() &&
               contains(slurp(directory_ / "memory.oom_control"), "\noom_kill 0");
    }
    const fs::path& directory() const { return directory_; }
    std::string name() const { return "/" + directory_.filename().string(); }
    /// For before_exec.
    void join() const {
        const int procs = open((directory_ / "cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC);
        must(procs, "open cgroup.procs");
        must(write(procs, "0", 1), "join the memory cgroup");
        must(close(procs), "close cgroup.procs");
    }
    Options joined() const {
        Options options;
        options.before_exec = [this] { join(); };
        return options;
    }
    std::string kills() const {
        const auto text = slurp(directory_ / "memory.oom_control");
        return lines_of(text.substr(text.find("oom_kill ") + 9)).at(0);
    }
    std::string rise() const {
        return "memory.oom_control oom_kill 0 -> " + kills() + " in " + name();
    }
    std::string killed() const {
        return "Killed by the out-of-memory killer (cgroup " + name() + ", limit " +
               std::to_string(mib_) + " MiB)";
    }

private:
    static constexpr const char* hierarchy = "/sys/fs/cgroup/memory";

    int mib_;
    Fd lock_;
    fs::path directory_;
};

}  // namespace harness
