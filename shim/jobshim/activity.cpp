#include "shim/jobshim/activity.hpp"

#include "common/clocks.hpp"
#include "common/process_identity.hpp"

namespace jobshim {

ActivityWatch::ActivityWatch(const WorkerIdentity& worker, const LogFile* log)
    : worker_(worker), log_(log) {
    const auto now = monotonic_now();
    cpu_ = {0, now};
    if (log_ != nullptr)
        if (const auto size = log_->size()) log_size_ = Figure{*size, now};
}

Activity ActivityWatch::look() {
    const auto now = monotonic_now();
    Activity activity;
    activity.no_cpu_ms = cpu_.unchanged_ms(cpu_ticks_of(worker_), now);
    if (log_size_)
        activity.silent_ms = log_size_->unchanged_ms(log_->size().value_or(log_size_->value), now);
    return activity;
}

std::int64_t ActivityWatch::Figure::unchanged_ms(std::int64_t now_seen,
                                                 std::chrono::nanoseconds now) {
    if (now_seen != value) *this = {now_seen, now};
    return std::chrono::duration_cast<std::chrono::milliseconds>(now - changed_at).count();
}

}  // namespace jobshim
