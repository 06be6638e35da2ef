// For how long the worker has shown no sign of work. For --stall-after: readers tell it, and nobody
// acts upon it.
//
// Caveats: looks only when it is asked to, so it may notice a sign late, and then counts from
// there.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "common/run_record.hpp"
#include "shim/jobshim/log_file.hpp"

namespace jobshim {

class ActivityWatch {
public:
    // `log` may be null; otherwise it must outlive this object.
    ActivityWatch(const WorkerIdentity& worker, const LogFile* log);

    Activity look();

private:
    // A figure, and when it was last seen to change.
    struct Figure {
        std::int64_t value = 0;
        std::chrono::nanoseconds changed_at{0};  // monotonic

        std::int64_t unchanged_ms(std::int64_t now_seen, std::chrono::nanoseconds now);
    };

    WorkerIdentity worker_;
    const LogFile* log_;
    Figure cpu_;
    std::optional<Figure> log_size_;
};

}  // namespace jobshim
