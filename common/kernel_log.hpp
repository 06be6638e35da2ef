// Reads the kernel's log for what it tells of the out-of-memory killer.
//
// Caveats: it is root's, or whoever's may read it.
#pragma once

#include "common/oom_log.hpp"
#include "common/unique_fd.hpp"

namespace jobshim {

// Takes what the log still holds, and with each further call what has come since.
class OomLogReader {
public:
    OomLogReader();
    // False if the log may not be read. Never waits.
    bool read_on();
    const OomLog& log() const { return log_; }

private:
    UniqueFd kernel_log_;
    OomLog log_;
};

// True if the kernel's log can be read.
bool kernel_log_is_readable();

}  // namespace jobshim
