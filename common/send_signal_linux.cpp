#include "common/send_signal.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "common/posix_error.hpp"
#include "common/process_identity.hpp"

namespace jobshim {

int signal_process(const ProcessHandle& process, int signal) {
    return ::syscall(SYS_pidfd_send_signal, process.get(), signal, nullptr, 0) == 0 ? 0 : errno;
}

int signal_child(int pid, int signal) { return ::kill(pid, signal) == 0 ? 0 : errno; }

int signal_group(int group, int signal) { return ::kill(-group, signal) == 0 ? 0 : errno; }

std::string why_not_signalled(int error, const std::string& who, int pid) {
    if (error != EPERM) return errno_text(error);
    const auto owner = owner_of_process(pid);
    if (!owner || *owner == ::geteuid()) return "not permitted";
    return "not permitted (" + who + " runs as " +
           (*owner == 0 ? "root" : "uid " + std::to_string(*owner)) + ")";
}

}  // namespace jobshim
