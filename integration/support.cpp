#include "integration/support.hpp"

#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <poll.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <system_error>
#include <thread>

namespace harness {
namespace {

[[noreturn]] void fail_errno(const std::string& what) {
    throw std::system_error(errno, std::generic_category(), what);
}

long checked(long result, const std::string& what) {
    if (result < 0) fail_errno(what);
    return result;
}

/// Set by a time-out: Catch2 may swallow its FAIL inside a CHECK, and the rest need not hang as
/// well.
bool gave_up = false;

/// Every end we were told of, until its Process asks: reaping all keeps strays from staying
/// zombies.
std::map<pid_t, int>& ends() {
    static std::map<pid_t, int> map;
    return map;
}

void reap_all() {
    int status = 0;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) ends()[pid] = status;
}

std::vector<pid_t> pids() {
    std::vector<pid_t> found;
    for (const auto& entry : fs::directory_iterator("/proc")) {
        const auto name = entry.path().filename().string();
        if (std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isdigit(c); }))
            found.push_back(static_cast<pid_t>(std::stol(name)));
    }
    return found;
}

std::vector<pid_t> living_descendants() {
    std::multimap<pid_t, pid_t> children;
    for (pid_t pid : pids()) children.emplace(process_stat(pid).parent, pid);
    std::vector<pid_t> found, todo{getpid()};
    while (!todo.empty()) {
        const auto [begin, end] = children.equal_range(todo.back());
        todo.pop_back();
        for (auto child = begin; child != end; ++child) {
            todo.push_back(child->second);
            if (alive(child->second)) found.push_back(child->second);
        }
    }
    return found;
}

std::string command_of(pid_t pid) {
    auto text = slurp("/proc/" + std::to_string(pid) + "/cmdline");
    std::replace(text.begin(), text.end(), '\0', ' ');
    return std::to_string(pid) + " " + text;
}

void kill_everything() {
    wait_until([] {
        const auto living = living_descendants();
        for (pid_t pid : living) ::kill(pid, SIGKILL);
        return living.empty();
    });
}

Fd memory_file(const char* name, std::string_view content = {}) {
    Fd fd(static_cast<int>(checked(memfd_create(name, MFD_CLOEXEC), name)));
    checked(write(fd.get(), content.data(), content.size()), name);
    lseek(fd.get(), 0, SEEK_SET);
    return fd;
}

std::string content_of(int fd) {
    std::string text;
    char block[16384];
    // pread: the offset is shared with the writer.
    for (ssize_t n; (n = pread(fd, block, sizeof block, static_cast<off_t>(text.size()))) > 0;)
        text.append(block, static_cast<std::size_t>(n));
    return text;
}

[[noreturn]] void become(const Words& argv, const Options& options, const fs::path& cwd,
                         std::map<int, int> fds, int report) {
    if (options.own_session) setsid();
    for (int number = 1; number < NSIG; ++number) signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    // 1, not 0: a core_pattern that is a pipe ignores 0, and the wait status would say "dumped".
    rlimit core{};
    getrlimit(RLIMIT_CORE, &core);
    core.rlim_cur = std::min<rlim_t>(1, core.rlim_max);
    setrlimit(RLIMIT_CORE, &core);

    // First out of each other's way, then to their places, then all else closes at exec.
    constexpr int aside = 300;
    for (auto& [number, ours] : fds)
        ours = static_cast<int>(checked(fcntl(ours, F_DUPFD_CLOEXEC, aside), "dup"));
    report = static_cast<int>(checked(fcntl(report, F_DUPFD_CLOEXEC, aside), "dup"));
    close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
    for (const auto& [number, ours] : fds) dup2(ours, number);

    for (const auto& [name, value] : options.env) setenv(name.c_str(), value.c_str(), 1);
    std::vector<char*> words;
    for (const auto& word : argv) words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    if (chdir(cwd.c_str()) == 0) {
        if (options.before_exec) options.before_exec();
        execvp(words[0], words.data());
    }
    const int error = errno;
    [[maybe_unused]] auto written = write(report, &error, sizeof error);
    _exit(99);
}

}  // namespace

// ---- time

Milliseconds patience(Milliseconds time) {
#ifdef JOBSHIM_SANITIZE
    constexpr double built_in = 5;
#else
    constexpr double built_in = 1;
#endif
    const char* wish = std::getenv("JOBSHIM_TEST_SLOW");
    const double factor = wish ? std::strtod(wish, nullptr) : built_in;
    return Milliseconds(static_cast<long>(static_cast<double>(time.count()) * factor));
}

bool wait_until(const std::function<bool()>& holds, Milliseconds limit) {
    for (const auto end = Clock::now() + patience(limit);;) {
        reap_all();
        if (holds()) return true;
        if (Clock::now() > end) return false;
        std::this_thread::sleep_for(3ms);
    }
}

// ---- files

std::string slurp(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();  // unlike an iterator it does not throw when a process's file goes away
    return text.str();
}

void put(const fs::path& file, std::string_view content) {
    std::ofstream out(file, std::ios::binary | std::ios::trunc);
    out.write(content.data(), static_cast<std::streamsize>(content.size()));
    out.close();
    if (!out) throw std::runtime_error("cannot write " + file.string());
}

Json read_json(const fs::path& file) {
    const auto text = slurp(file);
    INFO(file << " holds: " << text.substr(0, 2000));
    return Json::parse(text);
}

Json at(const Json& value, const std::string& pointer) {
    const Json::json_pointer path(pointer);
    return value.contains(path) ? value.at(path) : Json("<missing>");
}

Words lines_of(const std::string& text) {
    std::istringstream in(text);
    Words lines;
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
}

bool contains(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

std::string in_glibc_words(std::string text) {
    static constexpr struct {
        std::string_view musl;
        int error;
    } words[] = {{"Out of memory", ENOMEM},
                 {"I/O error", EIO},
                 {"No file descriptors available", EMFILE},
                 {"Quota exceeded", EDQUOT}};
    for (const auto& [musl, error] : words)
        for (auto at = text.find(musl); at != std::string::npos; at = text.find(musl, at))
            text.replace(at, musl.size(), std::strerror(error));
    return text;
}

bool tells(const std::string& text, int error) {
    return contains(in_glibc_words(text), std::strerror(error));
}

Words names_in(const fs::path& folder, std::string_view part) {
    Words names;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(folder, ignored))
        if (auto name = entry.path().filename().string(); contains(name, part))
            names.push_back(name);
    std::sort(names.begin(), names.end());
    return names;
}

std::int64_t mtime_of(const fs::path& file) {
    struct stat info {};
    if (stat(file.c_str(), &info) != 0) return -1;
    return info.st_mtim.tv_sec * 1'000'000'000LL + info.st_mtim.tv_nsec;
}

fs::path fixture(const std::string& name) {
    return fs::absolute(fs::path(__FILE__).parent_path() / "fixtures" / name);
}

std::string base64(std::string_view bytes) {
    constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string text;
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        unsigned group = 0;
        for (std::size_t k = 0; k < 3; ++k)
            group =
                group << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0U);
        for (std::size_t k = 0; k < 4; ++k)
            text += i + k > bytes.size() ? '=' : digits[group >> (18 - 6 * k) & 63];
    }
    return text;
}

TempDir::TempDir()
    : path([] {
          auto name = (fs::temp_directory_path() / "jobshim-test-XXXXXX").string();
          if (!mkdtemp(name.data())) fail_errno(name);
          return fs::canonical(name);
      }()) {}

TempDir::~TempDir() {
    std::error_code ignored;
    // What a test has made unwritable is still ours to remove.
    for (fs::recursive_directory_iterator entry(path, ignored), end; entry != end;
         entry.increment(ignored))
        if (entry->is_directory(ignored) && !entry->is_symlink(ignored))
            fs::permissions(entry->path(), fs::perms::owner_all, fs::perm_options::add, ignored);
    fs::permissions(path, fs::perms::owner_all, fs::perm_options::add, ignored);
    fs::remove_all(path, ignored);
}

Fd& Fd::operator=(Fd&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
}

void Fd::close() {
    if (number_ >= 0) ::close(number_);
    number_ = -1;
}

Pipe::Pipe() {
    int ends[2];
    checked(pipe2(ends, O_CLOEXEC), "pipe");
    read = Fd(ends[0]);
    write = Fd(ends[1]);
    identity = fs::read_symlink("/proc/self/fd/" + std::to_string(ends[0])).string();
}

// ---- processes

ProcessStat process_stat(pid_t pid) {
    const auto text = slurp("/proc/" + std::to_string(pid) + "/stat");
    ProcessStat stat;
    // The name may hold anything, even ") R": look from the end.
    const auto name_end = text.rfind(')');
    if (name_end == std::string::npos) return stat;
    std::istringstream in(text.substr(name_end + 1));
    in >> stat.state >> stat.parent >> stat.group >> stat.session;
    return stat;
}

char process_state(pid_t pid) { return process_stat(pid).state; }

bool alive(pid_t pid) {
    const char state = process_state(pid);
    return state != 0 && state != 'Z' && state != 'X';
}

std::vector<pid_t> children_of(pid_t pid) {
    auto found = pids();
    std::erase_if(found, [&](pid_t child) { return process_stat(child).parent != pid; });
    return found;
}

std::map<int, std::string> descriptors_of(pid_t pid) {
    std::map<int, std::string> found;
    std::error_code ignored;
    for (const auto& entry :
         fs::directory_iterator("/proc/" + std::to_string(pid) + "/fd", ignored))
        found[std::stoi(entry.path().filename())] =
            fs::read_symlink(entry.path(), ignored).string();
    return found;
}

bool watches(pid_t watcher, pid_t watched) {
    const auto infos = "/proc/" + std::to_string(watcher) + "/fdinfo";
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(infos, ignored))
        if (contains(slurp(entry.path()), "\nPid:\t" + std::to_string(watched) + "\n")) return true;
    return false;
}

long voluntary_switches(pid_t pid) {
    long sum = 0;
    for (const auto& task : fs::directory_iterator("/proc/" + std::to_string(pid) + "/task"))
        for (const auto& line : lines_of(slurp(task.path() / "status")))
            if (line.starts_with("voluntary_ctxt_switches:")) sum += std::stol(line.substr(24));
    return sum;
}

std::string signal_name(int number) {
    if (const char* name = sigabbrev_np(number)) return std::string("SIG") + name;
    if (number < SIGRTMIN || number > SIGRTMAX) return "signal " + std::to_string(number);
    return number == SIGRTMIN ? "SIGRTMIN" : "SIGRTMIN+" + std::to_string(number - SIGRTMIN);
}

bool life_is_held(const fs::path& heartbeat) {
    const Fd fd(open(heartbeat.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_len = 1;
    return fd.get() >= 0 && fcntl(fd.get(), F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

bool in_path(const std::string& program) {
    std::istringstream folders(std::getenv("PATH") ? std::getenv("PATH") : "");
    for (std::string folder; std::getline(folders, folder, ':');)
        if (access((fs::path(folder) / program).c_str(), X_OK) == 0) return true;
    return false;
}

std::string Result::ended() const {
    return WIFSIGNALED(status) ? signal_name(WTERMSIG(status))
                               : "exit " + std::to_string(WEXITSTATUS(status));
}

int Result::code() const { return WIFEXITED(status) ? WEXITSTATUS(status) : -1; }

void Process::kill(int signal) const {
    // By pidfd: never somebody else's process, even if it has ended and was reaped.
    syscall(SYS_pidfd_send_signal, pidfd_.get(), signal, nullptr, 0);
}

bool Process::running() const { return !ends().contains(pid_) && alive(pid_); }

Result Process::wait(Milliseconds limit) {
    const auto end = Clock::now() + patience(limit);
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
            FAIL("still running after " << patience(limit).count() << " ms: " << Json(argv_).dump()
                                        << "\nstdout: " << out() << "\nstderr: " << err()
                                        << "\nalive:" << tree);
        }
        if (errno != EINTR) fail_errno("poll");
    }
    const auto wall = std::chrono::duration_cast<Milliseconds>(Clock::now() - begin_);
    if (!ends().contains(pid_)) {
        int status = 0;
        checked(waitpid(pid_, &status, 0), "waitpid");
        ends()[pid_] = status;
    }
    return {ends()[pid_], out(), err(), wall};
}

std::string Process::out() const { return content_of(out_.get()); }
std::string Process::err() const { return content_of(err_.get()); }

void must(long result, const char* what) {
    if (result >= 0) return;
    perror(what);
    _exit(99);
}

bool child_can(const std::function<void()>& attempt) {
    const auto pid = static_cast<pid_t>(checked(fork(), "fork"));
    if (pid == 0) {
        close(2);
        attempt();
        _exit(0);
    }
    int status = 0;
    checked(waitpid(pid, &status, 0), "waitpid");
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void own_mounts() {
    must(unshare(CLONE_NEWNS), "unshare");
    must(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "mount --make-rprivate");
}

void become_nobody() {
    constexpr uid_t nobody = 65534;
    must(setgroups(0, nullptr), "setgroups");
    must(setresgid(nobody, nobody, nobody), "setresgid");
    must(setresuid(nobody, nobody, nobody), "setresuid");
}

// ---- the sandbox

Sandbox::Sandbox() {
    checked(prctl(PR_SET_CHILD_SUBREAPER, 1), "PR_SET_CHILD_SUBREAPER");
    reap_all();
    ends().clear();
    gave_up = false;
    setenv("XDG_STATE_HOME", (dir / "state").c_str(), 1);
    // AddressSanitizer would take the worker's core dumps away; limits are inherited.
    setenv("ASAN_OPTIONS", "disable_coredump=0", 1);
    unsetenv("JOBSHIM_JOB_FILE");
    for (const char* name : {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}) unsetenv(name);
}

Sandbox::~Sandbox() noexcept(false) {
    // A process that has just been told to end may take its moment; one that stays is a finding.
    if (wait_until([] { return living_descendants().empty(); },
                   std::uncaught_exceptions() ? 0s : 2s))
        return;
    std::string left;
    for (pid_t pid : living_descendants()) left += "\n  " + command_of(pid);
    kill_everything();
    if (std::uncaught_exceptions() == 0) FAIL_CHECK("processes outlived the test:" << left);
}

Process Sandbox::spawn(const Words& argv, const Options& options) {
    if (gave_up) FAIL("not started, for one before it hung: " << Json(argv).dump());
    Process process;
    process.argv_ = argv;
    process.out_ = memory_file("stdout");
    process.err_ = memory_file("stderr");
    const Fd in = options.input.empty() ? Fd(open("/dev/null", O_RDONLY | O_CLOEXEC))
                                        : memory_file("stdin", options.input);
    std::map<int, int> fds{{0, in.get()}, {1, process.out_.get()}, {2, process.err_.get()}};
    for (const auto& [number, ours] : options.fds) fds[number] = ours;

    Pipe report;
    std::cout.flush();
    process.begin_ = Clock::now();
    process.pid_ = static_cast<pid_t>(checked(fork(), "fork"));
    if (process.pid_ == 0)
        become(argv, options, options.cwd.empty() ? dir : options.cwd, fds, report.write.get());
    ends().erase(process.pid_);
    process.pidfd_ =
        Fd(static_cast<int>(checked(syscall(SYS_pidfd_open, process.pid_, 0), "pidfd_open")));
    report.write.close();
    if (int error = 0; read(report.read.get(), &error, sizeof error) > 0)
        FAIL("cannot execute " << argv.at(0) << ": " << std::strerror(error));
    return process;
}

Result Sandbox::run(const Words& argv, const Options& options) {
    return spawn(argv, options).wait(options.limit);
}

Process Sandbox::start_shim(const Words& arguments, const Options& options) {
    Words argv{jobshim};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    return spawn(argv, options);
}

Result Sandbox::run_shim(const Words& arguments, const Options& options) {
    return start_shim(arguments, options).wait(options.limit);
}

Process Sandbox::start_job(const fs::path& file, const std::string& script, const Words& extra,
                           const Options& options) {
    Words arguments{"-j", file};
    arguments.insert(arguments.end(), extra.begin(), extra.end());
    arguments.insert(arguments.end(), {"--", "sh", "-c", script});
    return start_shim(arguments, options);
}

Result Sandbox::run_job(const fs::path& file, const std::string& script, const Words& extra,
                        const Options& options) {
    return start_job(file, script, extra, options).wait(options.limit);
}

Result Sandbox::ctl(const Words& arguments, const Options& options) {
    Words argv{jobctl};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    return run(argv, options);
}

Json Sandbox::ctl_json(const Words& arguments, const Options& options) {
    auto with_json = arguments;
    with_json.insert(with_json.begin() + 1, "--json");
    const auto result = ctl(with_json, options);
    INFO("jobctl " << Json(with_json).dump() << " printed: " << result.out << result.err);
    const auto parsed = Json::parse(result.out, nullptr, false);
    REQUIRE_FALSE(parsed.is_discarded());
    return parsed;
}

fs::path Sandbox::public_copy(const std::string& program) {
    fs::permissions(dir, fs::perms(0755));
    const auto copy = dir / "bin" / fs::path(program).filename();
    fs::create_directories(copy.parent_path());
    fs::copy_file(program, copy, fs::copy_options::overwrite_existing);
    fs::permissions(copy.parent_path(), fs::perms(0755));
    fs::permissions(copy, fs::perms(0755));
    return copy;
}

// ---- what came of a fault

std::string word(Told told) {
    switch (told) {
        case Told::true_end:
            return "true end";
        case Told::lost:
            return "lost";
        case Told::alive:
            return "alive";
        case Told::refused:
            return "refused";
        case Told::unknown:
            return "unknown";
        case Told::nothing:
            return "no job";
        case Told::lie:
            return "LIE";
    }
    return "";
}

Matrix::Matrix(std::string suite) : suite_(std::move(suite)) {}

Matrix::~Matrix() {
    const char* wish = std::getenv("JOBSHIM_MATRIX_DIR");
    const fs::path folder = wish != nullptr ? wish : JOBSHIM_MATRIX_DIR;
    std::error_code ignored;
    fs::create_directories(folder, ignored);
    std::ofstream out(folder / (suite_ + ".tsv"), std::ios::trunc);
    for (const auto& [fault, outcomes] : counts_)
        for (const auto& [told, count] : outcomes)
            out << suite_ << '\t' << fault << '\t' << word(told) << '\t' << count << '\n';
}

void Matrix::count(const std::string& fault, Told told) { ++counts_[fault][told]; }

int Matrix::total() const {
    int sum = 0;
    for (const auto& [fault, outcomes] : counts_)
        for (const auto& [told, count] : outcomes) sum += count;
    return sum;
}

int Matrix::lies() const {
    int sum = 0;
    for (const auto& [fault, outcomes] : counts_)
        for (const auto& [told, count] : outcomes)
            if (told == Told::lie) sum += count;
    return sum;
}

// ---- jobs

fs::path heartbeat_of(const fs::path& job) {
    return job.extension() == ".json" ? fs::path(job).replace_extension(".heartbeat")
                                      : fs::path(job.string() + ".heartbeat");
}

Json exit_of(const fs::path& job) { return at(read_json(job), "/jobshim/exit"); }

pid_t worker_of(const fs::path& job) {
    Json pid;
    const bool runs = wait_until([&] {
        const auto record = Json::parse(slurp(job), nullptr, false);
        if (record.is_discarded() || at(record, "/phase") != "running") return false;
        pid = at(record, "/jobshim/worker/pid");
        return true;
    });
    INFO(job << " holds: " << slurp(job));
    REQUIRE(runs);
    REQUIRE(pid.is_number_integer());
    return pid.get<pid_t>();
}

void wait_until_parked(const Process& waiter) {
    REQUIRE(wait_until([&] {
        if (process_state(waiter.pid()) != 'S') return false;
        for (const auto& [number, link] : descriptors_of(waiter.pid()))
            if (contains(link, "pidfd") || contains(link, "inotify")) return true;
        return false;
    }));
}

pid_t executed_worker_of(const fs::path& job) {
    const auto worker = worker_of(job);
    const auto words_of = [](pid_t pid) {
        return slurp("/proc/" + std::to_string(pid) + "/cmdline");
    };
    const auto shim = at(read_json(job), "/jobshim/shim/pid").get<pid_t>();
    wait_until([&] { return words_of(worker) != words_of(shim); });
    return worker;
}

void kill_shim(Process& shim, const fs::path& job) {
    executed_worker_of(job);
    shim.kill(SIGKILL);
    shim.wait();
}

}  // namespace harness
