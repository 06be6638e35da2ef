#include "integration/support/waiting.hpp"

#include <sys/wait.h>

#include <cstdlib>
#include <map>
#include <thread>

#include "integration/support/programs.hpp"

namespace harness {
namespace {

std::map<pid_t, int>& ends() {
    static std::map<pid_t, int> map;
    return map;
}

void reap_all() {
    int status = 0;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) ends()[pid] = status;
}

}  // namespace

Milliseconds stretched(Milliseconds time) {
    static const double factor = [] {
        const char* setting = std::getenv("JOBSHIM_TEST_SLOW");
        return setting != nullptr ? std::strtod(setting, nullptr) : is_sanitized() ? 5 : 1;
    }();
    return Milliseconds(static_cast<long>(static_cast<double>(time.count()) * factor));
}

bool wait_until(const std::function<bool()>& holds, Milliseconds limit) {
    for (const auto end = Clock::now() + stretched(limit);;) {
        reap_all();
        if (holds()) return true;
        if (Clock::now() > end) return false;
        std::this_thread::sleep_for(3ms);
    }
}

std::optional<int> end_of(pid_t child) {
    const auto end = ends().find(child);
    return end == ends().end() ? std::nullopt : std::optional(end->second);
}

void keep_status(pid_t child, int status) { ends()[child] = status; }

void forget_status(pid_t child) { ends().erase(child); }

void forget_all_statuses() {
    reap_all();
    ends().clear();
}

}  // namespace harness
