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
class MemoryGroup {
public:
    /// A sanitized shim alone would fill a small cgroup.
    static int limit_mib() { return is_sanitized() ? 512 : 16; }

    explicit MemoryGroup(int mib = limit_mib())
        : mib_(mib), turn_(open(hierarchy, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
        if (turn_.get() < 0) return;
        flock(turn_.get(), LOCK_EX);
        static int number = 0;
        const auto wish = fs::path(hierarchy) / ("jobshim-test-" + std::to_string(getpid()) + "-" +
                                                 std::to_string(++number));
        if (mkdir(wish.c_str(), 0755) != 0) return;
        folder_ = wish;
        const auto limit = std::to_string(mib_) + "M";
        put(folder_ / "memory.limit_in_bytes", limit);
        std::error_code none;
        if (fs::exists(folder_ / "memory.memsw.limit_in_bytes", none))
            put(folder_ / "memory.memsw.limit_in_bytes", limit);  // no escape into swap
    }
    ~MemoryGroup() {
        if (folder_.empty()) return;
        for (const auto& pid : lines_of(slurp(folder_ / "cgroup.procs")))
            kill(static_cast<pid_t>(std::stol(pid)), SIGKILL);
        wait_until([&] { return remove() || errno == ENOENT; });
    }
    /// False if a process is still in it.
    bool remove() const { return rmdir(folder_.c_str()) == 0; }
    MemoryGroup(const MemoryGroup&) = delete;
    MemoryGroup& operator=(const MemoryGroup&) = delete;

    /// False without root or without cgroup v1's memory controller.
    bool works() const {
        return geteuid() == 0 && !folder_.empty() &&
               contains(slurp(folder_ / "memory.oom_control"), "\noom_kill 0");
    }
    const fs::path& folder() const { return folder_; }
    std::string name() const { return "/" + folder_.filename().string(); }
    /// For before_exec.
    void join() const {
        const int procs = open((folder_ / "cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC);
        must(procs, "open cgroup.procs");
        must(write(procs, "0", 1), "join the memory group");
        must(close(procs), "close cgroup.procs");
    }
    Options joined() const {
        Options options;
        options.before_exec = [this] { join(); };
        return options;
    }
    std::string kills() const {
        const auto text = slurp(folder_ / "memory.oom_control");
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
    Fd turn_;
    fs::path folder_;
};

}  // namespace harness
