// Acting as another user, so that a step can do no more than that user could. For root only: root
// works on a user's job as that user, and not with its own rights.
//
// Caveats: for a process of one thread. The real user id stays root's, so that the user cannot
// signal this process meanwhile; therefore nothing is signalled under ActingAs, but by run_as.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <vector>

namespace jobshim {

struct Identity {
    uid_t user = 0;
    gid_t group = 0;
    std::vector<gid_t> groups = {};  // supplementary

    bool operator==(const Identity&) const = default;
};

// The user as /etc/passwd and /etc/group know it; one that they do not know is in no group but
// nobody's: what group its files have may have been a directory's choice. Read once for each user.
Identity identity_of_user(uid_t user);

// Takes on an identity for its lifetime: effective user and group, and supplementary groups.
// Without an identity it does nothing. Leaves errno alone when it ends. If the old identity cannot
// be taken back, the process ends: nothing may go on with the wrong one.
class ActingAs {
public:
    explicit ActingAs(const std::optional<Identity>& identity) noexcept;
    ~ActingAs();
    ActingAs(const ActingAs&) = delete;
    ActingAs& operator=(const ActingAs&) = delete;

    // False, with errno set, if the identity could not be taken on: then the step must not be done.
    explicit operator bool() const { return is_ready_; }

private:
    bool take_on(const Identity& identity) noexcept;
    void give_back() noexcept;

    bool is_ready_ = true;
    bool has_changed_ = false;
    std::vector<gid_t> groups_;
    gid_t group_ = 0;
};

// Runs `action`, which must be quick, in a child process that is nothing but this user any more,
// and returns its result: 0, or an errno of 1 to 254. Without an identity it is run right here. The
// user may stop the child: then it is killed, and the result is ETIMEDOUT.
int run_as(const std::optional<Identity>& identity, const std::function<int()>& action);

}  // namespace jobshim
