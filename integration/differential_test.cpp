// The same worker run bare and through jobshim by the same launcher: what it can see of itself may
// differ in four things only, and those are named here.

#include <fcntl.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <set>

#include "integration/support.hpp"

using namespace harness;

namespace {

using Seen = std::map<std::string, std::string>;

/// JOBSHIM_JOB_FILE is set for the worker; the shim is its parent; the worker leads its own process
/// group if there is no terminal; and the parent-death signal ends it with its shim.
const std::set<std::string> allowed_differences{"JOBSHIM_JOB_FILE", "ppid", "pgid",
                                                "parent-death signal"};

Seen seen_in(const std::string& out) {
    Seen seen;
    for (const auto& line : lines_of(out)) {
        const auto tab = line.find('\t');
        if (tab == std::string::npos) continue;
        auto value = line.substr(tab + 1);
        // What a launcher creates for each child has a different number each time.
        if (value.starts_with("socket:[")) value = "a socket";
        seen[line.substr(0, tab)] = value;
    }
    return seen;
}

std::vector<std::string> differing(const Seen& one, const Seen& other) {
    std::set<std::string> found;
    for (const auto& [from, to] : {std::pair{&one, &other}, {&other, &one}})
        for (const auto& [key, value] : *from)
            if (const auto at = to->find(key); at == to->end() || at->second != value)
                found.insert(key);
    return {found.begin(), found.end()};
}

void write_proc(const char* name, std::string_view text) {
    std::ofstream(std::string("/proc/self/") + name) << text;
}

void lower(int what, rlim_t value) {
    rlimit both{};
    getrlimit(static_cast<__rlimit_resource>(what), &both);
    both.rlim_cur = std::min(value, both.rlim_max);
    both.rlim_max = std::min(value + 1, both.rlim_max);
    setrlimit(static_cast<__rlimit_resource>(what), &both);
}

/// Everything unusual at once. What needs missing privileges stays as it is, in both runs.
void unusual_environment() {
    umask(0137);
    setpriority(PRIO_PROCESS, 0, 3);
    const sched_param none{};
    sched_setscheduler(0, SCHED_BATCH, &none);
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    sched_setaffinity(0, sizeof one, &one);
    // As in linux/ioprio.h, which in some releases is not C++.
    constexpr int who_process = 1, class_idle = 3, class_shift = 13;
    syscall(SYS_ioprio_set, who_process, 0, class_idle << class_shift | 7);
    lower(RLIMIT_CORE, 1);
    lower(RLIMIT_CPU, 3600);
    lower(RLIMIT_FSIZE, 1 << 30);
    lower(RLIMIT_LOCKS, 77);
    lower(RLIMIT_MEMLOCK, 65536);
    lower(RLIMIT_MSGQUEUE, 81920);
    lower(RLIMIT_NICE, 5);
    lower(RLIMIT_NOFILE, 333);
    lower(RLIMIT_NPROC, 5000);
    lower(RLIMIT_RTPRIO, 6);
    lower(RLIMIT_RTTIME, 1 << 20);
    lower(RLIMIT_SIGPENDING, 999);
    lower(RLIMIT_STACK, 6 << 20);
    write_proc("oom_score_adj", "321");
    write_proc("coredump_filter", "0x13");
    write_proc("timerslack_ns", "123456");
    prctl(PR_SET_TIMERSLACK, 123456);
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
    personality(ADDR_NO_RANDOMIZE);
    syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, "jobshim-test");
    unshare(CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP);
    sigset_t some;
    sigemptyset(&some);
    for (const int number : {SIGUSR2, SIGTERM, SIGCHLD, SIGINT, SIGRTMIN + 2})
        sigaddset(&some, number);
    sigprocmask(SIG_BLOCK, &some, nullptr);
    for (const int number : {SIGHUP, SIGPIPE, SIGCHLD, SIGUSR1, SIGTSTP, SIGRTMIN + 5})
        signal(number, SIG_IGN);
    // The bounding set, the secure bits, and what an ambient capability needs.
    prctl(PR_CAPBSET_DROP, 25 /* CAP_SYS_TIME */);
    prctl(PR_SET_SECUREBITS, 4 /* SECBIT_NO_SETUID_FIXUP */);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    static char odd[] = "ODD=\xff\xfe\n\t=", empty[] = "EMPTY=", twice[] = "TWICE=1",
                again[] = "TWICE=2", no_sign[] = "NOSIGN", no_name[] = "=noname";
    static std::vector<char*> all;
    for (char** at = environ; *at != nullptr; ++at) all.push_back(*at);
    for (char* more : {odd, empty, twice, again, no_sign, no_name}) all.push_back(more);
    all.push_back(nullptr);
    environ = all.data();
}

/// As systemd puts it in LISTEN_PIDFDID.
std::string own_pidfd_id() {
    const Fd own(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
    struct stat info {};
    must(fstat(own.get(), &info), "fstat");
    return std::to_string(info.st_ino);
}

/// A controlling terminal of its own for the launcher, which leads the session.
void on_terminal(const std::string& name) {
    const int terminal = open(name.c_str(), O_RDWR | O_CLOEXEC);
    must(ioctl(terminal, TIOCSCTTY, 0), "TIOCSCTTY");
}

/// Puts a launcher that does nothing of its own between the test and the worker.
void fork_and_wait(bool odd) {
    setenv("PROBE_LAUNCHER", std::to_string(getpid()).c_str(), 1);
    // SIGCHLD may be ignored: then the kernel discards the status, perhaps before we can wait.
    struct sigaction standard {};
    struct sigaction given {};
    standard.sa_handler = SIG_DFL;
    sigaction(SIGCHLD, &standard, &given);
    const pid_t child = fork();
    must(child, "fork");
    if (child == 0) {
        sigaction(SIGCHLD, &given, nullptr);
        if (!odd) return;
        // What a child is given but its children do not inherit, or what cannot be known in
        // advance.
        must(prctl(PR_SET_CHILD_SUBREAPER, 1), "subreaper");
        for (const char* name : {"LISTEN_PID", "WATCHDOG_PID"})
            setenv(name, std::to_string(getpid()).c_str(), 1);
        setenv("LISTEN_FDS", "2", 1);
        setenv("LISTEN_PIDFDID", own_pidfd_id().c_str(), 1);
        return;
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 99);
}

class Differential : public Sandbox {
public:
    /// What the probe sees when `launcher` starts it with `prefix` in front.
    Seen look(const Words& launcher, const Words& prefix, const std::string& setting) {
        // The same files in the same places for each run.
        const auto file = dir / "notes";
        put(file, "0123456789");
        const Fd notes(open(file.c_str(), O_RDWR | O_APPEND | O_CLOEXEC));
        lseek(notes.get(), 7, SEEK_SET);
        const Fd directory(open(dir.c_str(), O_PATH | O_CLOEXEC));
        fcntl(pipe_.write.get(), F_SETFL, O_NONBLOCK);
        const Fd master(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
        must(grantpt(master.get()), "grantpt");
        must(unlockpt(master.get()), "unlockpt");
        const std::string terminal = ptsname(master.get());

        Words argv = launcher;
        argv.insert(argv.end(), prefix.begin(), prefix.end());
        const Words probe{PROBE_BIN,
                          "",
                          "a b",
                          "two\nlines",
                          "--",
                          "-j",
                          "--job",
                          "\xff\xfe",
                          "$x *",
                          "caf\u00e9",
                          std::string(100'000, 'x')};
        argv.insert(argv.end(), probe.begin(), probe.end());
        const auto odd_directory = dir / "a directory\nof two lines";
        fs::create_directories(odd_directory);
        Options options;
        options.cwd = odd_directory;
        options.input = "what the launcher pipes\n";
        options.fds = {{5, notes.get()}, {9, pipe_.write.get()}, {12, directory.get()}};
        options.before_exec = [&] {
            if (setting == "odd") unusual_environment();
            if (setting == "terminal") on_terminal(terminal);
            if (launcher.empty()) fork_and_wait(setting == "odd");
        };
        const auto result = run(argv, options);
        INFO(result.err);
        Seen seen = seen_in(result.out);
        seen["end"] = result.ended();
        return seen;
    }

private:
    Pipe pipe_;
};

}  // namespace

TEST_CASE_METHOD(Differential, "under any launcher the worker sees the same as without the shim",
                 "[libc][long]") {
    struct Row {
        const char* name;
        Words launcher;
    };
    const Row rows[] = {{"fork and exec", {}},
                        {"dash", {"dash", fixture("launch_probe.sh")}},
                        {"python3", {"python3", fixture("launch_probe.py")}},
                        {"node", {"node", fixture("launch_probe.mjs")}}};
    std::cout << "launcher       setting    values  odd ones  other than bare\n";
    for (const auto& [name, launcher] : rows) {
        if (!launcher.empty() && !in_path(launcher[0])) {
            std::cout << name << ": not in PATH, left out\n";
            continue;
        }
        Seen usual;
        for (const std::string setting : {"plain", "odd", "terminal"}) {
            CAPTURE(name, setting);
            const auto bare = look(launcher, {}, setting);
            const auto shimmed = look(launcher, {jobshim, "-j", job, "--"}, setting);
            const auto kept =
                look(launcher, {jobshim, "-j", job, "--on-shim-death", "keep", "--"}, setting);
            REQUIRE(bare.size() > 100);
            // Where SIGCHLD is ignored, Python gets no status and reports 0.
            CHECK(bare.at("end") ==
                  (launcher == rows[2].launcher && setting == "odd" ? "exit 0" : "exit 42"));
            CHECK(bare.at("ppid") == "the launcher");
            if (setting == "plain") usual = bare;
            Words named, unknown;
            for (const auto& key : differing(bare, shimmed)) {
                if (allowed_differences.contains(key)) {
                    named.push_back(key);
                    continue;
                }
                unknown.push_back(key + ": " + (bare.contains(key) ? bare.at(key) : "-") +
                                  " became " + (shimmed.contains(key) ? shimmed.at(key) : "-"));
            }
            INFO(Json(unknown).dump(1, ' ', false, Json::error_handler_t::replace));
            CHECK(unknown.empty());
            // In a shared process group the worker has the launcher's pgid; with keep it has
            // no parent-death signal.
            const bool shared = setting == "terminal";
            CHECK(std::count(named.begin(), named.end(), "pgid") == (shared ? 0 : 1));
            CHECK(differing(bare, kept) == (shared ? Words{"JOBSHIM_JOB_FILE", "ppid"}
                                                   : Words{"JOBSHIM_JOB_FILE", "pgid", "ppid"}));
            std::cout << std::left << std::setw(15) << name << std::setw(11) << setting
                      << std::setw(8) << bare.size() << std::setw(10)
                      << differing(usual, bare).size() << Json(named).dump() << "\n";
        }
    }
}
