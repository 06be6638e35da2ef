#include "common/oom_evidence.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <functional>

#include "common/clocks.hpp"
#include "common/kernel_file.hpp"
#include "common/process_identity.hpp"
#include "common/units.hpp"

namespace jobshim {

namespace {

// mountinfo(5) may have many lines.
std::string text_of(const std::string& path) { return read_kernel_file(path, 65536); }

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

// The root of what is mounted there, as mountinfo(5) tells it: "35 31 0:32 ROOT MOUNT-POINT ...".
std::string root_of_mount(const std::string& mounts, const std::string& mount_point) {
    const std::size_t here = mounts.find(" " + mount_point + " ");
    if (here == std::string::npos) return "";
    const std::size_t before = mounts.rfind(' ', here - 1);
    return before == std::string::npos ? "" : mounts.substr(before + 1, here - before - 1);
}

std::string directory_of_file(const std::string& path) { return path.substr(0, path.rfind('/')); }
std::string name_of_file(const std::string& path) { return path.substr(path.rfind('/') + 1); }

// memory.events counts what befell the group and those below it; memory.events.local, which is
// younger than it (Linux 5.2), the group alone.
constexpr std::string_view own_events = "memory.events.local";
constexpr std::string_view events_below = "memory.events";

std::optional<OomBaseline> baseline_at(const std::string& group, const std::string& directory,
                                       std::string_view name) {
    OomBaseline baseline;
    baseline.group = group;
    baseline.counter = directory + "/" + std::string(name);
    const std::string text = text_of(baseline.counter);
    const auto kills = counter_in(text, "oom_kill");
    if (!kills) return std::nullopt;
    baseline.kills = *kills;
    baseline.group_kills = counter_in(text, "oom_group_kill");
    if (name == own_events)
        baseline.kills_below =
            counter_in(text_of(directory + "/" + std::string(events_below)), "oom_kill");
    baseline.at_us = std::chrono::duration_cast<std::chrono::microseconds>(monotonic_now()).count();
    return baseline;
}

// In a container without a cgroup namespace the mount's root is the container's group, while
// /proc/self/cgroup names it from the host's root.
std::optional<OomBaseline> baseline_under(const std::string& root, const std::string& mount_point,
                                          const std::string& group, std::string_view name) {
    // "/../x" is outside of this cgroup namespace, and so of what is mounted here.
    if (group.find("/..") != std::string::npos) return std::nullopt;
    const std::string directory = root + mount_point;
    if (auto found = baseline_at(group, directory + (group == "/" ? "" : group), name))
        return found;
    const std::string top = root_of_mount(text_of(root + "/proc/self/mountinfo"), mount_point);
    if (top.size() < 2 || !(group + "/").starts_with(top + "/")) return std::nullopt;
    return baseline_at(group, directory + group.substr(top.size()), name);
}

// What a file of one number holds; nothing for "max".
std::optional<std::uint64_t> number_in(const std::string& path) {
    const std::string text = text_of(path);
    std::uint64_t number = 0;
    if (std::from_chars(text.data(), text.data() + text.size(), number).ec != std::errc{})
        return std::nullopt;
    return number;
}

// Of the two names the one that is there: cgroup v2's, v1's.
std::optional<std::uint64_t> number_beside(const OomBaseline& baseline, const char* of_v2,
                                           const char* of_v1) {
    if (baseline.group.empty()) return std::nullopt;
    const std::string name = name_of_file(baseline.counter);
    const bool is_v1 = name == "memory.oom_control";
    return number_in(directory_of_file(baseline.counter) + "/" + (is_v1 ? of_v1 : of_v2));
}

std::optional<std::uint64_t> limit_of(const OomBaseline& baseline) {
    const auto limit = number_beside(baseline, "memory.max", "memory.limit_in_bytes");
    // v1 writes "no limit" as the largest number of whole pages.
    return limit && *limit < (std::uint64_t{1} << 60U) ? limit : std::nullopt;
}

// By how much a counter rose.
std::uint64_t rise(std::optional<std::uint64_t> before, std::optional<std::uint64_t> now) {
    return before && now && *now > *before ? *now - *before : 0;
}

std::string change(const std::string& what, std::uint64_t before, std::uint64_t by) {
    return what + " " + std::to_string(before) + " -> " + std::to_string(before + by);
}

struct Comparison {
    std::uint64_t rise = 0;  // of the group's own counter
    OomFinding finding;
};

std::optional<Comparison> compare(const OomBaseline& before) {
    const std::string text = text_of(before.counter);
    const bool is_of_a_group = !before.group.empty();
    Comparison result;
    result.rise = rise(before.kills, counter_in(text, "oom_kill"));
    const std::uint64_t whole_group = rise(before.group_kills, counter_in(text, "oom_group_kill"));
    std::uint64_t below = 0;
    const std::string counter = name_of_file(before.counter);
    if (before.kills_below && counter == own_events)
        below = rise(before.kills_below, counter_in(text_of(directory_of_file(before.counter) +
                                                            "/" + std::string(events_below)),
                                                    "oom_kill"));
    if (result.rise == 0 && whole_group == 0 && below == 0) return std::nullopt;
    OomFinding& finding = result.finding;
    finding.counter_rose = is_of_a_group && (result.rise > 0 || whole_group > 0);
    finding.group = before.group;
    finding.limit_bytes = limit_of(before);
    const std::string where = is_of_a_group ? " in " + before.group : " on this machine";
    if (result.rise > 0)
        finding.evidence.push_back(change(counter + " oom_kill", before.kills, result.rise) +
                                   where);
    if (whole_group > 0) {
        // memory.events counts the groups below, too, of which the worker need not be a member.
        const bool is_its_own = is_of_a_group && counter == own_events;
        finding.worker_was_the_victim = finding.shim_was_the_victim = is_its_own;
        finding.evidence.push_back(
            change(counter + " oom_group_kill", *before.group_kills, whole_group) + where +
            (is_its_own ? ": all of the group were hit" : " or a group below it"));
    }
    if (below > result.rise)
        finding.evidence.push_back(change("memory.events oom_kill", *before.kills_below, below) +
                                   where + " and the groups below it");
    return result;
}

// PROC_CGROUP_INIT_INO of the kernel, as initial_pid_namespace.
bool is_in_the_initial_cgroup_namespace() {
    constexpr ino_t initial_cgroup_namespace = 0xEFFFFFFBU;
    struct stat info {};
    return ::stat("/proc/self/ns/cgroup", &info) == 0 && info.st_ino == initial_cgroup_namespace;
}

// The kernel's clock is said to drift by no more against one that NTP disciplines.
std::int64_t drift_until(std::int64_t at_us) { return 1'000'000 + at_us / 2000; }

std::string in_words(const OomVictim& victim) {
    return "pid " + std::to_string(victim.pid) + " (" + printable(victim.name) + ")";
}

// The kernel counts a kill, and sends the signal, before it writes of it: so it is read again, up
// to so many times, until it tells of as many as are looked for.
std::optional<OomLog> read_log_up_to(const std::function<bool(const OomLog&)>& tells_enough,
                                     int again) {
    OomLogReader reader;
    for (int attempt = 0;; ++attempt) {
        if (!reader.read_on()) return std::nullopt;
        if (attempt == again || tells_enough(reader.log())) return reader.log();
        pause_for(std::chrono::milliseconds(2));
    }
}

bool has_victims_since(const OomLog& log, const OomBaseline& before, std::uint64_t wanted) {
    const auto since =
        std::count_if(log.victims().begin(), log.victims().end(),
                      [&](const OomVictim& victim) { return victim.at_us >= before.at_us; });
    return static_cast<std::uint64_t>(since) >= wanted;
}

bool is_of_process(const OomVictim& victim, int pid) {
    return victim.pid == pid || victim.thread_group == pid;
}

// A suspect is told by his pid, and by the time, for pids are used again.
const OomSuspect* suspect_hit(const std::vector<OomSuspect>& suspects, const OomVictim& victim,
                              const OomBaseline& before) {
    if (victim.at_us < before.at_us - drift_until(before.at_us)) return nullptr;
    const auto hit = std::find_if(suspects.begin(), suspects.end(), [&](const OomSuspect& suspect) {
        return is_of_process(victim, suspect.pid);
    });
    return hit == suspects.end() ? nullptr : &*hit;
}

void name_suspect(OomFinding& finding, const OomSuspect& suspect) {
    const bool is_worker = suspect.who == OomSuspect::worker;
    (is_worker ? finding.worker_was_the_victim : finding.shim_was_the_victim) = true;
    std::string line = "victim was pid " + std::to_string(suspect.pid) +
                       (is_worker ? ", the worker" : ", the shim") + " (/dev/kmsg)";
    // With memory.oom.group the log names the first victim twice.
    if (std::find(finding.evidence.begin(), finding.evidence.end(), line) == finding.evidence.end())
        finding.evidence.push_back(std::move(line));
}

// Nothing where the kernel does not tell.
std::optional<std::uint64_t> oom_kills_since_boot() {
    return counter_in(text_of("/proc/vmstat"), "oom_kill");
}

bool log_counts_our_pids(const ShimIdentity& here) {
    return here.pid_namespace == initial_pid_namespace && !here.time_namespace;
}

}  // namespace

std::optional<std::uint64_t> counter_in(std::string_view text, std::string_view key) {
    for (std::size_t at = text.find(key); at != std::string_view::npos;
         at = text.find(key, at + 1)) {
        if (at != 0 && text[at - 1] != '\n') continue;
        std::string_view number = text.substr(at + key.size());
        if (!number.starts_with(' ')) continue;
        number.remove_prefix(1);
        std::uint64_t count = 0;
        if (std::from_chars(number.data(), number.data() + number.size(), count).ec == std::errc{})
            return count;
    }
    return std::nullopt;
}

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

bool is_oom_counter(std::string_view path) {
    if (path == "/proc/vmstat") return true;
    if (!path.starts_with("/sys/fs/cgroup/") || path.find("/..") != std::string_view::npos)
        return false;
    const std::string_view name = path.substr(path.rfind('/') + 1);
    return name == "memory.oom_control" || name == own_events || name == events_below;
}

std::optional<std::uint64_t> group_memory_peak(const OomBaseline& baseline) {
    return number_beside(baseline, "memory.peak", "memory.max_usage_in_bytes");
}

bool is_readable(const OomBaseline& before) { return !text_of(before.counter).empty(); }

std::optional<OomFinding> compare_oom_counter(const OomBaseline& before) {
    auto found = compare(before);
    return found ? std::optional(std::move(found->finding)) : std::nullopt;
}

// That somebody else than a suspect was the victim takes more than a pid: the last kills that the
// log knows, as many as the counter rose by, all in this very group, all of other processes. Where
// the log leaves one of their groups or thread groups out, nothing is proven.
void name_victims(OomFinding& finding, const OomBaseline& before, std::uint64_t rise,
                  const OomLog& log, const std::vector<OomSuspect>& suspects, bool groups_agree,
                  OomTold told) {
    constexpr std::size_t most_told = 8;
    constexpr std::int64_t slack_us = 100'000;
    const auto is_ours = [&](const OomVictim& victim) {
        return groups_agree && !before.group.empty() && victim.group == before.group;
    };
    std::vector<const OomVictim*> possible;  // but for the suspects
    std::uint64_t untold = rise;
    for (const OomVictim& victim : log.victims()) {
        if (const OomSuspect* suspect = suspect_hit(suspects, victim, before)) {
            name_suspect(finding, *suspect);
            if (untold > 0) --untold;
        } else if (!victim.group || !groups_agree || is_ours(victim)) {
            possible.push_back(&victim);
        }
    }
    if (untold == 0) return;
    const auto last = possible.end() -
                      static_cast<std::ptrdiff_t>(std::min<std::uint64_t>(untold, possible.size()));
    const bool all_are_told = untold <= possible.size() && log.is_complete() &&
                              std::all_of(last, possible.end(), [&](const OomVictim* victim) {
                                  return is_ours(*victim) && victim->thread_group;
                              });
    finding.others_were_the_victims = all_are_told && untold == rise;
    if (told == OomTold::of_suspects) return;
    std::uint64_t count = 0;
    for (auto each = all_are_told ? last : possible.begin(); each != possible.end(); ++each) {
        const OomVictim& victim = **each;
        if (!all_are_told && victim.at_us < before.at_us - slack_us) continue;
        if (++count > most_told) continue;
        finding.evidence.push_back(
            all_are_told ? "victim was " + in_words(victim) +
                               ", not the worker, in the same group (/dev/kmsg)"
                         : "/dev/kmsg names a victim of that time, perhaps of another group: " +
                               in_words(victim));
    }
    if (count > most_told)
        finding.evidence.push_back("and " + std::to_string(count - most_told) + " victims more");
}

std::optional<OomFinding> look_for_oom(const OomBaseline& before, const ShimIdentity& here,
                                       const std::vector<OomSuspect>& suspects, OomTold told) {
    auto found = compare(before);
    if (!found) return std::nullopt;
    OomFinding& finding = found->finding;
    if (!log_counts_our_pids(here)) {
        finding.evidence.emplace_back(
            "whom it hit cannot be told: the kernel's log counts pids of another namespace");
        return finding;
    }
    const auto log = read_log_up_to(
        [&](const OomLog& so_far) { return has_victims_since(so_far, before, found->rise); }, 5);
    if (log)
        name_victims(finding, before, found->rise, *log, suspects,
                     is_in_the_initial_cgroup_namespace(), told);
    else
        finding.evidence.emplace_back("whom it hit cannot be told: /dev/kmsg may not be read");
    return finding;
}

std::optional<OomFinding> victims_among(const std::vector<OomSuspect>& suspects,
                                        const OomBaseline& before, const OomLog& log,
                                        bool groups_agree,
                                        const std::optional<std::string>& only_group) {
    OomFinding finding;
    for (const OomVictim& victim : log.victims()) {
        if (only_group && !(groups_agree && victim.group == only_group)) continue;
        const OomSuspect* suspect = suspect_hit(suspects, victim, before);
        if (suspect == nullptr) continue;
        name_suspect(finding, *suspect);
        if (suspect->who == OomSuspect::worker && groups_agree && victim.group)
            finding.group = *victim.group;
    }
    return finding.evidence.empty() ? std::nullopt : std::optional(std::move(finding));
}

std::optional<OomFinding> look_for_oom_in_log(const OomBaseline& before, const ShimIdentity& here,
                                              const std::vector<OomSuspect>& suspects,
                                              const std::optional<std::string>& only_group) {
    if (!log_counts_our_pids(here)) return std::nullopt;
    // Many machines never had one, and are spared the reading of a log that gives a record a call.
    const auto kills = oom_kills_since_boot();
    if (kills == 0) return std::nullopt;
    // Nothing says that one of them is ours, and the end's record must not be late: once, and not
    // at all if the log tells of every kill that was counted.
    const auto log = read_log_up_to(
        [&](const OomLog& so_far) {
            return has_victims_since(so_far, before, 1) ||
                   (kills && so_far.victims().size() >= *kills);
        },
        1);
    if (!log) return std::nullopt;
    return victims_among(suspects, before, *log, is_in_the_initial_cgroup_namespace(), only_group);
}

}  // namespace jobshim
