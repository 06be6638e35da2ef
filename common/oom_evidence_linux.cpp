#include "common/oom_evidence.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <utility>

#include "common/clocks.hpp"
#include "common/kernel_file.hpp"
#include "common/kernel_log.hpp"
#include "common/process_identity.hpp"

namespace jobshim {

namespace {

// 64 KiB: mountinfo may have many lines.
std::string text_of(const std::string& path) { return read_kernel_file(path, 65536); }

// The path on the first line of /proc/self/cgroup whose controllers satisfy `wanted`.
template <class Wanted>
std::optional<std::string> group_of(const std::string& lines, Wanted wanted) {
    for (std::size_t at = 0; at < lines.size();) {
        const std::size_t end = std::min(lines.find('\n', at), lines.size());
        const std::string line = lines.substr(at, end - at);
        at = end + 1;
        const std::size_t first = line.find(':');
        const std::size_t second = line.find(':', first + 1);
        if (first == std::string::npos || second == std::string::npos) continue;
        if (wanted(line.substr(first + 1, second - first - 1))) return line.substr(second + 1);
    }
    return std::nullopt;
}

// The root of the mount at `mount_point`; proc(5) describes a line of mountinfo:
// "35 31 0:32 ROOT MOUNT-POINT ...".
std::string root_of_mount(const std::string& mounts, const std::string& mount_point) {
    const std::size_t here = mounts.find(" " + mount_point + " ");
    if (here == std::string::npos) return "";
    const std::size_t before = mounts.rfind(' ', here - 1);
    return before == std::string::npos ? "" : mounts.substr(before + 1, here - before - 1);
}

OomCounters read_counters(const std::string& counter) {
    const std::string text = text_of(counter);
    const std::string below = text.empty() ? "" : oom_counter_below(counter);
    return oom_counters_in(text, below.empty() ? "" : text_of(below));
}

std::optional<OomBaseline> baseline_at(const std::string& group, const std::string& directory,
                                       std::string_view name) {
    OomBaseline baseline;
    baseline.group = group;
    baseline.counter = directory + "/" + std::string(name);
    const OomCounters now = read_counters(baseline.counter);
    if (!now.kills) return std::nullopt;
    baseline.kills = *now.kills;
    baseline.group_kills = now.group_kills;
    baseline.kills_below = now.kills_below;
    baseline.at_us = std::chrono::duration_cast<std::chrono::microseconds>(monotonic_now()).count();
    return baseline;
}

// In a container without a cgroup namespace, the root of the mount is the container's cgroup, but
// paths in /proc/self/cgroup start at the host's root.
std::optional<OomBaseline> baseline_under(const std::string& root, const std::string& mount_point,
                                          const std::string& group, std::string_view name) {
    // "/../x" is outside this cgroup namespace, so it is not part of this mount.
    if (group.find("/..") != std::string::npos) return std::nullopt;
    const std::string directory = root + mount_point;
    if (auto found = baseline_at(group, directory + (group == "/" ? "" : group), name))
        return found;
    const std::string top = root_of_mount(text_of(root + "/proc/self/mountinfo"), mount_point);
    if (top.size() < 2 || !(group + "/").starts_with(top + "/")) return std::nullopt;
    return baseline_at(group, directory + group.substr(top.size()), name);
}

// Reads a file that holds one number; nothing for "max".
std::optional<std::uint64_t> number_in(const std::string& path) {
    const std::string text = text_of(path);
    std::uint64_t number = 0;
    if (std::from_chars(text.data(), text.data() + text.size(), number).ec != std::errc{})
        return std::nullopt;
    return number;
}

// The number in a file beside the counter, whose name differs between cgroup v2 and v1.
std::optional<std::uint64_t> number_beside(const OomBaseline& baseline, const char* of_v2,
                                           const char* of_v1) {
    if (baseline.group.empty()) return std::nullopt;
    const std::string& counter = baseline.counter;
    const bool is_v1 = counter.ends_with("/memory.oom_control");
    return number_in(counter.substr(0, counter.rfind('/') + 1) + (is_v1 ? of_v1 : of_v2));
}

std::optional<std::uint64_t> limit_of(const OomBaseline& baseline) {
    const auto limit = number_beside(baseline, "memory.max", "memory.limit_in_bytes");
    // cgroup v1 shows "no limit" as the largest number of whole pages.
    return limit && *limit < (std::uint64_t{1} << 60U) ? limit : std::nullopt;
}

std::optional<OomRise> rise_since(const OomBaseline& before) {
    auto rise = judge_oom_counters(before, read_counters(before.counter));
    if (rise) rise->finding.limit_bytes = limit_of(before);
    return rise;
}

// The kernel's PROC_CGROUP_INIT_INO; compare initial_pid_namespace.
bool is_in_the_initial_cgroup_namespace() {
    constexpr ino_t initial_cgroup_namespace = 0xEFFFFFFBU;
    struct stat info {};
    return ::stat("/proc/self/ns/cgroup", &info) == 0 && info.st_ino == initial_cgroup_namespace;
}

// The kernel counts a kill, and sends the signal, before it logs it. So the log is read up to
// `again` more times, until `tells_enough`.
std::optional<OomLog> read_log_up_to(const std::function<bool(const OomLog&)>& tells_enough,
                                     int again) {
    OomLogReader reader;
    for (int attempt = 0;; ++attempt) {
        if (!reader.read_on()) return std::nullopt;
        if (attempt == again || tells_enough(reader.log())) return reader.log();
        pause_for(std::chrono::milliseconds(2));
    }
}

// Nothing if the kernel does not report it.
std::optional<std::uint64_t> oom_kills_since_boot() {
    return counter_in(text_of("/proc/vmstat"), "oom_kill");
}

bool log_uses_our_pids(const ShimIdentity& here) {
    return here.pid_namespace == initial_pid_namespace && !here.time_namespace;
}

}  // namespace

std::optional<OomBaseline> read_oom_baseline(const std::string& root) {
    const std::string lines = text_of(root + "/proc/self/cgroup");
    const auto v1 = group_of(lines, [](const std::string& controllers) {
        return ("," + controllers + ",").find(",memory,") != std::string::npos;
    });
    if (v1)
        if (auto found = baseline_under(root, "/sys/fs/cgroup/memory", *v1, "memory.oom_control"))
            return found;
    const auto v2 =
        group_of(lines, [](const std::string& controllers) { return controllers.empty(); });
    if (v2)
        for (const char* mount_point : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"})
            for (const std::string_view name : {own_events, events_below})
                if (auto found = baseline_under(root, mount_point, *v2, name)) return found;
    return baseline_at("", root + "/proc", "vmstat");
}

std::optional<std::uint64_t> group_memory_peak(const OomBaseline& baseline) {
    return number_beside(baseline, "memory.peak", "memory.max_usage_in_bytes");
}

bool is_readable(const OomBaseline& before) { return !text_of(before.counter).empty(); }

std::optional<OomFinding> look_for_oom(const OomBaseline& before, const ShimIdentity& here,
                                       const std::vector<OomSuspect>& suspects,
                                       OomDisclosure disclosure) {
    auto rise = rise_since(before);
    if (!rise) return std::nullopt;
    OomFinding& finding = rise->finding;
    if (!log_uses_our_pids(here)) {
        finding.evidence.emplace_back(
            "the victim is unknown: the kernel's log uses the pids of another namespace");
        return finding;
    }
    const auto log = read_log_up_to(
        [&](const OomLog& so_far) { return has_victims_since(so_far, before, rise->kills); }, 5);
    if (log)
        name_victims(finding, before, rise->kills, *log, suspects,
                     is_in_the_initial_cgroup_namespace(), disclosure);
    else
        finding.evidence.emplace_back("the victim is unknown: /dev/kmsg cannot be read");
    return finding;
}

std::optional<OomFinding> look_for_oom_in_log(const OomBaseline& before, const ShimIdentity& here,
                                              const std::vector<OomSuspect>& suspects,
                                              const std::optional<std::string>& only_group) {
    if (!log_uses_our_pids(here)) return std::nullopt;
    // Many machines never had an OOM kill: spare them reading a log that returns one record per
    // call.
    const auto kills = oom_kills_since_boot();
    if (kills == 0) return std::nullopt;
    // Nothing says that one of the kills is ours, and recording the end must not be delayed: read
    // again only once, and not at all if the log shows every kill that was counted.
    const auto log = read_log_up_to(
        [&](const OomLog& so_far) {
            return has_victims_since(so_far, before, 1) ||
                   (kills && so_far.victims().size() >= *kills);
        },
        1);
    if (!log) return std::nullopt;
    return victims_among(suspects, before, *log, is_in_the_initial_cgroup_namespace(), only_group);
}

bool is_oom_counter(std::string_view path) {
    if (path == "/proc/vmstat") return true;
    if (!path.starts_with("/sys/fs/cgroup/") || path.find("/..") != std::string_view::npos)
        return false;
    const std::string_view name = path.substr(path.rfind('/') + 1);
    return name == "memory.oom_control" || name == own_events || name == events_below;
}

}  // namespace jobshim
