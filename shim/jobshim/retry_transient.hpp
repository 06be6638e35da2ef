// If a message between the shim and its own child (or parent) is lost, one of them waits forever
// or is misinformed. So what passes, an interruption or a moment without memory (send(2), recv(2)),
// is retried.
#pragma once

#include <sys/types.h>

#include <cerrno>
#include <chrono>

#include "common/clocks.hpp"

namespace jobshim {

// Calls call(), a read or write of such a message, until it succeeds or fails for good.
template <class Call>
ssize_t retry_transient(Call call) {
    for (;;) {
        const ssize_t result = call();
        if (result >= 0) return result;
        if (errno == ENOMEM || errno == ENOBUFS)
            pause_for(std::chrono::milliseconds(1));
        else if (errno != EINTR)
            return result;
    }
}

}  // namespace jobshim
