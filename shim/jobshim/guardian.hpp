// Ends the worker when the shim dies, by whatever death.
//
// Caveats: the worker's process alone; what that has started lives on. Linux forgets it once the
// worker executes a set-uid program or changes its user.
#pragma once

#include "common/unique_fd.hpp"

namespace jobshim {

class Guardian {
public:
    // Before the worker's process is made. False, with errno.
    bool start();
    // In the worker's process, before the exec. False, with errno.
    bool watch_this_process() const;
    // What it needs open while the worker runs; -1 for nothing.
    int descriptor() const { return fd_.get(); }

private:
    UniqueFd fd_;
};

}  // namespace jobshim
