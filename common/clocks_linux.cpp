#include "common/clocks.hpp"

namespace jobshim {

std::chrono::nanoseconds monotonic_now() { return read_clock(CLOCK_MONOTONIC); }

std::chrono::nanoseconds boottime_now() { return read_clock(CLOCK_BOOTTIME); }

}  // namespace jobshim
