// A word between the shim and its own child (or parent) that is lost leaves one of them waiting for
// ever, or misinformed. So what passes, an interruption or a moment without memory (send(2),
// recv(2)), is no failure of it.
#pragma once

#include <sys/types.h>

#include <cerrno>
#include <chrono>

#include "common/clocks.hpp"

namespace jobshim {

// Calls call(), a read or write of such a word, until it fails for good or does not.
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
