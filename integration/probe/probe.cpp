// A worker that prints everything it can see of what it was given, one line each: KEY, tab, VALUE.
// It is run bare and through jobshim (differential_test.cpp); any difference is something a worker
// could notice. Long values are given as a length and a checksum.

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/securebits.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <string_view>

extern char** environ;

namespace {

namespace fs = std::filesystem;

std::string escaped(std::string_view bytes) {
    if (bytes.size() > 4000) {
        unsigned long long sum = 1469598103934665603ULL;  // FNV-1a
        for (const char c : bytes) sum = (sum ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
        return std::to_string(bytes.size()) + " bytes, sum " + std::to_string(sum);
    }
    std::string text;
    for (const char c : bytes) {
        if (c >= ' ' && c != '\\' && c != 127) {
            text += c;
            continue;
        }
        char code[8];
        std::snprintf(code, sizeof code, "\\%03o", static_cast<unsigned>(c) & 0xFFU);
        text += code;
    }
    return text;
}

void print_value(const std::string& key, std::string_view value) {
    std::printf("%s\t%s\n", key.c_str(), escaped(value).c_str());
}

void print_value(const std::string& key, long long value) {
    print_value(key, std::to_string(value));
}

/// The result of a call, or its errno.
void print_result(const std::string& key, long result) {
    if (result < 0)
        print_value(key, "errno " + std::to_string(errno));
    else
        print_value(key, static_cast<long long>(result));
}

std::string content(const std::string& file) {
    std::ifstream in(file, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
}

std::string target(const std::string& link) {
    std::error_code error;
    const auto path = fs::read_symlink(link, error);
    return error ? "(" + error.message() + ")" : path.string();
}

void print_command_line(int argc, char** argv) {
    print_value("argv count", argc);
    for (int i = 0; i < argc; ++i) print_value("argv " + std::to_string(i), argv[i]);
    print_value("executable", target("/proc/self/exe"));
    print_value("name", content("/proc/self/comm"));
    // NOLINTNEXTLINE(performance-no-int-to-ptr): the kernel passes it as a number
    print_value("executed as", reinterpret_cast<const char*>(getauxval(AT_EXECFN)));
    print_value("secure execution", static_cast<long long>(getauxval(AT_SECURE)));
}

// True if a variable of systemd's, which names the process that it is for, names this one
// (sd_listen_fds(3)).
bool is_own_id(std::string_view entry) {
    const auto value = entry.substr(entry.find('=') + 1);
    if (entry.starts_with("LISTEN_PIDFDID=")) {
        const int own = static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0));
        struct stat info {};
        const bool known = fstat(own, &info) == 0;
        close(own);
        return known && value == std::to_string(info.st_ino);
    }
    return (entry.starts_with("LISTEN_PID=") || entry.starts_with("WATCHDOG_PID=")) &&
           value == std::to_string(getpid());
}

// In order, duplicates included. The launcher's pid is left out: it differs in each run.
void print_environment() {
    int n = 0;
    for (char** at = environ; *at != nullptr; ++at) {
        const std::string_view entry = *at;
        if (entry.starts_with("PROBE_LAUNCHER=")) continue;
        if (entry.starts_with("JOBSHIM_JOB_FILE="))
            print_value("JOBSHIM_JOB_FILE", "set");
        else
            print_value("env " + std::to_string(n++),
                        is_own_id(entry)
                            ? std::string(entry.substr(0, entry.find('='))) + " is its own"
                            : std::string(entry));
    }
    print_value("env count", n);
}

void print_place(const std::string& launcher) {
    print_value("directory", fs::current_path().string());
    print_value("root", target("/proc/self/root"));
    const mode_t mask = umask(0);
    print_value("umask", mask);
    for (const auto& entry : fs::directory_iterator("/proc/self/ns"))
        print_value("namespace " + entry.path().filename().string(),
                    target(entry.path()) ==
                            target(fs::path("/proc") / launcher / "ns" / entry.path().filename())
                        ? "the launcher's"
                        : target(entry.path()));
    print_value("cgroup", content("/proc/self/cgroup"));
}

void print_scheduling() {
    print_result("nice", 20 - syscall(SYS_getpriority, PRIO_PROCESS, 0));
    print_result("policy", sched_getscheduler(0));
    sched_param parameters{};
    sched_getparam(0, &parameters);
    print_value("priority", parameters.sched_priority);
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    sched_getaffinity(0, sizeof cpus, &cpus);
    std::string list;
    for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu)
        if (CPU_ISSET(cpu, &cpus)) list += " " + std::to_string(cpu);
    print_value("cpus", list);
    constexpr int who_process = 1;  // as in linux/ioprio.h, which in some releases is not C++
    print_result("io priority", syscall(SYS_ioprio_get, who_process, 0));
    print_result("timer slack", prctl(PR_GET_TIMERSLACK));
    print_value("oom_score_adj", content("/proc/self/oom_score_adj"));
}

void print_limits() {
    for (int what = 0; what < RLIM_NLIMITS; ++what) {
        rlimit both{};
        getrlimit(static_cast<__rlimit_resource>(what), &both);
        print_value("limit " + std::to_string(what),
                    std::to_string(both.rlim_cur) + " " + std::to_string(both.rlim_max));
    }
}

// Must come before we open anything ourselves.
void print_descriptors() {
    std::set<int> numbers;
    for (const auto& entry : fs::directory_iterator("/proc/self/fd"))
        numbers.insert(std::stoi(entry.path().filename()));
    for (const int fd : numbers) {
        const int flags = fcntl(fd, F_GETFD);
        if (flags < 0) continue;  // the listing's own
        const auto key = "fd " + std::to_string(fd);
        print_value(key, target("/proc/self/fd/" + std::to_string(fd)));
        print_value(key + " close-on-exec", flags);
        print_result(key + " flags", fcntl(fd, F_GETFL));
        if (fd != STDOUT_FILENO) print_result(key + " offset", lseek(fd, 0, SEEK_CUR));
        print_result(key + " owner", fcntl(fd, F_GETOWN));
    }
}

void print_stdin() {
    std::string text;
    char block[4096];
    for (ssize_t n = 0; (n = read(STDIN_FILENO, block, sizeof block)) > 0;)
        text.append(block, static_cast<std::size_t>(n));
    print_value("stdin", text);
}

// Signals, capabilities and users, as the kernel shows them.
void print_status() {
    const std::set<std::string> asked{
        "SigPnd",  "ShdPnd",      "SigBlk", "SigIgn",           "SigCgt",
        "CapInh",  "CapPrm",      "CapEff", "CapBnd",           "CapAmb",
        "Uid",     "Gid",         "Groups", "NoNewPrivs",       "Seccomp",
        "Threads", "THP_enabled", "Umask",  "Mems_allowed_list"};
    std::istringstream lines(content("/proc/self/status"));
    for (std::string line; std::getline(lines, line);) {
        const auto colon = line.find(':');
        if (colon != std::string::npos && asked.contains(line.substr(0, colon)))
            print_value(line.substr(0, colon), std::string_view(line).substr(colon + 2));
    }
}

void print_attributes() {
    print_result("secure bits", prctl(PR_GET_SECUREBITS));
    print_result("no new privileges", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    print_result("dumpable", prctl(PR_GET_DUMPABLE));
    print_result("keep capabilities", prctl(PR_GET_KEEPCAPS));
    print_result("huge pages off", prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
    print_result("machine checks", prctl(PR_MCE_KILL_GET, 0, 0, 0, 0));
    int number = 0;
    prctl(PR_GET_CHILD_SUBREAPER, &number);
    print_value("subreaper", number);
    prctl(PR_GET_PDEATHSIG, &number);
    print_value("parent-death signal", number);
    print_result("personality", personality(0xFFFFFFFF));
    print_value("core filter", content("/proc/self/coredump_filter"));
    print_value("security label", content("/proc/self/attr/current"));
    print_value("login user", content("/proc/self/loginuid"));
    print_value("audit session", content("/proc/self/sessionid"));
    for (const auto& [name, id] : {std::pair{"thread", KEY_SPEC_THREAD_KEYRING},
                                   {"process", KEY_SPEC_PROCESS_KEYRING},
                                   {"session", KEY_SPEC_SESSION_KEYRING},
                                   {"user", KEY_SPEC_USER_KEYRING}}) {
        char description[256] = "";
        const long length =
            syscall(SYS_keyctl, KEYCTL_DESCRIBE, id, description, sizeof description);
        if (length < 0)
            print_result(std::string("keyring, ") + name, length);
        else
            print_value(std::string("keyring, ") + name, description);
    }
}

// Pids as the relations that they stand for: the numbers differ in each run.
void print_family(pid_t launcher) {
    const auto relation = [launcher](pid_t pid) -> std::string {
        if (pid == getpid()) return "its own";
        if (pid == launcher) return "the launcher's";
        if (pid == getppid()) return "its parent's";
        return std::to_string(pid);
    };
    print_value("ppid", getppid() == launcher ? "the launcher" : "another");
    print_value("pgid", relation(getpgrp()));
    print_value("session", relation(getsid(0)));
    const int terminal = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    print_value("terminal", terminal < 0 ? "none" : "there");
    print_value("in the foreground",
                terminal >= 0 && tcgetpgrp(terminal) == getpgrp() ? "yes" : "no");
}

}  // namespace

int main(int argc, char** argv) {
    const char* name = getenv("PROBE_LAUNCHER");
    const std::string launcher = name == nullptr ? "0" : name;
    print_descriptors();
    print_command_line(argc, argv);
    print_environment();
    print_place(launcher);
    print_scheduling();
    print_limits();
    print_status();
    print_attributes();
    print_family(static_cast<pid_t>(std::stol(launcher)));
    print_stdin();
    return 42;
}
