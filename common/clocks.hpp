// The system's clocks, read in one place: boottime_now for durations that are reported,
// monotonic_now for waiting, wall time only for people.
#pragma once

#include <sys/types.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <string>

namespace jobshim {

// Jobs must work beyond 2038, and logs beyond 2 GiB.
static_assert(sizeof(time_t) >= 8 && sizeof(off_t) >= 8,
              "32-bit systems must be built with 64-bit time_t and off_t");

inline std::chrono::nanoseconds read_clock(clockid_t clock) {
    timespec now{};
    ::clock_gettime(clock, &now);
    return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

// Stops while the machine sleeps.
std::chrono::nanoseconds monotonic_now();

// Time since boot, including sleep.
std::chrono::nanoseconds boottime_now();

// The kernel's clock source; "" if it cannot be read.
std::string source_of_time();

// Milliseconds since 1970.
inline std::int64_t wall_now_ms() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(read_clock(CLOCK_REALTIME))
        .count();
}

inline timespec to_timespec(std::chrono::nanoseconds duration) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(duration);
    return {static_cast<time_t>(seconds.count()), static_cast<long>((duration - seconds).count())};
}

// A file's time in nanoseconds since 1970, clamped to what 64 bits can hold (the years 1678 to
// 2262).
inline std::int64_t ns_of(const timespec& time) {
    const auto seconds = std::clamp<std::int64_t>(time.tv_sec, -9'223'372'036, 9'223'372'035);
    return seconds * 1'000'000'000 + time.tv_nsec;
}

// Files take their times from a clock that moves in steps of some milliseconds. This is more than
// any.
constexpr std::chrono::milliseconds longest_file_clock_step{20};

// What was changed before this call is stamped with a time up to the result, and what is changed
// after it with a later one: waits for the clock of local files to move on, a few milliseconds.
std::int64_t wait_for_file_clock();

// For the few places that must look again later and have nothing to wait on.
inline void pause_for(std::chrono::milliseconds duration) {
    const timespec time = to_timespec(duration);
    ::nanosleep(&time, nullptr);
}

}  // namespace jobshim
