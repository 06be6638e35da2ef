// For programs that ask for a verdict themselves: what `jobctl status` does, as a function. This is
// the library's public header; docs/cpp.md shows how to link it.
//
// Caveats: no promise of a stable ABI: it is a static library, to be built with the compiler that
// builds its user. Looking takes a few milliseconds; where a process may be about to die or a
// writer is at work, up to two seconds or so. Thread-safe as long as the threads look at different
// jobs: a POSIX record lock belongs to the whole process, so two looks at one job at a time do not
// keep each other from writing.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "words.hpp"

namespace jobshim {

// How a job ended. What is unknown is empty, never 0 or -1.
struct JobEnd {
    ExitReason reason = ExitReason::unknown;
    Certainty certainty = Certainty::unknown;
    std::optional<int> code;    // the worker's exit status
    std::optional<int> signal;  // that killed it
    std::optional<bool> core_dumped;
    std::string ended_at;  // ISO 8601, UTC; "" if unknown
    std::optional<std::chrono::milliseconds> duration;
};

struct Job {
    std::string id;
    std::string title;  // "" if it has none
    std::string file;   // absolute
    State state = State::unknown;
    std::string because;  // why, in one sentence
    bool has_ended = false;
    // The end of the run that the verdict is about; nothing while it goes on, or if the record does
    // not say.
    std::optional<JobEnd> end;
    // Since the last heartbeat; nothing without one, negative if it is dated in the future.
    std::optional<std::chrono::milliseconds> last_beat_age;
    std::string record;        // the job file's text, as it was read; "" if it is not a JSON object
    std::string not_recorded;  // why the end of a dead job could not be recorded; "" otherwise
};

// What to do about a job that is certainly dead although its record says otherwise.
enum class Settling {
    if_dead,  // record its end, as jobctl does; another user's job is never changed
    never,    // only say so: State::lost
};

// The job with this job file; nothing if there is none, and no shim holds one. Never throws because
// of what is in the file. Throws std::system_error if the system keeps us from looking,
// std::runtime_error for a path that cannot be a job file's, or one that is not to be trusted
// (another user's symbolic link).
std::optional<Job> read_job(const std::string& file, Settling settling = Settling::if_dead);

// Where jobs without --job have their files: "$XDG_STATE_HOME/jobshim/jobs", else
// "$HOME/.local/state/jobshim/jobs". Throws std::runtime_error if neither variable is an absolute
// path.
std::string default_job_directory();

}  // namespace jobshim
