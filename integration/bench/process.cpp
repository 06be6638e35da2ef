#include "integration/bench/process.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <system_error>
#include <thread>

namespace bench {

namespace {

std::vector<char*> pointers_to(const Words& words) {
    std::vector<char*> pointers;
    for (const std::string& word : words) pointers.push_back(const_cast<char*>(word.c_str()));
    pointers.push_back(nullptr);
    return pointers;
}

int null_device() {
    static const int fd = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    return fd;
}

pid_t spawn(char** argv) {
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    ::posix_spawnattr_init(&attributes);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
    ::posix_spawn_file_actions_init(&actions);
    for (int fd = 0; fd <= 2; ++fd) ::posix_spawn_file_actions_adddup2(&actions, null_device(), fd);
    pid_t pid = -1;
    errno = ::posix_spawnp(&pid, argv[0], &actions, &attributes, argv, environ);
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
    return errno == 0 ? pid : -1;
}

pid_t vfork_and_exec(char** argv) {
    const int null = null_device();
    const pid_t pid = ::vfork();
    if (pid == 0) {
        ::setsid();
        for (int fd = 0; fd <= 2; ++fd) ::dup2(null, fd);
        ::execvp(argv[0], argv);
        ::_exit(127);
    }
    return pid;
}

double in_us(const timeval& time) {
    return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_usec);
}

// Not calls: the rest of a call that another process's interrupted, a signal, an exit.
bool is_call(const std::string& line) {
    const std::size_t name = line.find_first_not_of(' ', line.find(' '));
    return name != std::string::npos && (std::isalpha(static_cast<unsigned char>(line[name])) != 0);
}

}  // namespace

void must(bool ok, const std::string& what) {
    if (!ok) throw std::system_error(errno, std::generic_category(), what);
}

pid_t start(const Words& argv, Start how) {
    std::vector<char*> pointers = pointers_to(argv);
    const pid_t pid =
        how == Start::vfork ? vfork_and_exec(pointers.data()) : spawn(pointers.data());
    must(pid > 0, "start " + argv[0]);
    return pid;
}

Used run(const Words& argv, Start how) {
    Used used;
    const auto begin = Clock::now();
    start(argv, how);
    for (;;) {
        int status = 0;
        rusage usage{};
        const pid_t pid = ::wait4(-1, &status, 0, &usage);
        if (pid < 0 && errno == EINTR) continue;
        if (pid < 0) break;
        used.all_ok = used.all_ok && status == 0;
        used.cpu_us += in_us(usage.ru_utime) + in_us(usage.ru_stime);
        used.faults += static_cast<double>(usage.ru_minflt + usage.ru_majflt);
    }
    used.wall_us = Microseconds(Clock::now() - begin).count();
    return used;
}

int wait_for(pid_t pid) {
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0) must(errno == EINTR, "waitpid");
    return status;
}

void wait_for_all() {
    while (::waitpid(-1, nullptr, 0) > 0 || errno == EINTR) {
    }
}

std::size_t count_system_calls(const Words& argv, const std::string& trace) {
    Words words{"strace", "-f", "-qq", "-o", trace};
    words.insert(words.end(), argv.begin(), argv.end());
    run(words);
    std::size_t count = 0;
    std::ifstream file(trace);
    for (std::string line; std::getline(file, line);) count += is_call(line) ? 1 : 0;
    ::unlink(trace.c_str());
    return count;
}

void become_subreaper() { must(::prctl(PR_SET_CHILD_SUBREAPER, 1) == 0, "become a subreaper"); }

bool in_path(const std::string& program) {
    if (program.find('/') != std::string::npos) return ::access(program.c_str(), X_OK) == 0;
    const char* set = std::getenv("PATH");
    const std::string search = set != nullptr ? set : "/bin:/usr/bin";
    for (std::size_t at = 0; at <= search.size();) {
        const std::size_t end = std::min(search.find(':', at), search.size());
        if (::access((search.substr(at, end - at) + "/" + program).c_str(), X_OK) == 0) return true;
        at = end + 1;
    }
    return false;
}

void wait_until(const std::function<bool()>& holds, const std::string& what) {
    const auto deadline = Clock::now() + std::chrono::seconds(30);
    while (!holds()) {
        if (Clock::now() > deadline) throw std::runtime_error("timed out waiting for " + what);
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
}

double quantile(std::vector<double> values, double share) {
    if (values.empty()) return 0;
    const auto at = static_cast<std::size_t>(share * static_cast<double>(values.size() - 1) + 0.5);
    std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(at),
                     values.end());
    return values[at];
}

}  // namespace bench
