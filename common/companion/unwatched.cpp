#include "common/companion/unwatched.hpp"

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
    const std::int64_t began = begin_of(record);
    if (began != 0 && worker.started > began + start_tolerance_ms && !worker.is_the_plugins)
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
