#include "common/clocks.hpp"

#include "common/kernel_file.hpp"

namespace jobshim {

std::chrono::nanoseconds monotonic_now() { return read_clock(CLOCK_MONOTONIC); }

std::chrono::nanoseconds boottime_now() { return read_clock(CLOCK_BOOTTIME); }

// File times come from a clock that moves in steps.
std::int64_t wait_for_file_clock() {
    const std::int64_t now = read_clock(CLOCK_REALTIME).count();
    constexpr int longest_step_ms = 20;  // unless the clock has just been set back
    for (int i = 0; i < longest_step_ms && read_clock(CLOCK_REALTIME_COARSE).count() <= now; ++i)
        pause_for(std::chrono::milliseconds(1));
    return now;
}

std::string source_of_time() {
    return first_line_of_kernel_file(
        "/sys/devices/system/clocksource/clocksource0/current_clocksource");
}

}  // namespace jobshim
