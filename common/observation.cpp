#include "common/observation.hpp"

#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "common/clocks.hpp"
#include "common/heartbeat_lines.hpp"
#include "common/posix_error.hpp"
#include "common/run_choice.hpp"
#include "common/torn_file.hpp"
#include "common/units.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;

std::optional<FileContents> read_job(const JobFiles& files, Observation& seen) {
    try {
        auto contents = files.directory.read_file(files.name, max_job_file_bytes);
        if (contents) files.refuse_another_owner(contents->stamp);
        return contents;
    } catch (const std::system_error& error) {
        seen.trouble = error.what();
        seen.look_failed = true;
    } catch (const std::exception& refusal) {
        seen.trouble = refusal.what();
    }
    return std::nullopt;
}

}  // namespace

struct Observer::Outlived {
    std::vector<WorkerIdentity> workers;
};

std::shared_ptr<Observer::Outlived> Observer::make_outlived() {
    return std::make_shared<Outlived>();
}

namespace {

// A worker that was to be killed with its shim gets some time to die.
Liveness look_up_worker(const RunRecord& run, const Observer& observer) {
    const WorkerIdentity& worker = *run.worker;
    auto& outlived = observer.outlived->workers;
    const bool is_known = std::find(outlived.begin(), outlived.end(), worker) != outlived.end();
    const milliseconds patience =
        observer.patience(run.kill_on_shim_death && !is_known ? death_patience : milliseconds(0));
    const Liveness liveness = look_up_patiently(worker.pid, worker.start_time, patience);
    if (liveness == Liveness::alive && patience == death_patience) outlived.push_back(worker);
    return liveness;
}

}  // namespace

milliseconds Observer::patience(milliseconds whole) const {
    if (!deadline) return whole;
    const auto left = std::chrono::duration_cast<milliseconds>(*deadline - monotonic_now());
    return std::clamp(left, milliseconds(0), whole);
}

void Observer::hurry(milliseconds whole) {
    const auto then = monotonic_now() + whole;
    deadline = std::min(deadline.value_or(then), then);
}

bool Observer::is_late() const { return deadline && monotonic_now() >= *deadline; }

namespace {

// Of a file that was evidence when it was looked at.
std::optional<FoundRequest> read_request(const JobFiles& files, const std::string& name,
                                         const ShimIdentity& run) {
    try {
        if (const auto link = files.directory.link_at(name)) {
            auto request = parse_short_cancel_request(link->target);
            if (!request || !counts_for(files.owner(), link->owner)) return std::nullopt;
            request->run.boot_id = run.boot_id;
            if (!request->run.is_same_process_as(run)) return std::nullopt;
            request->run = run;
            if (!request->what.by.uid) request->what.by.uid = link->owner;
            return FoundRequest{*std::move(request), name};
        }
        const auto contents = files.directory.read_file(name, 65536);
        if (!contents || !files.is_evidence(contents->stamp)) return std::nullopt;
        auto request = parse_cancel_request(contents->text);
        if (!request || !request->run.is_same_process_as(run)) return std::nullopt;
        if (!request->what.by.uid) request->what.by.uid = contents->stamp.owner;
        return FoundRequest{*std::move(request), name};
    } catch (const std::exception&) {
        return std::nullopt;
    }
}

}  // namespace

std::optional<FoundRequest> find_cancel_request(const JobFiles& files, const ShimIdentity& run,
                                                const Observer& observer) {
    const auto there = files.directory.stamp_if_known(files.cancel);
    const bool is_ours = there && files.may_be_request(*there);
    if (is_ours)
        if (auto found = read_request(files, files.cancel, run)) return found;
    // Where others can take the name, or something else has it, a request may have another.
    const bool is_shared =
        others_may_write(files.directory.mode()) || files.directory.owner() != files.owner();
    if (!is_shared && (!there || is_ours)) return std::nullopt;
    if (observer.is_late())
        throw Refusal(files.directory.path() + ": there was no time to search it");
    std::vector<std::string> names;
    try {
        files.directory.for_each_name([&](std::string_view name) {
            if (name.starts_with(files.cancel + "-")) names.emplace_back(name);
        });
    } catch (const std::system_error&) {
        return std::nullopt;
    }
    // Of the owner's there is one, or a few that were left. Those of others are only looked at.
    int left_to_read = 16;
    for (const std::string& name : names) {
        const auto stamp = files.directory.stamp_if_known(name);
        if (!stamp || !files.may_be_request(*stamp)) continue;
        if (left_to_read-- == 0)
            throw Refusal(files.directory.path() + ": too many requests to cancel " + files.name);
        if (auto found = read_request(files, name, run)) return found;
        if (observer.is_late())
            throw Refusal(files.directory.path() + ": there was no time to search it");
    }
    return std::nullopt;
}

std::optional<FoundCopy> find_unrecorded(const JobFiles& files, const Observer& observer,
                                         const ShimIdentity& shim) {
    if (observer.state_directory.empty()) return std::nullopt;
    auto directory = Directory::open_if_there(unrecorded_directory(observer.state_directory));
    if (!directory) return std::nullopt;
    std::string name = unrecorded_name(shim);
    const auto there = directory->stamp_at(name);
    if (!there || !files.is_evidence(*there)) return std::nullopt;
    const auto contents = directory->read_file(name, max_job_file_bytes);
    if (!contents || !files.is_evidence(contents->stamp)) return std::nullopt;
    Heartbeat copy = parse_heartbeat(contents->text);
    // Any record can name this shim; the copy says whose it is.
    if (!copy.run || copy.run->shim != shim || copy.job_file != to_utf8(files.path) || !copy.last)
        return std::nullopt;
    return FoundCopy{*std::move(directory), std::move(name), *std::move(copy.last)};
}

namespace {

void find_out_which_run(Observation& seen, const JobFiles& files, const Observer& observer) {
    RunSigns signs;
    if (seen.document) {
        signs.status = seen.document->status();
        signs.recorded = seen.document->run();
        signs.created_at = seen.document->string("createdAt").value_or("");
        signs.started_at = seen.document->string("startedAt").value_or("");
        signs.updated_at = seen.document->string("updatedAt").value_or("");
        signs.pid = seen.document->value("pid").value_or("");
        signs.written_ms = seen.modified_ns / 1'000'000;
    }
    signs.beat = parse_heartbeat(seen.probe.text);
    signs.last_beat_ms = seen.probe.mtime_ns.value_or(0) / 1'000'000;
    signs.lock_is_held = seen.probe.lock == LivenessLock::held;
    signs.job_file = to_utf8(files.path);
    signs.boot_id = observer.here.boot_id;
    seen.beats_for = signs.beat.job_file;
    RunChoice choice = choose_run(std::move(signs));
    if (choice.heartbeat_is_anothers) {
        seen.probe.lock = LivenessLock::unavailable;
        seen.probe.obstacle = files.path_of(files.heartbeat) + " is the heartbeat file of " +
                              printable(seen.beats_for);
    }
    seen.run = std::move(choice.run);
    seen.known_end = std::move(choice.known_end);
    seen.oom = std::move(choice.oom);
    seen.sighting.activity = choice.activity;
    seen.heartbeat_agrees = choice.heartbeat_agrees;
    seen.worker_was_started = choice.worker_was_started;
    seen.sighting.new_run_began = choice.new_run_began;
    seen.sighting.has_run_before = choice.has_run_before;
}

void look_for_unrecorded_end(Observation& seen, const JobFiles& files, const Observer& observer) {
    if (seen.known_end || !seen.run || !is_active(seen.status())) return;
    try {
        if (auto copy = find_unrecorded(files, observer, seen.run->shim))
            seen.known_end = std::move(copy->end);
    } catch (const std::exception& error) {
        // It may hold the end, so nobody can say now that the end is unknown.
        seen.obstacle_to_the_end =
            std::string("The copy of its end cannot be read (") + error.what() + ").";
    }
}

// The wall clock of the machine that sets the file's times. On a remote file system that is the
// file server: we create a file there and read its time back.
std::optional<std::int64_t> file_clock_now(const JobFiles& files, bool local) {
    if (local) return wall_now_ms() * 1'000'000;
    if (!files.may_act()) return std::nullopt;
    const std::string name = Directory::random_name_like(own_name_beside(files.name, "clock"));
    const UniqueFd fd = files.directory.open_file(name, O_WRONLY | O_CREAT | O_EXCL);
    if (!fd) return std::nullopt;
    files.directory.remove(name);
    try {
        return stamp_of(fd.get(), name).modified_ns;
    } catch (const std::system_error&) {
        return std::nullopt;
    }
}

// At its normal end a shim removes the heartbeat file of a job that it created; a shim that dies
// leaves it. So where it is gone, a record that says `running` proves the shim's death only if
// nobody else can have written it.
bool may_be_old_copy(const Observation& seen) {
    // From the time in the record to the change on disk.
    constexpr milliseconds write_takes{500};
    const bool may_be_gone = seen.probe.lock == LivenessLock::no_file ||
                             seen.probe.lock == LivenessLock::free;  // a settler has made another
    if (seen.known_end || !may_be_gone || !seen.probe.text.empty()) return false;
    const auto updated = parse_iso_time(seen.document->string("updatedAt").value_or(""));
    return !updated || seen.changed_ns / 1'000'000 > *updated + write_takes.count();
}

// Looks up the shim and the worker, and completes the sighting.
void look_at_processes(Observation& seen, const JobFiles& files, const Observer& observer) {
    Sighting& sighting = seen.sighting;
    sighting.lock = seen.probe.lock;
    sighting.status = seen.status();
    sighting.end_is_known = seen.known_end.has_value();
    sighting.obstacle = seen.probe.obstacle;
    if (!seen.run) return;
    const RunRecord& run = *seen.run;
    sighting.shim_pid = run.shim.pid;
    sighting.worker_pid = run.worker ? run.worker->pid : 0;
    sighting.interval = milliseconds(run.interval_ms);
    if (run.stall_after_ms) sighting.stall_after = milliseconds(*run.stall_after_ms);
    seen.place = place_of(run.shim, observer.here);

    const bool active = is_active(sighting.status);
    const bool here = seen.place == Place::here;
    // A shim without its lock is about to exit (or its heartbeat file was replaced).
    const bool has_lost_its_lock = active && sighting.lock == LivenessLock::free;
    sighting.shim =
        !here ? Liveness::unknowable
              : look_up_patiently(
                    run.shim.pid, run.shim.start_time,
                    observer.patience(has_lost_its_lock ? death_patience : milliseconds(0)));
    // The lock is held, but not by the recorded shim: the next shim holds it, and is about to write
    // its first lines.
    if (sighting.lock == LivenessLock::held && sighting.shim == Liveness::dead) {
        sighting.new_run_began = true;
        seen.run.reset();
        return;
    }
    const bool shim_alive = sighting.lock == LivenessLock::held || sighting.shim == Liveness::alive;
    if (!active) return;
    const bool local = files.directory.is_local();
    if (seen.probe.mtime_ns)
        if (const auto now = file_clock_now(files, local || here))
            sighting.beat_age = milliseconds(*now / 1'000'000 - *seen.probe.mtime_ns / 1'000'000);
    if (shim_alive || sighting.shim == Liveness::unknowable) {
        sighting.rebooted = seen.place == Place::before_reboot && local && !shim_alive;
        if (!shim_alive && sighting.obstacle.empty()) {
            if (seen.place == Place::other_namespace)
                sighting.obstacle = "Its shim (pid " + std::to_string(run.shim.pid) + ") is in " +
                                    (run.shim.pid_namespace && observer.here.pid_namespace
                                         ? "another pid namespace or another time namespace"
                                         : "an unknown pid namespace");
            else if (seen.place == Place::before_reboot)
                sighting.obstacle =
                    "Its shim ran before the host was rebooted, and other hosts may share this "
                    "file system";
            else if (seen.place == Place::elsewhere)
                sighting.obstacle = "Its shim runs on " +
                                    (run.shim.host.empty() || run.shim.host == observer.here.host
                                         ? std::string("an unknown host")
                                         : "another host (" + printable(run.shim.host) + ")");
            else
                sighting.obstacle =
                    "Its shim (pid " + std::to_string(run.shim.pid) + ") cannot be looked up";
        }
        return;
    }
    // The shim is dead.
    sighting.may_be_old_copy = may_be_old_copy(seen);
    try {
        seen.cancelled = find_cancel_request(files, run.shim, observer);
    } catch (const Refusal& refusal) {
        seen.obstacle_to_the_end =
            std::string("It may have been cancelled (") + refusal.what() + ").";
    }
    if (!run.worker) {
        sighting.worker = seen.worker_was_started ? Liveness::unknowable : Liveness::none;
        return;
    }
    sighting.worker = look_up_worker(run, observer);
}

// True if a second look must agree with the first before anything is concluded.
bool rests_on_a_free_lock(const Observation& seen) {
    return seen.probe.lock != LivenessLock::held && is_active(seen.status()) &&
           (seen.run || seen.known_end);
}

Observation look_once(const JobFiles& files, const Observer& observer, const Prober& prober,
                      const TornPatience& patience) {
    Observation seen;
    seen.probe = prober ? prober() : probe_heartbeat(files);
    if (auto contents = read_job(files, seen)) {
        seen.file_exists = true;
        seen.modified_ns = contents->stamp.modified_ns;
        seen.changed_ns = contents->stamp.changed_ns;
        seen.mode = contents->stamp.mode;
        JobDocument document = JobDocument::parse(std::move(contents->text));
        if (document.fault() == JsonFault::none) {
            seen.document = std::move(document);
        } else {
            seen.is_torn = document.is_torn() &&
                           !patience.is_over_for(files.directory, files.name, contents->stamp);
            seen.trouble = files.path + ": " + document.describe_fault();
        }
    } else {
        seen.file_exists = !seen.trouble.empty();
    }
    find_out_which_run(seen, files, observer);
    look_for_unrecorded_end(seen, files, observer);
    return seen;
}

// The job file of the same run elsewhere, if this one was copied from it while that went on. A
// directory that was moved leaves none behind. "" if there is none.
std::string original_of(const Observation& seen, const JobFiles& files) {
    if (!seen.run || !is_active(seen.status()) || seen.probe.lock == LivenessLock::held ||
        !seen.beats_for.starts_with('/') || seen.beats_for == to_utf8(files.path))
        return "";
    try {
        const ActingAs acting(files.owners_identity);
        if (!acting) return "";
        const JobFiles there = job_files_of(seen.beats_for);
        if (there.name == files.name && there.directory.is_same_as(files.directory)) return "";
        const auto contents = there.directory.read_file(there.name, max_job_file_bytes);
        const JobDocument document = JobDocument::parse(contents ? contents->text : "");
        if (document.fault() != JsonFault::none) return "";
        const auto& run = document.run();
        return run && run->shim == seen.run->shim ? there.path : "";
    } catch (const std::exception&) {
        return "";
    }
}

}  // namespace

Observation observe(const JobFiles& files, const Observer& observer, const Prober& prober) {
    TornPatience patience(observer.patience(torn_job_patience));
    const auto deadline = monotonic_now() + observer.patience(5 * death_patience);
    Observation seen;
    for (int attempt = 0; attempt < 50; ++attempt) {
        seen = look_once(files, observer, prober, patience);
        // The host may be writing in place: give it time to finish.
        while (seen.is_torn) {
            patience.pause();
            seen = look_once(files, observer, prober, patience);
        }
        look_at_processes(seen, files, observer);
        seen.verdict = judge(seen.sighting);
        if (!rests_on_a_free_lock(seen)) break;
        const Observation again = look_once(files, observer, prober, patience);
        if (again.probe.lock == seen.probe.lock && again.probe.text == seen.probe.text &&
            again.document && seen.document && again.document->text() == seen.document->text())
            break;
        seen.verdict = {State::unknown, "The job file keeps changing."};
        if (attempt > 0 && monotonic_now() >= deadline) break;
    }
    if (const std::string original = original_of(seen, files); !original.empty())
        seen.verdict = {State::unknown, "It is a copy of " + printable(original) +
                                            ", which says what has become of the job."};
    seen.is_late = observer.is_late();
    if (seen.verdict.settle && !seen.obstacle_to_the_end.empty())
        seen.verdict = {State::unknown, seen.obstacle_to_the_end};
    if (seen.file_exists && !seen.document)
        seen.verdict = {State::unknown, seen.trouble + "."};
    else if (is_final(seen.status())) {
        seen.sighting.end_sentence = seen.document->end_sentence();
        seen.verdict = judge(seen.sighting);
    }
    return seen;
}

void BeatMemory::compare(const std::string& job_file, Observation& observation) {
    if (!observation.probe.mtime_ns) return;
    const std::int64_t mtime = *observation.probe.mtime_ns;
    Seen& seen = seen_.try_emplace(job_file, Seen{mtime, std::nullopt}).first->second;
    const auto now = monotonic_now();
    if (seen.mtime_ns != mtime) seen = {mtime, now};
    observation.sighting.beat_seen_to_change =
        seen.moved_at && now - *seen.moved_at <= overdue_after(observation.sighting.interval);
    if (observation.document && observation.sighting.beat_seen_to_change)
        observation.verdict = judge(observation.sighting);
}

}  // namespace jobshim
