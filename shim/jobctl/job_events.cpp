#include "shim/jobctl/job_events.hpp"

#include "common/json_text.hpp"
#include "common/units.hpp"

namespace jobshim {

namespace {

using Kind = JobEvent::Kind;

// No shim writes these. One that was waited for has its resources on record; a reader that sees an
// orphan end does not know them.
bool was_settled(ExitReason reason, Certainty certainty, bool saw_status, bool has_resources) {
    switch (reason) {
        case ExitReason::shim_lost:
        case ExitReason::host_rebooted:
        case ExitReason::unknown:
            return true;
        case ExitReason::cancelled:
            if (certainty == Certainty::inferred) return true;
            break;
        case ExitReason::success:
        case ExitReason::exit_code:
        case ExitReason::signal:
        case ExitReason::core_dump:
        case ExitReason::oom_kill:
        case ExitReason::timeout:
        case ExitReason::spawn_failed:
        case ExitReason::no_result:
            break;
    }
    return certainty == Certainty::told || certainty == Certainty::presumed ||
           (saw_status && !has_resources);
}

bool is_there(std::string_view json) { return !json.empty() && json != "null"; }

std::string word_in(std::string_view object, std::string_view key) {
    const std::string_view literal = find_json_member(object, key);
    return literal.starts_with('"') ? decode_json_string(literal) : std::string();
}

std::optional<std::int64_t> number_in(std::string_view object, std::string_view key) {
    const auto number = parse_count(find_json_member(object, key));
    return number ? std::optional(static_cast<std::int64_t>(*number)) : std::nullopt;
}

// A run whose length is not on record, or is not possible, began no later than it ended.
std::optional<std::int64_t> start_of(std::optional<std::int64_t> end_ms,
                                     std::optional<std::int64_t> duration_ms) {
    if (!end_ms) return std::nullopt;
    const std::int64_t duration = duration_ms.value_or(0);
    return duration > 0 && duration <= *end_ms ? *end_ms - duration : *end_ms;
}

class Teller {
public:
    Teller(Told& told, const Seen& seen, bool is_first)
        : told_(told), seen_(seen), is_first_(is_first) {}

    std::vector<JobEvent> run() {
        end_the_former_run();
        const RunKey run = seen_.run != 0 || seen_.is_queued ? seen_.run : told_.run;
        if (told_.phase == Phase::ended && run == told_.run && !seen_.is_queued)
            return std::move(events_);
        if (told_.phase != Phase::nothing && run != told_.run) {
            // It is known already, so it does not appear again.
            told_ = {Phase::appeared, run, false, told_.ended_ms};
        }
        told_.run = run;
        if (told_.phase == Phase::ended) told_ = {Phase::appeared, run, false, told_.ended_ms};
        tell_the_present();
        if (!seen_.is_closing || told_.phase == Phase::nothing) told_.phase = seen_.phase;
        return std::move(events_);
    }

private:
    // Another run has begun before the end of the last one was looked at.
    void end_the_former_run() {
        const bool is_another =
            (seen_.run != 0 && seen_.run != told_.run) || (seen_.is_queued && told_.run != 0);
        if (told_.is_going_on() && told_.run == seen_.recorded_run)
            end_with(seen_.recorded_end);
        else if (told_.is_going_on() && is_another)
            end_with(seen_.former_end);
        else if (told_.phase == Phase::ended && is_another && told_.ended_ms &&
                 seen_.former_end.at_ms.value_or(0) > *told_.ended_ms)
            end_of_run_between(seen_.former_end);
    }

    // Of one that began and ended between two looks.
    void end_of_run_between(const RunEnd& end) {
        told_.started = false;
        end_with(end);
    }

    void end_with(const RunEnd& end) {
        if (!told_.started && end.started_ms) add(Kind::started, end.started_ms);
        add(end_kind(end), end.at_ms);
        told_ = {Phase::ended, told_.run, true, end.at_ms};
    }

    void tell_the_present() {
        if (is_first_ && told_.phase == Phase::nothing) {
            told_.started = seen_.has_worker;
            return tell_phase();
        }
        if (told_.phase == Phase::nothing && seen_.phase != Phase::unknown) tell_of_appearance();
        if (!told_.started && seen_.has_worker && seen_.phase != Phase::unknown) tell_of_start();
        if (seen_.phase != told_.phase && !seen_.is_closing) tell_phase();
    }

    void tell_of_appearance() {
        add(Kind::appeared, seen_.created_ms);
        told_.phase = Phase::appeared;
    }

    void tell_of_start() {
        add(Kind::started, seen_.started_ms);
        told_.started = true;
        told_.phase = Phase::started;
    }

    void tell_phase() {
        switch (seen_.phase) {
            case Phase::nothing:
                return;
            case Phase::appeared:
                // A job that was stalled before its worker started.
                if (told_.phase == Phase::nothing) add(Kind::appeared, seen_.created_ms);
                return;
            case Phase::started:
                if (told_.phase == Phase::nothing)
                    add(Kind::started, seen_.started_ms);
                else
                    add(Kind::resumed);
                return;
            case Phase::stalled:
                return add(Kind::stalled);
            case Phase::orphaned:
                return add(Kind::orphaned);
            case Phase::unknown:
                return add(Kind::unknown);
            case Phase::ended:
                told_.ended_ms = seen_.end.at_ms;
                return add(end_kind(seen_.end), seen_.end.at_ms);
        }
    }

    static Kind end_kind(const RunEnd& end) {
        return end.was_settled ? Kind::settled : Kind::ended;
    }

    // What no record gives a time for has happened now.
    void add(Kind kind, std::optional<std::int64_t> time_ms = std::nullopt) {
        events_.push_back({kind, time_ms.value_or(seen_.now_ms), told_.run});
    }

    Told& told_;
    const Seen& seen_;
    const bool is_first_;
    std::vector<JobEvent> events_;
};

}  // namespace

RunEnd run_end_of(const ExitRecord& exit) {
    RunEnd end{parse_iso_time(exit.ended_at),
               was_settled(exit.reason, exit.certainty, exit.wait_status.has_value(),
                           exit.resources.has_value())};
    if (exit.wait_status) end.started_ms = start_of(end.at_ms, exit.duration_ms);
    return end;
}

RunEnd run_end_in(std::string_view exit) {
    if (!exit.starts_with('{')) return {};
    const auto reason = exit_reason_from(word_in(exit, "reason"));
    const auto certainty = certainty_from(word_in(exit, "certainty"));
    const bool saw_status = is_there(find_json_member(exit, "waitStatus"));
    RunEnd end{
        parse_iso_time(word_in(exit, "endedAt")),
        was_settled(reason.value_or(ExitReason::unknown), certainty.value_or(Certainty::unknown),
                    saw_status, is_there(find_json_member(exit, "resources")))};
    if (saw_status) end.started_ms = start_of(end.at_ms, number_in(exit, "durationMs"));
    return end;
}

std::string_view word(JobEvent::Kind kind) {
    switch (kind) {
        case Kind::appeared:
            return "appeared";
        case Kind::started:
            return "started";
        case Kind::stalled:
            return "stalled";
        case Kind::resumed:
            return "resumed";
        case Kind::orphaned:
            return "orphaned";
        case Kind::ended:
            return "ended";
        case Kind::settled:
            return "settled";
        case Kind::unknown:
            return "unknown";
    }
    return "unknown";
}

std::vector<JobEvent> tell(Told& told, const Seen& seen, bool is_first) {
    return Teller(told, seen, is_first).run();
}

}  // namespace jobshim
