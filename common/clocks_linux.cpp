#include "common/clocks.hpp"

#include "common/kernel_file.hpp"

namespace jobshim {

std::chrono::nanoseconds monotonic_now() { return read_clock(CLOCK_MONOTONIC); }

std::chrono::nanoseconds boottime_now() { return read_clock(CLOCK_BOOTTIME); }

std::int64_t wait_for_file_clock() {
    const std::int64_t now = read_clock(CLOCK_REALTIME).count();
    constexpr std::chrono::milliseconds pause{1};
    // It takes longer only if the clock has just been set back.
    for (auto left = longest_file_clock_step;
         left > pause.zero() && read_clock(CLOCK_REALTIME_COARSE).count() <= now; left -= pause)
        pause_for(pause);
    return now;
}

std::string source_of_time() {
    return first_line_of_kernel_file(
        "/sys/devices/system/clocksource/clocksource0/current_clocksource");
}

}  // namespace jobshim
