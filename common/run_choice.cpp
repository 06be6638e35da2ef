#include "common/run_choice.hpp"

#include <chrono>
#include <cstdint>
#include <string_view>
#include <utility>

#include "common/units.hpp"
#include "common/verdict.hpp"

namespace jobshim {

namespace {

std::string_view last_name(std::string_view path) { return path.substr(path.rfind('/') + 1); }

std::int64_t time_or_0(const std::string& iso) { return parse_iso_time(iso).value_or(0); }

// True if the heartbeat file's run is later than the recorded one. Within a boot, start times are
// exact; across boots, the run of the current boot is later; the wall clock is the last resort.
bool heartbeat_is_later(const RunSigns& signs) {
    const ShimIdentity& beating = signs.beat.run->shim;
    const ShimIdentity& recorded = signs.recorded->shim;
    if (beating.boot_id == recorded.boot_id && beating.start_time && recorded.start_time)
        return *beating.start_time > *recorded.start_time;
    if (beating.boot_id == signs.boot_id || recorded.boot_id == signs.boot_id)
        return beating.boot_id == signs.boot_id;
    return time_or_0(signs.beat.started_at) > time_or_0(signs.started_at);
}

bool names_a_process_of(const RunRecord& run, const std::string& pid) {
    return pid == std::to_string(run.shim.pid) ||
           (run.worker && pid == std::to_string(run.worker->pid));
}

// When the heartbeat file's run was over, as far as that shows; 0 if it does not. A shim that is
// dead was so at the latest when its heartbeat was overdue.
std::int64_t over_at(const RunSigns& signs) {
    if (signs.beat.last) return time_or_0(signs.beat.last->exit.ended_at);
    const std::chrono::milliseconds interval(signs.beat.run->interval_ms);
    return signs.last_beat_ms == 0 ? 0 : signs.last_beat_ms + overdue_after(interval).count();
}

// True if the record requests a run later than the heartbeat file's: it was created after that run
// began, or changed after that run was over. If not, an active record beside a known end is an old
// copy that the host wrote back.
bool asks_for_a_new_run(const RunSigns& signs) {
    const std::int64_t began = time_or_0(signs.beat.started_at);
    const std::int64_t over = over_at(signs);
    if (began != 0 && time_or_0(signs.created_at) > began) return true;
    if (over == 0) return false;
    if (signs.beat.last && time_or_0(signs.started_at) > over) return true;
    // A host that writes its old copy back late gives it a late time, so that means nothing in a
    // record that says `running`, or that names a process of that run.
    if (signs.status != Status::queued || names_a_process_of(*signs.beat.run, signs.pid))
        return false;
    const std::int64_t updated = time_or_0(signs.updated_at);
    if (updated != 0) return updated > over;
    // Some hosts write no times; the file has one. But a file's time may be some milliseconds
    // behind the clock (the kernel's tick), so it is compared with that of the heartbeat file,
    // which was written at the end.
    return signs.written_ms > over ||
           (signs.beat.last && signs.last_beat_ms != 0 && signs.written_ms >= signs.last_beat_ms);
}

}  // namespace

RunChoice choose_run(RunSigns signs) {
    std::optional<RunRecord>& recorded = signs.recorded;
    Heartbeat& beat = signs.beat;
    const bool of_the_same_run = beat.run && recorded && beat.run->shim == recorded->shim;
    RunChoice choice;
    // Another job's stale heartbeat file (the job file was renamed). But if the record names the
    // same shim, only the directory's path changed: it was moved, or mounted elsewhere.
    if (!of_the_same_run && !beat.job_file.empty() && beat.job_file != signs.job_file) {
        // A directory that was moved keeps the names of its jobs.
        if (last_name(beat.job_file) != last_name(signs.job_file)) {
            choice.heartbeat_is_anothers = signs.lock_is_held;
            signs.lock_is_held = false;
        }
        beat = {};
    }
    const bool is_over_but_active =
        !signs.lock_is_held && is_active(signs.status) && recorded && recorded->exit;

    choice.has_run_before = recorded && recorded->exit;
    choice.new_run_began =
        signs.lock_is_held && recorded && beat.run && beat.run->shim != recorded->shim;
    if (of_the_same_run) {
        // Whom to signal, and whether to, is only the heartbeat file's to say: fewer can write it.
        choice.heartbeat_agrees = beat.run->worker || !recorded->worker;
        if (beat.run->worker) recorded->worker = beat.run->worker;
        recorded->kill_on_shim_death = beat.run->kill_on_shim_death;
        choice.oom = beat.oom;
        choice.activity = beat.activity;
        choice.worker_was_started = recorded->worker.has_value();
        // It has ended, and then somebody made the record active again: with a new request (then
        // this run is not it), or because the host wrote its old copy back. No copy of a record
        // with this run in it says `queued`.
        const bool is_queued_again =
            !signs.lock_is_held && signs.status == Status::queued && (beat.last || recorded->exit);
        if (is_queued_again || (is_over_but_active && asks_for_a_new_run(signs))) return choice;
        if (!is_final(signs.status) || !recorded->exit) choice.known_end = beat.last;
        choice.run = std::move(recorded);
    } else if (beat.run && (signs.lock_is_held || !recorded || heartbeat_is_later(signs))) {
        if (!signs.lock_is_held && is_active(signs.status) && asks_for_a_new_run(signs))
            return choice;
        choice.heartbeat_agrees = true;
        choice.oom = beat.oom;
        choice.activity = beat.activity;
        choice.worker_was_started = beat.run->worker.has_value();
        // If another run's record has a final status, this run's end is not added to it.
        if (!is_final(signs.status)) choice.known_end = beat.last;
        choice.run = std::move(beat.run);
    } else if (recorded && !is_over_but_active) {
        choice.run = std::move(recorded);
        // Without the run's own heartbeat file, nobody can say that the worker never started.
        choice.worker_was_started = true;
    }
    return choice;
}

}  // namespace jobshim
