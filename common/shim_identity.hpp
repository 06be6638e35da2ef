// Which process a shim is: one shim, one run. Pure.
//
// Caveats: a `pid` means something only together with the boot id and the pid namespace.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace jobshim {

struct ShimIdentity {
    int pid = 0;
    std::optional<std::uint64_t> start_time;  // field 22 of /proc/PID/stat, in ticks
    std::string boot_id;                      // "" if unknown, here and below
    std::string machine_id;
    std::optional<std::uint64_t> pid_namespace;  // inode of /proc/self/ns/pid
    std::string host;
    // Inode of /proc/self/ns/time; nothing for the initial namespace, which does not shift start
    // times.
    std::optional<std::uint64_t> time_namespace = {};

    bool operator==(const ShimIdentity&) const = default;
    // The same process, as far as a request needs to name it.
    bool is_same_process_as(const ShimIdentity& other) const {
        return pid == other.pid && start_time == other.start_time && boot_id == other.boot_id;
    }
};

}  // namespace jobshim
