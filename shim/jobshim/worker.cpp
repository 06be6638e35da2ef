#include "shim/jobshim/worker.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/version.hpp>
#include <cerrno>
#include <cstring>
#include <vector>
#if BOOST_VERSION >= 108600
#include <boost/process/v1/child.hpp>
#include <boost/process/v1/error.hpp>
#include <boost/process/v1/extend.hpp>
namespace bp = boost::process::v1;
#else
#include <boost/process/child.hpp>
#include <boost/process/error.hpp>
#include <boost/process/extend.hpp>
namespace bp = boost::process;
#endif

#include "common/atomic_file.hpp"
#include "common/heartbeat_lines.hpp"
#include "common/posix_error.hpp"
#include "common/process_identity.hpp"
#include "common/system_calls.hpp"
#include "common/units.hpp"
#include "shim/jobshim/process_attributes.hpp"
#include "shim/jobshim/retry_transient.hpp"

extern char** environ;

namespace jobshim {

namespace {

// What the child reports, in one packet each.
struct Report {
    enum class Stage : int {
        prepared,  // its line is in the heartbeat file
        failed_to_prepare,
        failed_to_execute,
    } stage;
    int error;
};

// Nothing if the other end was closed: by the exec, or by a death before it.
std::optional<Report> read_report(const UniqueFd& handshake) {
    Report report{};
    const ssize_t got =
        retry_transient([&] { return ::read(handshake.get(), &report, sizeof report); });
    return got == sizeof report ? std::optional(report) : std::nullopt;
}

struct Found {
    std::string path;
    int error = 0;
};

// Searches as execvp(3) does, but before the fork, so that a failure does not cost one.
Found find_executable(const std::string& name) {
    if (name.find('/') != std::string::npos) return {name, 0};
    if (name.empty()) return {"", ENOENT};
    const char* set = ::getenv("PATH");
    const std::string search = set != nullptr ? set : "/bin:/usr/bin";
    Found not_for_us{"", ENOENT};
    for (std::size_t at = 0; at <= search.size();) {
        const std::size_t end = std::min(search.find(':', at), search.size());
        const std::string directory = search.substr(at, end - at);
        at = end + 1;
        std::string candidate = (directory.empty() ? "" : directory + "/") + name;
        struct stat info {};
        if (::stat(candidate.c_str(), &info) == 0) {
            if (S_ISREG(info.st_mode) &&
                ::faccessat(AT_FDCWD, candidate.c_str(), X_OK, AT_EACCESS) == 0)
                return {candidate, 0};
            errno = EACCES;
        }
        switch (errno) {
            case ENOENT:
            case ENOTDIR:
            case ESTALE:
            case ENODEV:
            case ETIMEDOUT:
                continue;
            case EACCES:  // exists, but not for us; a later directory may have a better one
                if (not_for_us.path.empty()) not_for_us = {candidate, EACCES};
                continue;
        }
        return {candidate, errno};
    }
    return not_for_us;
}

std::vector<char*> environment_with(const std::string& assignment) {
    std::vector<char*> result;
    const std::string_view name = std::string_view(assignment).substr(0, assignment.find('=') + 1);
    bool there = assignment.empty();
    for (char** at = environ; *at != nullptr; ++at) {
        const bool same = !assignment.empty() && std::string_view(*at).starts_with(name);
        result.push_back(same ? const_cast<char*>(assignment.c_str()) : *at);
        there = there || same;
    }
    if (!there) result.push_back(const_cast<char*>(assignment.c_str()));
    result.push_back(nullptr);
    return result;
}

// Some variables are meant for one process and name it: sd_listen_fds(3), sd_watchdog_enabled(3).
// Those that name the shim are meant for the worker. Call in the worker's process.
void retarget_pid_variables(std::vector<char*>& environment, int shim_pid) {
    const auto hand_over = [&](const std::string& name, const std::string& from,
                               const std::string& to) {
        for (char*& entry : environment)
            if (entry != nullptr && entry == name + from) entry = ::strdup((name + to).c_str());
    };
    const std::string shim = std::to_string(shim_pid);
    const std::string own = std::to_string(::getpid());
    hand_over("LISTEN_PID=", shim, own);
    hand_over("WATCHDOG_PID=", shim, own);
    const auto lasting = [](int pid) {
        const auto number = process_inode_of(pid);
        return number ? std::to_string(*number) : "none";
    };
    if (::getenv("LISTEN_PIDFDID") != nullptr)
        hand_over("LISTEN_PIDFDID=", lasting(shim_pid), lasting(::getpid()));
}

WorkerIdentity identity_of(const ProcessStat& stat, Group group) {
    WorkerIdentity worker{stat.pid, std::nullopt, group, std::nullopt};
    if (stat.start_time != 0) {
        worker.start_time = stat.start_time;
        worker.session = stat.session;
    }
    return worker;
}

// Hooks into Boost's sequence, for what happens between fork and exec.
struct Hooks : bp::extend::handler {
    const WorkerPlan* plan = nullptr;
    const SignalGate* signals = nullptr;
    const std::string* path = nullptr;
    std::vector<char*>* environment = nullptr;
    const Guardian* guardian = nullptr;
    bool subreaper = false;
    int handshake_fd = -1;  // the child's end of the socket pair
    int shims_end = -1;     // the shim's end
    int shim_pid = 0;
    int* fork_error = nullptr;

    template <class Executor>
    void on_setup(Executor& executor) const {
        executor.exe = path->c_str();
        executor.cmd_line = plan->command;  // argv unchanged, argv[0] included
        executor.env = environment->data();
    }
    template <class Executor>
    void on_fork_error(Executor&, const std::error_code& error) const {
        *fork_error = error.value();
    }
    template <class Executor>
    void on_exec_setup(Executor&) const {
        // The shim has no threads, so the child may do here whatever the shim may. If this process
        // kept the shim's end open, it would never notice that the shim died.
        ::close(shims_end);
        retarget_pid_variables(*environment, shim_pid);
        if (subreaper && !become_subreaper()) give_up(Report::Stage::failed_to_prepare, errno);
        if (plan->group == Group::own && ::setpgid(0, 0) != 0)
            give_up(Report::Stage::failed_to_prepare, errno);
        if (plan->kill_on_shim_death && !guardian->watch_this_process())
            give_up(Report::Stage::failed_to_prepare, errno);
        if (plan->stdin_fd >= 0 && ::dup2(plan->stdin_fd, STDIN_FILENO) < 0)
            give_up(Report::Stage::failed_to_prepare, errno);
        if (plan->output_fd >= 0 && (::dup2(plan->output_fd, STDOUT_FILENO) < 0 ||
                                     ::dup2(plan->output_fd, STDERR_FILENO) < 0))
            give_up(Report::Stage::failed_to_prepare, errno);
        if (plan->error_fd >= 0 && ::dup2(plan->error_fd, STDERR_FILENO) < 0)
            give_up(Report::Stage::failed_to_prepare, errno);
        write_own_line();
        // The shim may have died before the line was written. A reader that found it dead, and no
        // worker, must be right: so then the worker is not executed, whatever --on-shim-death says.
        if (::getppid() != shim_pid) end_with_shim();
        report({Report::Stage::prepared, 0});
        // Wait until the shim has recorded that the worker runs, and has not called it off.
        char go = 0;
        if (retry_transient([&] { return ::read(handshake_fd, &go, 1); }) != 1) end_with_shim();
        signals->restore();
    }
    template <class Executor>
    void on_exec_error(Executor&, const std::error_code& error) const {
        // As execvp(3) does: a text file without an interpreter line goes to the shell.
        if (error.value() == ENOEXEC && head_of(*path, 256).find('\0') == std::string::npos) {
            std::vector<char*> words{const_cast<char*>("/bin/sh"),
                                     const_cast<char*>(path->c_str())};
            for (char** argument = plan->command + 1; *argument != nullptr; ++argument)
                words.push_back(*argument);
            words.push_back(nullptr);
            ::execve("/bin/sh", words.data(), environment->data());
        }
        give_up(Report::Stage::failed_to_execute, error.value());
    }

private:
    void write_own_line() const {
        if (plan->heartbeat_fd < 0) return;
        const std::string line =
            heartbeat_worker_line(identity_of(own_process_stat(), plan->group));
        try {
            write_all(plan->heartbeat_fd, line, "");
        } catch (const std::system_error& error) {
            give_up(Report::Stage::failed_to_prepare, error.code().value());
        }
    }
    // The shim died before giving the word. Only this process knows that COMMAND was not executed;
    // a reader that watches it end would take its exit status for the worker's.
    [[noreturn]] void end_with_shim() const {
        if (plan->heartbeat_fd >= 0) try {
                write_all(plan->heartbeat_fd,
                          heartbeat_last_line(judge_lost(ExitReason::shim_lost, false,
                                                         {"The worker's process ended with its "
                                                          "shim, before COMMAND was executed."})),
                          "");
            } catch (const std::system_error&) {
                ::_exit(125);
            }
        ::_exit(125);
    }
    // If nobody is left to read it, nobody needs it.
    void report(Report report) const {
        retry_transient([&] { return ::write(handshake_fd, &report, sizeof report); });
    }
    [[noreturn]] void give_up(Report::Stage stage, int error) const {
        report({stage, error});
        ::_exit(127);
    }
};

}  // namespace

std::optional<StartFailure> StartedWorker::execute(std::chrono::milliseconds patience) {
    // If the child is already dead, nobody reads this; the wait status will tell.
    retry_transient([&] { return ::write(handshake.get(), "x", 1); });
    pollfd answer{handshake.get(), POLLIN, 0};
    if (retry_transient([&] { return ::poll(&answer, 1, static_cast<int>(patience.count())); }) ==
        0)
        return std::nullopt;
    const auto report = read_report(handshake);
    handshake.reset();
    if (!report) return std::nullopt;  // if the child died, the wait status will tell
    ::waitpid(identity.pid, nullptr, 0);
    return explain_start_failure(name, path, report->error);
}

std::optional<StartFailure> StartedWorker::late_failure() const {
    if (!handshake) return std::nullopt;
    const auto report = read_report(handshake);
    if (!report) return std::nullopt;
    return explain_start_failure(name, path, report->error);
}

std::vector<int> StartedWorker::descriptors() const {
    std::vector<int> open;
    for (const int fd : {handshake.get(), guardian.descriptor()})
        if (fd >= 0) open.push_back(fd);
    return open;
}

void StartedWorker::call_off() {
    ::kill(identity.pid, SIGKILL);
    ::waitpid(identity.pid, nullptr, 0);
    handshake.reset();
}

Start start_worker(const WorkerPlan& plan, const SignalGate& signals) {
    StartedWorker worker;
    worker.name = plan.command[0];
    const Found found = find_executable(worker.name);
    worker.path = found.path;
    if (found.error != 0)
        return {std::nullopt, explain_start_failure(worker.name, worker.path, found.error)};

    auto [shims_end, childs_end] = make_socket_pair();
    if (!shims_end)
        return {std::nullopt, StartFailure{errno, 125, "socketpair: " + errno_text(errno)}};
    worker.handshake = std::move(shims_end);
    if (plan.kill_on_shim_death && !worker.guardian.start())
        return {std::nullopt,
                StartFailure{errno, 125, "the worker's guardian: " + errno_text(errno)}};

    const std::string assignment = plan.job_file.empty() ? "" : "JOBSHIM_JOB_FILE=" + plan.job_file;
    std::vector<char*> environment = environment_with(assignment);
    int fork_error = 0;
    Hooks hooks;
    hooks.plan = &plan;
    hooks.signals = &signals;
    hooks.path = &worker.path;
    hooks.environment = &environment;
    hooks.guardian = &worker.guardian;
    hooks.subreaper = give_up_subreaping();
    hooks.handshake_fd = childs_end.get();
    hooks.shims_end = worker.handshake.get();
    hooks.shim_pid = ::getpid();
    hooks.fork_error = &fork_error;
    // ignore_error: then Boost does not wait for the exec, and the shim goes on recording
    // meanwhile.
    bp::child child(bp::ignore_error, hooks);
    if (fork_error != 0) return {std::nullopt, explain_fork_failure(fork_error)};
    const int pid = child.id();
    child.detach();                // else Boost's destructor would kill it
    if (plan.group == Group::own)  // the child does the same; whichever is first
        (void)::setpgid(pid, pid);
    // Its pid cannot be reused before it is reaped, which is up to the shim.
    ProcessStat stat = read_process_stat(pid).value_or(ProcessStat{});
    stat.pid = pid;
    worker.identity = identity_of(stat, plan.group);

    // The heartbeat file names the worker before the job file says that it runs.
    childs_end.reset();
    const auto prepared = read_report(worker.handshake);
    if (prepared && prepared->stage == Report::Stage::failed_to_prepare) {
        ::waitpid(pid, nullptr, 0);
        return {std::nullopt, StartFailure{prepared->error, 125,
                                           "the worker's process could not be prepared: " +
                                               errno_text(prepared->error)}};
    }
    return {std::move(worker), std::nullopt};
}

}  // namespace jobshim
