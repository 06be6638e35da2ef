#include "common/companion/unwatched.hpp"

#include <algorithm>
#include <array>

#include "common/record_limits.hpp"
#include "common/units.hpp"

namespace jobshim {

namespace {

constexpr std::int64_t start_tolerance_ms = 2000;
constexpr std::int64_t queued_at_most_ms = 60'000;

std::optional<std::int64_t> time_in(const JobDocument& record, std::string_view key) {
    const auto text = record.string(key);
    return text ? parse_iso_time(*text) : std::nullopt;
}

std::string_view last_component(std::string_view path) {
    return path.substr(path.rfind('/') + 1);  // npos + 1 is 0
}

// The first argument, which is taken off the command line.
std::string_view take_word(std::string_view& command_line) {
    const std::string_view word = command_line.substr(0, command_line.find('\0'));
    command_line.remove_prefix(std::min(word.size() + 1, command_line.size()));
    return word;
}

bool is_companion_script(std::string_view path) {
    const std::string_view name = last_component(path);
    const std::string_view stem = name.substr(0, name.rfind('.'));
    const std::string_view suffix = name.substr(stem.size());
    constexpr std::array<std::string_view, 5> suffixes{".mjs", ".js", ".cjs", ".mts", ".ts"};
    return stem.ends_with("-companion") &&
           std::find(suffixes.begin(), suffixes.end(), suffix) != suffixes.end();
}

Verdict dead(const std::string& because) { return {State::lost, because, false, true}; }

Verdict judge_without_pid(const JobDocument& record, std::int64_t now) {
    if (record.status() != Status::queued)
        return {State::unknown, "The record says that it is running, but names no process."};
    const auto created = time_in(record, "createdAt");
    if (created && now - *created > queued_at_most_ms)
        return dead("Never started: it was queued for more than 60 s without a process.");
    return {State::queued, "Not started yet."};
}

}  // namespace

std::optional<int> worker_pid_in(const JobDocument& record) {
    const auto pid = parse_count(record.value("pid").value_or(""));
    if (!pid || !possible_pids.contains(*pid)) return std::nullopt;
    return static_cast<int>(*pid);
}

std::int64_t begin_of(const JobDocument& record) {
    for (const char* key : {"startedAt", "createdAt"})
        if (const auto time = time_in(record, key)) return *time;
    return 0;
}

// A name that another script is given does not count. But a worker that is not recognized may be
// called dead, which is worse than the opposite. So any program will do, in a shell too; what might
// be an option's value, or a word such as "run", is not taken for the script that ends the search;
// and no plugin is looked for around it: an update removes that while workers run.
bool runs_companion(std::string_view command_line) {
    take_word(command_line);
    bool may_be_value = false;
    while (!command_line.empty()) {
        const std::string_view word = take_word(command_line);
        if (is_companion_script(word)) return true;
        const bool is_option = word.starts_with('-');
        const bool is_path = word.find_first_of("./") != std::string_view::npos;
        if (is_path && !is_option && !may_be_value) return false;
        may_be_value = is_option && word.find('=') == std::string_view::npos;
    }
    return false;
}

bool cancels_jobs(std::string_view command_line) {
    while (!command_line.empty()) {
        const std::string_view word = take_word(command_line);
        const std::string_view next = command_line.substr(0, command_line.find('\0'));
        if (is_companion_script(word) && next == "cancel") return true;
        if (last_component(word) == "session-lifecycle-hook.mjs" && next == "SessionEnd")
            return true;
    }
    return false;
}

Verdict judge_unwatched(const JobDocument& record, const UnwatchedWorker& worker,
                        std::int64_t now) {
    const Status status = record.status();
    if (!is_active(status))
        return {State::unknown, "The record's status is not one that jobctl knows."};
    const auto pid = worker_pid_in(record);
    if (!pid) return judge_without_pid(record, now);
    const std::string name = "worker (pid " + std::to_string(*pid) + ")";
    switch (worker.liveness) {
        case Liveness::dead:
            return dead("The " + name + " is gone; how it ended is unknown.");
        case Liveness::unknowable:
        case Liveness::none:
            return {State::unknown,
                    "Whether its " + name + " is alive cannot be determined from here."};
        case Liveness::alive:
            break;
    }
    // A pid is written while its process exists, but some write it long after the job's first
    // times.
    const std::int64_t written =
        std::max(begin_of(record), time_in(record, "updatedAt").value_or(0));
    if (written != 0 && worker.started > written + start_tolerance_ms && !worker.is_the_plugins)
        return dead(
            "The " + name +
            " is gone, and its pid now belongs to another process; how it ended is unknown.");
    return {status == Status::queued ? State::queued : State::running,
            "The " + name + " is alive; no shim supervises it."};
}

Conclusion inferred_end(const Verdict& verdict, const std::string& now) {
    Conclusion last;
    last.status = Status::failed;
    last.sentence = verdict.because;
    last.exit.reason = ExitReason::unknown;
    last.exit.certainty = Certainty::inferred;
    last.exit.evidence.emplace_back(
        "no shim supervised it; two checks, one second apart, found it dead");
    last.exit.ended_at = now;
    return last;
}

}  // namespace jobshim
