#include "common/identity.hpp"

#include <grp.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <map>
#include <new>
#include <utility>

#include "common/clocks.hpp"
#include "common/send_signal.hpp"
#include "common/system_calls.hpp"

namespace jobshim {

namespace {

constexpr std::chrono::milliseconds child_patience{1000};
constexpr gid_t nobodys_group = 65534;

}  // namespace

Identity identity_of_user(uid_t user) {
    static std::map<uid_t, std::optional<UserGroups>> users;
    const auto [found, is_new] = users.try_emplace(user);
    if (is_new) found->second = groups_of_user(user);
    if (const auto& known = found->second) return {user, known->primary, known->others};
    return {user, nobodys_group, {}};
}

ActingAs::ActingAs(const std::optional<Identity>& identity) noexcept {
    if (!identity || (identity->user == ::geteuid() && identity->group == ::getegid())) return;
    is_ready_ = take_on(*identity);
    if (is_ready_) return;
    const int error = errno;
    give_back();
    errno = error;
}

bool ActingAs::take_on(const Identity& identity) noexcept {
    const int count = ::getgroups(0, nullptr);
    if (count < 0) return false;
    try {
        groups_.resize(static_cast<std::size_t>(count));
    } catch (const std::bad_alloc&) {
        errno = ENOMEM;
        return false;
    }
    if (::getgroups(count, groups_.data()) < 0) return false;
    group_ = ::getegid();
    has_changed_ = true;
    // The user comes last: without root's rights the groups could not be changed any more.
    return ::setgroups(identity.groups.size(), identity.groups.data()) == 0 &&
           ::setegid(identity.group) == 0 && ::seteuid(identity.user) == 0;
}

void ActingAs::give_back() noexcept {
    if (!has_changed_) return;
    has_changed_ = false;
    // Where the groups could not be given up (no right to), they are still there.
    if (::seteuid(0) != 0 || ::setegid(group_) != 0 ||
        (::setgroups(groups_.size(), groups_.data()) != 0 && errno != EPERM))
        std::abort();
}

ActingAs::~ActingAs() {
    const int error = errno;
    give_back();
    errno = error;
}

int run_as(const std::optional<Identity>& identity, const std::function<int()>& action) {
    if (!identity || identity->user == ::geteuid()) return action();
    const pid_t child = ::fork();
    if (child < 0) return errno;
    if (child == 0) {
        if (::setgroups(identity->groups.size(), identity->groups.data()) != 0 ||
            ::setgid(identity->group) != 0 || ::setuid(identity->user) != 0)
            ::_exit(errno);
        ::_exit(action());
    }
    const auto deadline = monotonic_now() + child_patience;
    int status = 0;
    for (;;) {
        const pid_t ended = ::waitpid(child, &status, WNOHANG);
        if (ended == child) break;
        if (ended < 0 && errno != EINTR) return errno;
        if (monotonic_now() >= deadline) {
            (void)signal_child(child, SIGKILL);
            while (::waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
            return ETIMEDOUT;
        }
        pause_for(std::chrono::milliseconds(1));
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

}  // namespace jobshim
