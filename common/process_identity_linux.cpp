#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <set>
#include <utility>

#include "common/process_identity.hpp"

#include "common/clocks.hpp"
#include "common/kernel_file.hpp"
#include "common/record_limits.hpp"
#include "common/units.hpp"

namespace jobshim {

namespace {

std::optional<ProcessStat> parse_stat(const std::string& text) {
    // The command is in parentheses and may itself contain some: the last one ends it.
    const std::size_t open = text.find('(');
    const std::size_t close = text.rfind(')');
    if (open == std::string::npos || close == std::string::npos || close + 2 >= text.size())
        return std::nullopt;
    ProcessStat stat;
    stat.pid = static_cast<int>(std::strtol(text.c_str(), nullptr, 10));
    stat.command = text.substr(open + 1, close - open - 1);
    const char* at = text.c_str() + close + 2;
    stat.state = *at++;
    std::array<std::uint64_t, 19> fields{};  // proc(5): fields 4 (ppid) to 22 (starttime)
    for (std::uint64_t& field : fields) {
        char* end = nullptr;
        field = static_cast<std::uint64_t>(std::strtoll(at, &end, 10));
        if (end == at) return std::nullopt;
        at = end;
    }
    stat.parent = static_cast<int>(fields[0]);
    stat.group = static_cast<int>(fields[1]);
    stat.session = static_cast<int>(fields[2]);
    stat.terminal = static_cast<int>(fields[3]);
    for (const std::size_t field : {10U, 11U, 12U, 13U})  // utime, stime, cutime, cstime
        stat.cpu_ticks += static_cast<std::int64_t>(fields[field]);
    stat.start_time = fields[18];
    return stat;
}

// A pidfd becomes readable when the process ends, and hangs up when it is reaped. poll(2) always
// reports a hangup: to wait only for that, `events` is 0.
bool poll_for(const ProcessHandle& process, short events, std::chrono::milliseconds timeout) {
    pollfd poll{process.get(), events, 0};
    const auto deadline = monotonic_now() + timeout;
    int result = 0;
    do {
        const timespec left =
            to_timespec(std::max(deadline - monotonic_now(), std::chrono::nanoseconds(0)));
        result = ::ppoll(&poll, 1, timeout.count() < 0 ? nullptr : &left, nullptr);
    } while (result < 0 && errno == EINTR);
    return result == 1 && (poll.revents & (events | POLLHUP)) != 0;
}

// False if /proc belongs to another pid namespace (`unshare --pid` without --mount-proc): there the
// same pid is another process.
bool proc_shows_our_pids() {
    static const bool ours = [] {
        std::array<char, 32> self{};
        return ::readlink("/proc/self", self.data(), self.size() - 1) > 0 &&
               std::strtol(self.data(), nullptr, 10) == ::getpid();
    }();
    return ours;
}

// The part that we need of struct pidfd_info in linux/pidfd.h, which older headers lack.
struct PidfdInfo {
    std::uint64_t mask;
    std::uint64_t cgroup_id;
    std::array<std::uint32_t, 11> ids;
    std::int32_t exit_code;
};
constexpr std::uint64_t pidfd_info_exit = 1U << 3U;
constexpr unsigned long pidfd_get_info = _IOWR(0xFF, 11, PidfdInfo);

// PIDFD_GET_INFO cannot be asked whether it reports how a process ended: it does since Linux 6.15.
// For a zombie whose first thread ended before the others, older kernels show that thread's status.
bool keeps_wait_statuses() {
    utsname names{};
    return ::uname(&names) == 0 && ::strverscmp(names.release, "6.15") >= 0;
}

std::optional<int> wait_status_of_zombie(int pid) {
    if (!proc_shows_our_pids()) return std::nullopt;
    const std::string directory = "/proc/" + std::to_string(pid);
    // A reader without permission sees 0 (proc(5), exit_code). The link needs the same permission.
    std::array<char, 64> link;
    if (::readlink((directory + "/ns/pid").c_str(), link.data(), link.size()) < 0)
        return std::nullopt;
    const std::string text = read_kernel_file(directory + "/stat");
    const auto stat = parse_stat(text);
    const std::size_t last = text.rfind(' ');  // field 52
    if (!stat || stat->state != 'Z' || last == std::string::npos) return std::nullopt;
    int status = 0;
    const auto [end, error] =
        std::from_chars(text.data() + last + 1, text.data() + text.size(), status);
    return error == std::errc{} ? std::optional(status) : std::nullopt;
}

// Calls visit(pid) for every process or thread that this directory of /proc shows.
template <class Visit>
void for_each_pid_in(const std::string& directory, Visit visit) {
    DIR* stream = proc_shows_our_pids() ? ::opendir(directory.c_str()) : nullptr;
    if (stream == nullptr) return;
    while (const dirent* entry = ::readdir(stream)) {
        const std::string_view name = entry->d_name;
        int pid = 0;
        const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
        if (error == std::errc{} && end == name.data() + name.size()) visit(pid);
    }
    ::closedir(stream);
}

template <class Visit>
void for_each_process(Visit visit) {
    for_each_pid_in("/proc", visit);
}

// For example "percpu_rwsem_wait"; "" if the kernel does not say. Not from `stack`: reading that
// blocks while the process is stuck in exec.
std::string kernel_function(const std::string& directory) {
    const std::string function = first_line_of_kernel_file(directory + "/wchan");
    return function == "0" ? "" : function;
}

}  // namespace

std::optional<ProcessStat> read_process_stat(int pid) {
    if (!proc_shows_our_pids()) return std::nullopt;
    return parse_stat(read_kernel_line("/proc/" + std::to_string(pid) + "/stat"));
}

ProcessStat own_process_stat() {
    ProcessStat stat = parse_stat(read_kernel_line("/proc/self/stat")).value_or(ProcessStat{});
    stat.pid = ::getpid();  // /proc may belong to another pid namespace
    return stat;
}

ShimIdentity identity_of_this_process(const ProcessStat& own) {
    ShimIdentity id;
    id.pid = own.pid;
    if (own.start_time != 0) id.start_time = own.start_time;
    id.boot_id = first_line_of_kernel_file("/proc/sys/kernel/random/boot_id");
    id.machine_id = first_line_of_kernel_file("/etc/machine-id");
    struct stat info {};
    if (::stat("/proc/self/ns/pid", &info) == 0) id.pid_namespace = info.st_ino;
    constexpr ino_t initial_time_namespace = 0xEFFFFFFA;  // linux/proc_ns.h
    if (::stat("/proc/self/ns/time", &info) == 0 && info.st_ino != initial_time_namespace)
        id.time_namespace = info.st_ino;
    utsname names{};
    if (::uname(&names) == 0) id.host = to_utf8(names.nodename);
    return possible_part_of(std::move(id));
}

Liveness look_up_process(int pid, std::optional<std::uint64_t> start_time) {
    if (pid <= 0) return Liveness::unknowable;
    const ProcessHandle process = open_process(pid, std::nullopt);
    if (!process) {
        // EINVAL and ENOENT: the pid is now a thread's id, so the process is gone.
        if (errno == ESRCH || errno == EINVAL || errno == ENOENT) return Liveness::dead;
        // No pidfds here (or no file descriptors left): kill with signal 0 also shows it.
        if (::kill(pid, 0) != 0 && errno == ESRCH) return Liveness::dead;
    }
    const auto stat = read_process_stat(pid);
    if (process && wait_for_end(process, std::chrono::milliseconds(0))) return Liveness::dead;
    if (!stat || !start_time) {
        // Hidden by hidepid, no /proc, or no recorded start time: a pid alone proves nothing.
        return process || ::kill(pid, 0) == 0 || errno == EPERM ? Liveness::unknowable
                                                                : Liveness::dead;
    }
    if (stat->start_time != *start_time) return Liveness::dead;
    // A zombie whose pidfd is not readable still has living threads.
    if (!process && (stat->state == 'Z' || stat->state == 'X')) return Liveness::dead;
    return Liveness::alive;
}

ProcessHandle open_process(int pid, std::optional<std::uint64_t> start_time) {
    if (pid <= 0) return {};
    UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    // Open first, then compare: the descriptor stays with the process that was compared.
    if (process && start_time) {
        const auto stat = read_process_stat(pid);
        if (stat && stat->start_time != *start_time) return {};
    }
    return {std::move(process), pid, start_time};
}

bool wait_for_end(const ProcessHandle& process, std::chrono::milliseconds timeout) {
    return poll_for(process, POLLIN, timeout);
}

std::optional<int> wait_status_of(const ProcessHandle& process) {
    if (!keeps_wait_statuses()) return std::nullopt;
    // A parent may reap late, or never. Until then the zombie keeps its pid and shows its status.
    const auto status = wait_status_of_zombie(process.pid());
    // The pid is gone a moment before the hangup.
    const std::chrono::milliseconds patience(status ? 0 : 1000);
    if (!poll_for(process, 0, patience)) return status;
    // Reaped: the status above may be another process's. The descriptor has the right one.
    PidfdInfo info{};
    info.mask = pidfd_info_exit;
    if (::ioctl(process.get(), pidfd_get_info, &info) != 0 || (info.mask & pidfd_info_exit) == 0)
        return std::nullopt;
    return info.exit_code;
}

std::optional<Hanging> find_blocker(int pid) {
    // Any of the process's threads may be the one that is stuck.
    const std::string threads = "/proc/" + std::to_string(pid) + "/task";
    std::optional<Hanging> found;
    bool seen = false;
    bool runs = false;
    for_each_pid_in(threads, [&](int number) {
        const std::string directory = threads + "/" + std::to_string(number);
        const auto stat = parse_stat(read_kernel_file(directory + "/stat"));
        if (!stat) return;
        seen = true;
        runs = runs || stat->state == 'R';
        if (stat->state == 'Z' || stat->state == 'X' || (found && stat->state != 'D')) return;
        if (!found || found->state != 'D') found = {stat->state, kernel_function(directory)};
    });
    if (!seen) return Hanging{};
    return runs ? std::nullopt : found;
}

namespace {

struct UserIds {
    std::uint32_t real = 0;
    std::uint32_t effective = 0;
};

std::optional<UserIds> user_ids_of(int pid) {
    // Not the owner of /proc/PID: that is root for a process that cannot be dumped, as when its
    // program may be executed but not read.
    if (!proc_shows_our_pids()) return std::nullopt;
    const std::string status = read_kernel_file("/proc/" + std::to_string(pid) + "/status");
    constexpr std::string_view label = "\nUid:\t";
    const std::size_t at = status.find(label);
    if (at == std::string::npos) return std::nullopt;
    UserIds ids;
    const char* next = status.data() + at + label.size();
    const char* const end = status.data() + status.size();
    for (std::uint32_t* id : {&ids.real, &ids.effective}) {
        const auto [stop, error] = std::from_chars(next, end, *id);
        if (error != std::errc{} || stop == end) return std::nullopt;
        next = stop + 1;
    }
    return ids;
}

}  // namespace

std::optional<std::int64_t> own_user_outside() {
    const std::int64_t inside = ::getuid();
    // Lines of "INSIDE OUTSIDE COUNT".
    const std::string map = read_kernel_file("/proc/self/uid_map");
    if (map.empty()) return inside;
    const char* next = map.c_str();
    for (;;) {
        std::array<std::int64_t, 3> line{};
        for (std::int64_t& field : line) {
            char* end = nullptr;
            field = std::strtoll(next, &end, 10);
            if (end == next) return std::nullopt;
            next = end;
        }
        if (inside >= line[0] && inside < line[0] + line[2]) return line[1] + (inside - line[0]);
    }
}

bool ignores(int pid, int signal) {
    const std::string status = read_kernel_file("/proc/" + std::to_string(pid) + "/status");
    constexpr std::string_view label = "\nSigIgn:\t";
    const std::size_t at = status.find(label);
    if (at == std::string::npos) return false;
    const std::uint64_t ignored = std::strtoull(status.c_str() + at + label.size(), nullptr, 16);
    return (ignored >> static_cast<unsigned>(signal - 1) & 1U) != 0;
}

std::optional<std::uint32_t> owner_of_process(int pid) {
    const auto ids = user_ids_of(pid);
    return ids ? std::optional(ids->effective) : std::nullopt;
}

std::vector<ProcessStat> members_of_group(int group, int except) {
    std::vector<ProcessStat> members;
    for_each_process([&](int pid) {
        if (pid == except) return;
        // Most are in another group. One call shows that; having the kernel format a text for us to
        // parse would be most of the cost of a short job's end.
        const pid_t its_group = ::getpgid(pid);
        if (its_group >= 0 && its_group != group) return;
        auto stat = read_process_stat(pid);
        if (!stat || stat->group != group || stat->state == 'Z' || stat->state == 'X') return;
        const auto owner = owner_of_process(pid);
        if (!owner) return;
        stat->owner = *owner;
        members.push_back(std::move(*stat));
    });
    return members;
}

namespace {

void add_descendants(int pid, std::set<int>& found) {
    if (!found.insert(pid).second) return;
    const std::string threads = "/proc/" + std::to_string(pid) + "/task";
    for_each_pid_in(threads, [&](int thread) {
        const std::string children =
            read_kernel_file(threads + "/" + std::to_string(thread) + "/children");
        const char* next = children.data();
        for (;;) {
            char* end = nullptr;
            const long child = std::strtol(next, &end, 10);
            if (end == next) return;
            add_descendants(static_cast<int>(child), found);
            next = end;
        }
    });
}

}  // namespace

std::int64_t cpu_ticks_of(const WorkerIdentity& worker) {
    std::set<int> processes;
    add_descendants(worker.pid, processes);
    // Those whose parent is gone.
    if (worker.group == Group::own)
        for (const ProcessStat& member : members_of_group(worker.pid, worker.pid))
            processes.insert(member.pid);
    std::int64_t ticks = 0;
    for (const int pid : processes)
        if (const auto stat = read_process_stat(pid)) ticks += stat->cpu_ticks;
    return ticks;
}

bool is_newest_process(int pid) {
    // Not /proc/loadavg, which shows the same: in a container, another program may emulate it.
    const std::string newest = first_line_of_kernel_file("/proc/sys/kernel/ns_last_pid");
    return !newest.empty() && newest == std::to_string(pid);
}

std::optional<std::uint64_t> process_inode_of(int pid) {
    // The inode number of its pidfd.
    const ProcessHandle process = open_process(pid, std::nullopt);
    struct stat info {};
    return process && ::fstat(process.get(), &info) == 0 ? std::optional(info.st_ino)
                                                         : std::nullopt;
}

std::int64_t wall_start_of(const ProcessStat& stat) {
    const auto ticks_a_second = static_cast<std::uint64_t>(std::max(1L, ::sysconf(_SC_CLK_TCK)));
    const auto age = std::chrono::duration_cast<std::chrono::milliseconds>(boottime_now()).count() -
                     static_cast<std::int64_t>(stat.start_time * 1000 / ticks_a_second);
    return wall_now_ms() - age;
}

std::string path_of_own_program() {
    std::array<char, 4096> path{};
    const ssize_t length = ::readlink("/proc/self/exe", path.data(), path.size());
    if (length <= 0 || static_cast<std::size_t>(length) == path.size()) return "";
    return {path.data(), static_cast<std::size_t>(length)};
}

std::string command_line_of(int pid) {
    return read_kernel_file("/proc/" + std::to_string(pid) + "/cmdline", std::size_t{1} << 20U);
}

namespace {

// If the first thread has ended, only the others still have it.
std::string environment_of(int pid) {
    const std::string process = "/proc/" + std::to_string(pid);
    const std::size_t most = std::size_t{4} << 20U;
    std::string environment = read_kernel_file(process + "/environ", most);
    if (environment.empty())
        for_each_pid_in(process + "/task", [&](int thread) {
            if (environment.empty())
                environment = read_kernel_file(
                    process + "/task/" + std::to_string(thread) + "/environ", most);
        });
    return environment;
}

}  // namespace

std::optional<std::string> initial_environment_of(int pid, const std::string& variable) {
    if (!proc_shows_our_pids()) return std::nullopt;
    const std::string environment = environment_of(pid);
    const std::string start = variable + "=";
    for (std::size_t at = 0; at < environment.size();) {
        const std::size_t end = std::min(environment.find('\0', at), environment.size());
        if (environment.compare(at, start.size(), start) == 0)
            return environment.substr(at + start.size(), end - at - start.size());
        at = end + 1;
    }
    return std::nullopt;
}

std::string path_as_seen_by(int pid, const std::string& path) {
    return "/proc/" + std::to_string(pid) +
           (path.starts_with('/') ? "/root" + path : "/cwd/" + path);
}

std::vector<RunningCommand> find_processes_named(const std::string& name) {
    std::vector<RunningCommand> found;
    for_each_process([&](int pid) {
        const std::string directory = "/proc/" + std::to_string(pid);
        if (first_line_of_kernel_file(directory + "/comm") != name) return;
        RunningCommand running;
        running.pid = pid;
        if (const auto stat = read_process_stat(pid)) running.start_time = stat->start_time;
        running.owner = user_ids_of(pid).value_or(UserIds{~0U, ~0U}).real;
        const std::string line = command_line_of(pid);
        for (std::size_t at = 0; at < line.size();) {
            const std::size_t end = std::min(line.find('\0', at), line.size());
            running.arguments.push_back(line.substr(at, end - at));
            at = end + 1;
        }
        found.push_back(std::move(running));
    });
    return found;
}

std::optional<int> find_process(const std::function<bool(std::string_view command_line)>& fits,
                                std::uint32_t owner) {
    std::optional<int> found;
    for_each_process([&](int pid) {
        if (!found && fits(command_line_of(pid)) && owner_of_process(pid) == owner) found = pid;
    });
    return found;
}

}  // namespace jobshim
