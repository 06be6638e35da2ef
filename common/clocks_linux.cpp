#include "common/clocks.hpp"

#include "common/kernel_file.hpp"

namespace jobshim {

std::chrono::nanoseconds monotonic_now() { return read_clock(CLOCK_MONOTONIC); }

std::chrono::nanoseconds boottime_now() { return read_clock(CLOCK_BOOTTIME); }

std::string source_of_time() {
    return first_line_of_kernel_file(
        "/sys/devices/system/clocksource/clocksource0/current_clocksource");
}

}  // namespace jobshim
