// What has happened to a job between two looks at it. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "common/exit_reason.hpp"

namespace jobshim {

enum class Phase {
    nothing,   // nobody was told of the job
    appeared,  // its file is there; nothing runs yet, or an earlier run is over
    started,
    stalled,
    orphaned,
    unknown,
    ended,
};

// A run of a job. 0: none; `earlier_run`: one that is over, and no more is known of it.
using RunKey = std::uint64_t;
constexpr RunKey earlier_run = 1;

// What a reader was told last.
struct Told {
    Phase phase = Phase::nothing;
    RunKey run = 0;
    bool started = false;                       // also told that this run had started
    std::optional<std::int64_t> ended_ms = {};  // when the last run ended of which that was told

    bool is_going_on() const {
        return run != 0 && phase != Phase::nothing && phase != Phase::ended;
    }
};

// The end of a run, as far as it is on record.
struct RunEnd {
    std::optional<std::int64_t> at_ms;            // since 1970
    bool was_settled = false;                     // a reader concluded it: no shim saw it
    std::optional<std::int64_t> started_ms = {};  // when the run began; nothing: no worker ended
};
RunEnd run_end_of(const ExitRecord& exit);
// Of the JSON text of an `exit`.
RunEnd run_end_in(std::string_view exit);

struct Seen {
    Phase phase = Phase::unknown;  // neither `nothing` nor ended for a job that is still there
    RunKey run = 0;
    bool is_queued = false;
    bool has_worker = false;  // its worker was started
    bool is_closing = false;  // its record is final, but its shim is still alive
    std::int64_t now_ms = 0;  // when it was looked at, since 1970
    std::optional<std::int64_t> created_ms;
    std::optional<std::int64_t> started_ms;
    RunEnd end;  // if it has ended
    // The run that the record still holds the end of, if it is not `run`.
    RunKey recorded_run = 0;
    RunEnd recorded_end;
    bool has_former_run = false;
    RunEnd former_end;  // of the run before `run`
};

struct JobEvent {
    enum class Kind { appeared, started, stalled, resumed, orphaned, ended, settled, unknown };
    Kind kind;
    std::int64_t time_ms;
    RunKey run;
};
std::string_view word(JobEvent::Kind kind);

// Brings `told` up to date. `is_first`: the reader has just begun, and wants only the present state
// of what it was not told of before.
std::vector<JobEvent> tell(Told& told, const Seen& seen, bool is_first);

}  // namespace jobshim
