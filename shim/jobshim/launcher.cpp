#include "shim/jobshim/launcher.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "common/file_contents.hpp"
#include "common/posix_error.hpp"
#include "common/say.hpp"
#include "common/send_signal.hpp"
#include "common/system_calls.hpp"
#include "shim/jobshim/exit_statuses.hpp"
#include "shim/jobshim/retry_transient.hpp"

namespace jobshim {

namespace {

constexpr char started = '+';

// `report`: "+ID", or one byte, the exit status; empty if the shim died before it could report.
// Returns the status to exit with.
int tell_outcome(const std::string& report, bool has_output) {
    if (report.empty()) {
        say("jobshim", "the shim died; whether COMMAND was executed is unknown");
        return own_failure;
    }
    if (report[0] != started) return static_cast<unsigned char>(report[0]);
    const std::string id = report.substr(1);
    try {
        if (!has_output) throw_errno("write standard output", EBADF);
        write_all(STDOUT_FILENO, id + "\n", "standard output");
        return 0;
    } catch (const std::system_error& error) {
        const std::string why = errno_text(error.code().value());
        say("jobshim", "the job " + id + " is running, but its id could not be printed: " + why);
        return own_failure;
    }
}

// Appends what there is. False at the end.
bool read_more(int fd, std::string& text) {
    char buffer[256];
    for (;;) {
        const ssize_t got = retry_transient([&] { return ::read(fd, buffer, sizeof buffer); });
        if (got < 0 && errno == EAGAIN) return true;
        if (got <= 0) return false;
        text.append(buffer, static_cast<std::size_t>(got));
    }
}

void pass_on(const siginfo_t& info, pid_t shim, const SignalGate& signals) {
    if (signals.is_unwanted(info.si_signo)) return;
    if (info.si_signo == SIGTSTP) stop_self(SIGTSTP);
    if (calls_off(info.si_signo)) (void)signal_child(shim, info.si_signo);  // not reaped yet
}

// The shim's whole report. Meanwhile the signals that are sent to this process, which is the one
// that the user sees, go to the shim.
std::string wait_for_report(int fd, pid_t shim, const SignalGate& signals) {
    // The descriptor's news come as a signal, too: one thing to wait for.
    if (::fcntl(fd, F_SETOWN, ::getpid()) != 0 || ::fcntl(fd, F_SETFL, O_ASYNC | O_NONBLOCK) != 0)
        throw_errno("fcntl");
    std::string report;
    while (read_more(fd, report))
        if (const auto info = signals.next(std::nullopt)) pass_on(*info, shim, signals);
    return report;
}

}  // namespace

Launcher::Detached Launcher::detach(const SignalGate& signals, bool has_output) {
    auto [reader, writer] = make_pipe();
    if (!reader) throw_errno("pipe");
    const pid_t child = ::fork();
    if (child < 0) throw_errno("fork");
    if (child > 0) {
        writer.reset();
        return {Launcher(),
                tell_outcome(wait_for_report(reader.get(), child, signals), has_output)};
    }
    ::setsid();  // a newly forked child is never a group leader, so this cannot fail
    return {Launcher(std::move(writer)), std::nullopt};
}

void Launcher::report_start(const std::string& id) {
    const std::string word = started + id;
    if (fd_) retry_transient([&] { return ::write(fd_.get(), word.data(), word.size()); });
    fd_.reset();
}

void Launcher::report_failure(int exit_status) {
    const auto byte = static_cast<char>(exit_status);
    if (fd_) retry_transient([&] { return ::write(fd_.get(), &byte, 1); });
    fd_.reset();
}

}  // namespace jobshim
