// Looks at the children of this process that have ended, without waiting, and without reaping the
// worker.
#pragma once

#include <optional>

#include "common/exit_reason.hpp"

namespace jobshim {

struct ChildEnd {
    int wait_status = 0;  // as wait(2) reports it
    Resources resources;
};
// Nothing while the child lives. One that has ended stays a zombie.
std::optional<ChildEnd> look_at_child(int pid);

// Reaps children that have ended, until there are none left or the next one is `own`.
void reap_orphans(int own);

}  // namespace jobshim
