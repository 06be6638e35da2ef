#include "common/process_identity.hpp"

namespace jobshim {

Liveness look_up_patiently(int pid, std::optional<std::uint64_t> start_time,
                           std::chrono::milliseconds patience) {
    const Liveness first = look_up_process(pid, start_time);
    if (first != Liveness::alive || patience.count() == 0) return first;
    const ProcessHandle process = open_process(pid, start_time);
    return !process || wait_for_end(process, patience) ? look_up_process(pid, start_time) : first;
}

}  // namespace jobshim
