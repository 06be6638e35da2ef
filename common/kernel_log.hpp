// Reads what the kernel's log says about the out-of-memory killer.
//
// Caveats: only root, or a user with access to /dev/kmsg, can read it.
#pragma once

#include "common/oom_log.hpp"
#include "common/unique_fd.hpp"

namespace jobshim {

// Reads what the log still holds, and on each further call what was added since.
class OomLogReader {
public:
    OomLogReader();
    // False if the log cannot be read. Never blocks.
    bool read_on();
    const OomLog& log() const { return log_; }

private:
    UniqueFd kernel_log_;
    OomLog log_;
};

bool kernel_log_is_readable();

}  // namespace jobshim
