// Kills the worker when the shim dies, however it dies.
//
// Caveats: kills only the worker's own process; its descendants live on. Linux drops the request
// when the worker executes a set-uid program or changes its user.
#pragma once

#include "common/unique_fd.hpp"

namespace jobshim {

class Guardian {
public:
    // Call before the worker is forked. False on failure, with errno set.
    bool start();
    // Call in the worker's process, before the exec. False on failure, with errno set.
    bool watch_this_process() const;
    // The descriptor it needs open while the worker runs; -1 for none.
    int descriptor() const { return fd_.get(); }

private:
    UniqueFd fd_;
};

}  // namespace jobshim
