// Looks at the children of this process that have ended, without waiting and without reaping the
// one that counts.
#pragma once

#include <optional>

#include "common/exit_reason.hpp"

namespace jobshim {

struct ChildEnd {
    int wait_status = 0;  // as wait(2) tells it
    Resources resources;
};
// Nothing while the child lives. It stays a zombie.
std::optional<ChildEnd> look_at_child(int pid);

// Reaps those that have ended before `own` did.
void reap_strangers(int own);

}  // namespace jobshim
