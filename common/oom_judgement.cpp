#include "common/oom_judgement.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include "common/units.hpp"

namespace jobshim {

namespace {

std::string directory_of_file(const std::string& path) { return path.substr(0, path.rfind('/')); }
std::string name_of_file(const std::string& path) { return path.substr(path.rfind('/') + 1); }

// How much a counter rose.
std::uint64_t rise(std::optional<std::uint64_t> before, std::optional<std::uint64_t> now) {
    return before && now && *now > *before ? *now - *before : 0;
}

std::string change(const std::string& what, std::uint64_t before, std::uint64_t by) {
    return what + " " + std::to_string(before) + " -> " + std::to_string(before + by);
}

// The most that the kernel log's clock is said to drift from one that NTP disciplines.
std::int64_t drift_until(std::int64_t at_us) { return 1'000'000 + at_us / 2000; }

std::string describe(const OomVictim& victim) {
    return "pid " + std::to_string(victim.pid) + " (" + printable(victim.name) + ")";
}

bool is_of_process(const OomVictim& victim, int pid) {
    return victim.pid == pid || victim.thread_group == pid;
}

// A suspect is identified by its pid and by the time, because pids are reused.
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

OomCounters oom_counters_in(std::string_view text, std::string_view text_below) {
    return {counter_in(text, "oom_kill"), counter_in(text, "oom_group_kill"),
            counter_in(text_below, "oom_kill")};
}

std::string oom_counter_below(const std::string& counter) {
    if (name_of_file(counter) != own_events) return "";
    return directory_of_file(counter) + "/" + std::string(events_below);
}

std::optional<OomRise> judge_oom_counters(const OomBaseline& before, const OomCounters& now) {
    const bool is_of_a_group = !before.group.empty();
    const std::string counter = name_of_file(before.counter);
    OomRise result;
    result.kills = rise(before.kills, now.kills);
    const std::uint64_t whole_group = rise(before.group_kills, now.group_kills);
    const std::uint64_t below = rise(before.kills_below, now.kills_below);
    if (result.kills == 0 && whole_group == 0 && below == 0) return std::nullopt;
    OomFinding& finding = result.finding;
    finding.counter_rose = is_of_a_group && (result.kills > 0 || whole_group > 0);
    finding.group = before.group;
    const std::string where = is_of_a_group ? " in " + before.group : " on this machine";
    if (result.kills > 0)
        finding.evidence.push_back(change(counter + " oom_kill", before.kills, result.kills) +
                                   where);
    if (whole_group > 0) {
        // memory.events also counts the cgroups below, and the worker need not be in one of those.
        const bool is_its_own = is_of_a_group && counter == own_events;
        finding.worker_was_the_victim = finding.shim_was_the_victim = is_its_own;
        finding.evidence.push_back(
            change(counter + " oom_group_kill", *before.group_kills, whole_group) + where +
            (is_its_own ? ": the whole cgroup was killed" : " or a cgroup below it"));
    }
    if (below > result.kills)
        finding.evidence.push_back(change("memory.events oom_kill", *before.kills_below, below) +
                                   where + " and the cgroups below it");
    return result;
}

bool has_victims_since(const OomLog& log, const OomBaseline& before, std::uint64_t wanted) {
    const auto since =
        std::count_if(log.victims().begin(), log.victims().end(),
                      [&](const OomVictim& victim) { return victim.at_us >= before.at_us; });
    return static_cast<std::uint64_t>(since) >= wanted;
}

// Proof that no suspect was the victim takes more than a pid: the last kills in the log, as many as
// the counter rose by, must all be in this very cgroup and all of other processes. If the log omits
// the cgroup or thread group of any of them, nothing is proven.
void name_victims(OomFinding& finding, const OomBaseline& before, std::uint64_t rise,
                  const OomLog& log, const std::vector<OomSuspect>& suspects, bool groups_agree,
                  OomDisclosure disclosure) {
    constexpr std::size_t max_named = 8;
    constexpr std::int64_t slack_us = 100'000;
    const auto is_ours = [&](const OomVictim& victim) {
        return groups_agree && !before.group.empty() && victim.group == before.group;
    };
    std::vector<const OomVictim*> possible;  // other than the suspects
    std::uint64_t unexplained = rise;
    for (const OomVictim& victim : log.victims()) {
        if (const OomSuspect* suspect = suspect_hit(suspects, victim, before)) {
            name_suspect(finding, *suspect);
            if (unexplained > 0) --unexplained;
        } else if (!victim.group || !groups_agree || is_ours(victim)) {
            possible.push_back(&victim);
        }
    }
    if (unexplained == 0) return;
    const auto last = possible.end() - static_cast<std::ptrdiff_t>(
                                           std::min<std::uint64_t>(unexplained, possible.size()));
    const bool all_identified = unexplained <= possible.size() && log.is_complete_since(**last) &&
                                std::all_of(last, possible.end(), [&](const OomVictim* victim) {
                                    return is_ours(*victim) && victim->thread_group;
                                });
    finding.others_were_the_victims = all_identified && unexplained == rise;
    if (disclosure == OomDisclosure::of_suspects) return;
    std::uint64_t count = 0;
    for (auto each = all_identified ? last : possible.begin(); each != possible.end(); ++each) {
        const OomVictim& victim = **each;
        if (!all_identified && victim.at_us < before.at_us - slack_us) continue;
        if (++count > max_named) continue;
        finding.evidence.push_back(
            all_identified
                ? "victim was " + describe(victim) +
                      ", not the worker, in the same cgroup (/dev/kmsg)"
                : "/dev/kmsg names a victim from that time, possibly in another cgroup: " +
                      describe(victim));
    }
    if (count > max_named)
        finding.evidence.push_back("and " + std::to_string(count - max_named) + " more victims");
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

}  // namespace jobshim
