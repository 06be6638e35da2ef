#include "shim/jobshim/signal_gate.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "common/clocks.hpp"

namespace jobshim {

namespace {

constexpr std::uint64_t every_signal = ~std::uint64_t{0};

constexpr std::uint64_t bit_of(int signal) { return std::uint64_t{1} << (signal - 1); }

// Raw system calls, because the library's wrappers hide the signals that its threads use: 32 and
// 33, with musl 34 as well.
void set_mask(std::uint64_t mask, std::uint64_t* former) {
    ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, former, sizeof mask);
}

int wait_for_signal(siginfo_t& info, const timespec* timeout) {
    return static_cast<int>(
        ::syscall(SYS_rt_sigtimedwait, &every_signal, &info, timeout, sizeof every_signal));
}

}  // namespace

SignalGate::SignalGate() {
    set_mask(every_signal, &original_mask_);
    struct sigaction child {};
    ::sigaction(SIGCHLD, nullptr, &child);
    child_was_ignored_ = child.sa_handler == SIG_IGN;
    if (child_was_ignored_) {
        child.sa_handler = SIG_DFL;
        ::sigaction(SIGCHLD, &child, nullptr);
    }
}

std::optional<siginfo_t> SignalGate::next(std::optional<std::chrono::nanoseconds> timeout) const {
    siginfo_t info{};
    const timespec time = to_timespec(
        std::max(timeout.value_or(std::chrono::nanoseconds(0)), std::chrono::nanoseconds(0)));
    for (;;) {
        if (wait_for_signal(info, timeout ? &time : nullptr) > 0) return info;
        // Stopped and continued. If there is a timeout, the caller recomputes how long to wait.
        if (errno != EINTR || timeout) return std::nullopt;
    }
}

void SignalGate::restore() const {
    if (child_was_ignored_) {
        struct sigaction child {};
        child.sa_handler = SIG_IGN;
        ::sigaction(SIGCHLD, &child, nullptr);
    }
    set_mask(original_mask_, nullptr);
}

bool SignalGate::is_unwanted(int signal) const {
    if ((original_mask_ & bit_of(signal)) != 0) return true;
    struct sigaction action {};
    return ::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

std::vector<int> SignalGate::descriptors() const { return {}; }

bool is_from_kernel(const siginfo_t& info) { return info.si_code == SI_KERNEL; }

void set_default(int signal) {
    // At least as long as any kernel's struct. All zero means SIG_DFL, no flags and an empty mask.
    const std::uint64_t standard[4] = {};
    ::syscall(SYS_rt_sigaction, signal, standard, nullptr, sizeof every_signal);
}

void let_through(int signal) {
    set_mask(every_signal & ~bit_of(signal), nullptr);
    set_mask(every_signal, nullptr);
}

}  // namespace jobshim
