#include "common/reader.hpp"

#include <utility>

#include "common/settle.hpp"

namespace jobshim {

namespace {

JobEnd shown(const ExitRecord& exit) {
    JobEnd end{.reason = exit.reason,
               .certainty = exit.certainty,
               .code = exit.code,
               .signal = exit.signal,
               .core_dumped = exit.core_dumped,
               .ended_at = exit.ended_at,
               .duration = {}};
    if (exit.duration_ms) end.duration = std::chrono::milliseconds(*exit.duration_ms);
    return end;
}

}  // namespace

std::optional<Job> read_job(const std::string& file, Settling settling) {
    const auto files = job_files_if_reachable(file);
    if (!files) return std::nullopt;
    Observer observer;
    observer.here = identity_of_this_process(own_process_stat());
    observer.state_directory = state_directory_if_any();
    const Settled settled = look(*files, observer, settling == Settling::if_dead);
    const Observation& seen = settled.now;
    if (is_gone(seen)) return std::nullopt;
    Job job;
    job.id = id_of(seen.document, files->name);
    job.file = files->path;
    job.state = seen.verdict.state;
    job.because = seen.verdict.because;
    job.has_ended = seen.verdict.ended;
    job.last_beat_age = seen.sighting.beat_age;
    job.not_recorded = settled.unwritable;
    if (const auto exit = end_of(settled)) job.end = shown(*exit);
    if (seen.document) {
        job.title = seen.document->string("title").value_or("");
        job.record = seen.document->text();
    }
    return job;
}

std::string default_job_directory() { return state_directory() + "/jobs"; }

}  // namespace jobshim
