#include <fcntl.h>
#include <unistd.h>

#include <charconv>

#include "common/atomic_file.hpp"
#include "common/oom_evidence.hpp"

namespace jobshim {

namespace {

// Files of /proc and cgroupfs are small and may be gone: "" then.
std::string text_of(const std::string& path) {
    try {
        const auto contents = read_file(path, 65536);
        return contents ? contents->text : "";
    } catch (const std::exception&) {
        return "";
    }
}

// The path behind the first line of /proc/self/cgroup whose controllers satisfy `wanted`.
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

std::optional<OomBaseline> baseline_at(const std::string& group, const std::string& file) {
    if (const auto kills = oom_kill_count(text_of(file))) return OomBaseline{group, file, *kills};
    return std::nullopt;
}

std::optional<std::uint64_t> limit_beside(const std::string& counter) {
    const std::string directory = counter.substr(0, counter.rfind('/') + 1);
    for (const char* name : {"memory.limit_in_bytes", "memory.max"}) {
        const std::string text = text_of(directory + name);
        std::uint64_t limit = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), limit);
        // v1 writes "no limit" as the largest number of whole pages.
        if (error == std::errc{} && end != text.data() && limit < (std::uint64_t{1} << 60U))
            return limit;
    }
    return std::nullopt;
}

}  // namespace

std::optional<std::uint64_t> oom_kill_count(std::string_view text) {
    constexpr std::string_view key = "oom_kill ";
    for (std::size_t at = text.find(key); at != std::string_view::npos;
         at = text.find(key, at + 1)) {
        if (at != 0 && text[at - 1] != '\n') continue;
        std::uint64_t count = 0;
        const std::string_view number = text.substr(at + key.size());
        if (std::from_chars(number.data(), number.data() + number.size(), count).ec == std::errc{})
            return count;
    }
    return std::nullopt;
}

std::optional<OomBaseline> read_oom_baseline() {
    const std::string lines = text_of("/proc/self/cgroup");
    const auto v1 = group_of(lines, [](const std::string& controllers) {
        return ("," + controllers + ",").find(",memory,") != std::string::npos;
    });
    if (v1)
        if (auto found = baseline_at(*v1, "/sys/fs/cgroup/memory" + *v1 + "/memory.oom_control"))
            return found;
    const auto v2 =
        group_of(lines, [](const std::string& controllers) { return controllers.empty(); });
    if (!v2) return std::nullopt;
    // .local counts the group's own members; kernels before 5.12 have only the other.
    for (const char* name : {"/memory.events.local", "/memory.events"})
        if (auto found = baseline_at(*v2, "/sys/fs/cgroup" + *v2 + name)) return found;
    return std::nullopt;
}

std::optional<OomFinding> compare_oom_counter(const OomBaseline& before) {
    const auto now = oom_kill_count(text_of(before.counter));
    if (!now || *now <= before.kills) return std::nullopt;
    OomFinding finding;
    finding.counter_rose = true;
    finding.group = before.group;
    finding.limit_bytes = limit_beside(before.counter);
    finding.evidence.push_back(before.counter.substr(before.counter.rfind('/') + 1) + " oom_kill " +
                               std::to_string(before.kills) + " -> " + std::to_string(*now) +
                               " in " + before.group);
    return finding;
}

bool kernel_log_is_readable() {
    return bool(UniqueFd(::open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC)));
}

}  // namespace jobshim
