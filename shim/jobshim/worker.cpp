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
#include "common/send_signal.hpp"
#include "common/system_calls.hpp"
#include "common/units.hpp"
#include "shim/jobshim/command_search.hpp"
#include "shim/jobshim/exit_statuses.hpp"
#include "shim/jobshim/process_attributes.hpp"
#include "shim/jobshim/retry_transient.hpp"
#include "shim/jobshim/worker_environment.hpp"

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
    int attempt;  // to execute: which path that was, from 0 on
};

// Nothing if the other end was closed: by the exec, or by a death before it.
std::optional<Report> read_report(const UniqueFd& handshake) {
    Report report{};
    const ssize_t got =
        retry_transient([&] { return ::read(handshake.get(), &report, sizeof report); });
    return got == sizeof report ? std::optional(report) : std::nullopt;
}

// Likewise, for the report of a failure; the first report may still be there.
std::optional<Report> read_failure(const UniqueFd& handshake) {
    auto report = read_report(handshake);
    if (report && report->stage == Report::Stage::prepared) report = read_report(handshake);
    return report;
}

StartFailure explain(const std::string& name, const Report& failure) {
    CommandSearch search(name);
    std::string path = search.next();
    for (int i = 0; i < failure.attempt; ++i) path = search.next();
    return explain_start_failure(name, path, failure.error);
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
    // The path to execute, and where to look for others.
    const std::string* path = nullptr;
    CommandSearch* search = nullptr;
    WorkerEnvironment* environment = nullptr;
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
        environment->retarget_pids(shim_pid);
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
        report({Report::Stage::prepared, 0, 0});
        // Wait until the shim has recorded that the worker runs, and has not called it off.
        char go = 0;
        if (retry_transient([&] { return ::read(handshake_fd, &go, 1); }) != 1) end_with_shim();
        signals->restore();
    }
    template <class Executor>
    void on_exec_error(Executor&, const std::error_code& error) const {
        Report failure{Report::Stage::failed_to_execute, error.value(), 0};
        execute_as_shell_script(*path, failure.error);
        // As execvp(3) does: what is here but not for us may be elsewhere, too.
        for (int attempt = 1; may_be_elsewhere(failure.error); ++attempt) {
            const std::string next = search->next();
            if (next.empty()) break;
            ::execve(next.c_str(), plan->command, environment->data());
            const int next_error = errno;
            execute_as_shell_script(next, next_error);
            // The first that is not for us says most; else the first of all.
            if (next_error == EACCES ? failure.error != EACCES : !may_be_elsewhere(next_error))
                failure = {Report::Stage::failed_to_execute, next_error, attempt};
        }
        give_up(failure);
    }

private:
    // A text file without an interpreter line goes to the shell.
    void execute_as_shell_script(const std::string& file, int error) const {
        if (error != ENOEXEC || head_of(file, 256).find('\0') != std::string::npos) return;
        std::vector<char*> words{const_cast<char*>("/bin/sh"), const_cast<char*>(file.c_str())};
        for (char** argument = plan->command + 1; *argument != nullptr; ++argument)
            words.push_back(*argument);
        words.push_back(nullptr);
        ::execve("/bin/sh", words.data(), environment->data());
    }
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
                ::_exit(own_failure);
            }
        ::_exit(own_failure);
    }
    // If nobody is left to read it, nobody needs it.
    void report(const Report& report) const {
        retry_transient([&] { return ::write(handshake_fd, &report, sizeof report); });
    }
    [[noreturn]] void give_up(Report::Stage stage, int error) const { give_up({stage, error, 0}); }
    [[noreturn]] void give_up(const Report& failure) const {
        report(failure);
        ::_exit(no_such_command);
    }
};

}  // namespace

std::optional<StartFailure> StartedWorker::execute(std::chrono::milliseconds patience) {
    // If the child is already dead, nobody reads this; the wait status will tell.
    if (retry_transient([&] { return ::write(handshake_.get(), "x", 1); }) != 1 && errno != EPIPE) {
        const int error = errno;
        call_off();
        return StartFailure{error, own_failure,
                            "the worker's process cannot be told to start: " + errno_text(error)};
    }
    pollfd answer{handshake_.get(), POLLIN, 0};
    if (retry_transient([&] { return ::poll(&answer, 1, static_cast<int>(patience.count())); }) ==
        0)
        return std::nullopt;
    const auto report = read_failure(handshake_);
    handshake_.reset();
    if (!report) return std::nullopt;  // if the child died, the wait status will tell
    reap();
    return explain(name_, *report);
}

std::optional<StartFailure> StartedWorker::late_failure() const {
    if (!handshake_) return std::nullopt;
    const auto report = read_failure(handshake_);
    if (!report) return std::nullopt;
    return explain(name_, *report);
}

void StartedWorker::call_off() {
    (void)signal_child(identity_.pid, SIGKILL);  // ours still: COMMAND was not executed
    reap();
    handshake_.reset();
}

void StartedWorker::reap() const {
    while (::waitpid(identity_.pid, nullptr, 0) < 0 && errno == EINTR) {
    }
}

std::vector<int> StartedWorker::descriptors() const {
    std::vector<int> open;
    for (const int fd : {handshake_.get(), guardian_.descriptor()})
        if (fd >= 0) open.push_back(fd);
    return open;
}

Start start_worker(const WorkerPlan& plan, const SignalGate& signals) {
    const auto failed = [](int error, const std::string& what) {
        return Start{std::nullopt, StartFailure{error, own_failure, what + errno_text(error)}};
    };
    StartedWorker worker;
    worker.name_ = plan.command[0];
    CommandSearch search(worker.name_);
    const std::string path = search.next();
    if (path.empty()) return {std::nullopt, explain_start_failure(worker.name_, "", ENOENT)};

    auto [shims_end, childs_end] = make_socket_pair();
    if (!shims_end) return failed(errno, "socketpair: ");
    worker.handshake_ = std::move(shims_end);
    if (plan.kill_on_shim_death && !worker.guardian_.start())
        return failed(errno, "the worker's guardian: ");

    WorkerEnvironment environment(plan.job_file);
    int fork_error = 0;
    Hooks hooks;
    hooks.plan = &plan;
    hooks.signals = &signals;
    hooks.path = &path;
    hooks.search = &search;
    hooks.environment = &environment;
    hooks.guardian = &worker.guardian_;
    hooks.subreaper = give_up_subreaping();
    hooks.handshake_fd = childs_end.get();
    hooks.shims_end = worker.handshake_.get();
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
    worker.identity_ = identity_of(stat, plan.group);

    // The heartbeat file names the worker before the job file says that it runs.
    childs_end.reset();
    const auto prepared = read_report(worker.handshake_);
    if (prepared && prepared->stage == Report::Stage::failed_to_prepare) {
        worker.reap();
        return failed(prepared->error, "the worker's process could not be prepared: ");
    }
    return {std::move(worker), std::nullopt};
}

}  // namespace jobshim
