// What a record can say at all. A value beyond these limits counts as absent wherever a file is
// parsed, so that the code that works with it needs no checks of its own: no sum or product of such
// values overflows, and a name made of them contains no slash. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "common/run_record.hpp"

namespace jobshim {

// Both ends belong to it.
struct Range {
    std::int64_t least;
    std::int64_t most;

    template <class Number>
    constexpr bool contains(Number number) const {
        return std::cmp_greater_equal(number, least) && std::cmp_less_equal(number, most);
    }
};

// Linux never gives a process a higher number than this (PID_MAX_LIMIT). A pid of 0 stands for a
// process in another pid namespace, so it names none.
constexpr Range possible_pids{1, 1 << 22U};
// 0: the session's leader is in an outer pid namespace, as with `unshare --pid --fork`.
constexpr Range possible_sessions{0, 1 << 22U};
// The kernel keeps 2^32-1 for "no user".
constexpr Range possible_uids{0, 4'294'967'294};
constexpr Range possible_exit_codes{0, 255};
constexpr Range possible_signals{1, 64};
constexpr Range possible_wait_statuses{0, 65'535};

// Whatever a duration on the command line may be: see parse_duration. In nanoseconds it still fits.
constexpr Range possible_durations_ms{0, std::int64_t{100} * 365 * 86'400'000};
// What --heartbeat-interval accepts.
constexpr Range possible_intervals_ms{100, 3'600'000};
// Sizes, offsets, counts and times of many CPUs: what every JSON parser keeps exactly.
constexpr Range possible_amounts{0, (std::int64_t{1} << 53U) - 1};

// Far more than there ever is.
constexpr std::size_t most_evidence = 1'000;

// The kernel allows 64 bytes; a byte that is not UTF-8 takes three here.
constexpr std::size_t longest_host_name = 255;

// As in /proc/sys/kernel/random/boot_id.
constexpr bool is_boot_id(std::string_view text) {
    return text.size() == 36 && text.find_first_not_of("0123456789abcdef-") == text.npos;
}

// As in /etc/machine-id.
constexpr bool is_machine_id(std::string_view text) {
    return text.size() == 32 && text.find_first_not_of("0123456789abcdef") == text.npos;
}

// The identity without what is not possible. A process applies it to its own, too: what it is then
// compared with was read from a file.
inline ShimIdentity possible_part_of(ShimIdentity identity) {
    if (!is_boot_id(identity.boot_id)) identity.boot_id.clear();
    if (!is_machine_id(identity.machine_id)) identity.machine_id.clear();
    if (identity.host.size() > longest_host_name) identity.host.clear();
    return identity;
}

}  // namespace jobshim
