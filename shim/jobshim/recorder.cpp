#include "shim/jobshim/recorder.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <exception>

#include "common/atomic_file.hpp"
#include "common/clocks.hpp"
#include "common/heartbeat_lines.hpp"
#include "common/posix_error.hpp"
#include "common/settle.hpp"
#include "common/units.hpp"
#include "shim/jobshim/run_description.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds settler_patience{5000};
constexpr milliseconds retry_for{30'000};
constexpr milliseconds retry_every{200};

// For the whole record, except the host's members and the tail.
constexpr std::size_t room_for_record = 6144;
// The most that the record grows once the worker is known. Without this room the first beat would
// find it grown and reserve again.
constexpr std::size_t room_for_worker = 512;

// Calls write(end). If there is no room for all of the end, and for no other reason, tries again
// without the tail, then without the evidence. Throws what the last write threw.
template <class Write>
void write_what_fits(Conclusion end, Write write) {
    for (int step = 0;; ++step) {
        try {
            return write(end);
        } catch (const std::exception& failure) {
            if (step == 2 || !is_for_want_of_room(failure)) throw;
        }
        if (step == 0)
            end.exit.tail.reset();
        else
            end.exit.evidence.clear();
    }
}

// The previous run is over, although nobody can say how it ended.
bool is_over_somehow(const Sighting& seen) {
    return seen.may_be_old_copy && seen.shim == Liveness::dead &&
           (seen.worker == Liveness::dead || seen.worker == Liveness::none);
}

// Runs an action on the heartbeat file. Its errors get the job file's name in front, unless the
// heartbeat file is named after the job file and shows it already.
template <class Action>
auto with_heartbeat_file(const JobFiles& files, Action action) {
    const auto prefixed = [&](const std::exception& error) {
        return (files.heartbeat.starts_with(files.name) ? "" : files.path + ": ") + error.what();
    };
    try {
        return action();
    } catch (const JobIsTaken& taken) {
        throw JobIsTaken(prefixed(taken));
    } catch (const std::exception& error) {
        throw Refusal(prefixed(error));
    }
}

}  // namespace

Recorder::Recorder(const ShimOptions& options, const RunContext& context, const JobFiles& files,
                   Notice notice)
    : options_(options),
      context_(context),
      notice_(std::move(notice)),
      file_(files, options.sync, notice_) {}

Recorder::~Recorder() {
    if (hold_ && !begun_ && !finished_) hold_->abandon(former_heartbeat_);
}

void Recorder::take_the_job() {
    hold_ = with_heartbeat_file(files(), [&] {
        HeartbeatHold hold = HeartbeatHold::acquire(files(), settler_patience);
        former_heartbeat_ = hold.text();
        return hold;
    });
    file_.clear_stale_files();
    const auto document = load_after_previous_run();
    choose_id(document);
    edit_ = describe_run(options_, context_, files(), id_, document);
}

// The job file, once no other run is in the way. Settles an earlier run that is certainly dead.
std::optional<JobDocument> Recorder::load_after_previous_run() {
    std::optional<JobDocument> document = file_.load();
    if (document && (!is_final(document->status()) || document->exit_text().empty())) {
        const Observation seen =
            observe(files(), context_.observer, [this] { return hold_->probe(); });
        if (seen.verdict.settle) {
            // Record the previous run's end first: this run must not lose it.
            settle(file_, seen, conclusion_on(seen));
            document = file_.load();
        } else if (is_final(seen.status())) {
            document = file_.load();  // it has ended meanwhile
        } else if (is_active(seen.status()) && seen.run && is_over_somehow(seen.sighting)) {
            settle(file_, seen, judge_unknown(seen.verdict.because));
            document = file_.load();
        } else if (!is_final(document->status()) && seen.run &&
                   (is_active(document->status()) ||
                    (seen.sighting.shim == Liveness::alive && !seen.known_end))) {
            throw JobIsTaken(files().path + ": this job is not over: " + seen.verdict.because);
        }
    }
    if (document && is_final(document->status())) {
        refuse_if_alive(*document);
        former_end_ = document->string("completedAt").value_or("");
    }
    return document;
}

// We hold the lock and the record is final, yet its shim may still be alive: somebody has removed
// the heartbeat file under it, or it is just about to exit. So may its worker, if nobody saw that
// end: a worker that wrote its own status, or one that could not be killed.
void Recorder::refuse_if_alive(const JobDocument& document) const {
    const auto run = document.run();
    if (!run || place_of(run->shim, context_.observer.here) != Place::here) return;
    if (look_up_patiently(run->shim.pid, run->shim.start_time, death_patience) == Liveness::alive)
        throw JobIsTaken(files().path + ": this job is not over: its shim (pid " +
                         std::to_string(run->shim.pid) + ") is still running");
    if (!run->worker || (run->exit && run->exit->wait_status)) return;
    const milliseconds patience = run->kill_on_shim_death ? death_patience : milliseconds(0);
    if (look_up_patiently(run->worker->pid, run->worker->start_time, patience) == Liveness::alive)
        throw JobIsTaken(files().path + ": this job is not over: its worker (pid " +
                         std::to_string(run->worker->pid) + ") is still running");
}

// If somebody removes the heartbeat file, two shims can each hold "the" lock. The one that finds
// the other's record does not overwrite it.
void Recorder::refuse_if_another_shim_began(const JobDocument& document) const {
    if (!is_active(document.status())) return;
    const auto run = document.run();
    if (!run || run->shim == edit_.run.shim ||
        place_of(run->shim, context_.observer.here) != Place::here)
        return;
    if (look_up_process(run->shim.pid, run->shim.start_time) == Liveness::alive)
        throw JobIsTaken(files().path + ": another shim (pid " + std::to_string(run->shim.pid) +
                         ") has started this job");
}

void Recorder::choose_id(const std::optional<JobDocument>& document) {
    const std::string& wanted = options_.id;
    std::string theirs;
    if (document) theirs = document->string("id").value_or("");
    const bool has_one = document && document->value("id");
    if (has_one && !wanted.empty() && theirs != wanted)
        throw JobIsTaken(files().path + ": its id is '" + printable(theirs) + "', not '" + wanted +
                         "'");
    id_ = !wanted.empty() ? wanted : is_job_id(theirs) ? theirs : job_id_from_name(files().name);
}

std::size_t Recorder::space_for_the_end() const {
    // Twice the tail, because line feeds and quotes are escaped. If that is not enough, the tail is
    // left out.
    return room_for_record + 2 * options_.tail_bytes;
}

void Recorder::begin(const std::optional<LogStart>& log, const std::optional<OomBaseline>& oom,
                     const std::string& companion_job) {
    const std::int64_t now = wall_now_ms();
    edit_.status = Status::running;
    edit_.phase = "starting";
    edit_.started_at = edit_.updated_at = edit_.created_at = iso_time(now);
    edit_.run.log = log;
    edit_.run.companion_job = companion_job;
    if (log) edit_.log_file = to_utf8(log->file);
    const auto stamp = files().directory.stamp_at(files().name);
    const std::size_t theirs = stamp ? static_cast<std::size_t>(stamp->size) : 0;
    const std::string as_new_file = edit_.as_new_file();
    file_.reserve(theirs + as_new_file.size() + room_for_worker + 2 * space_for_the_end());
    with_heartbeat_file(files(), [&] {
        std::string lines =
            heartbeat_first_line(edit_.run, to_utf8(files().path), edit_.started_at, oom);
        activity_at_ = static_cast<off_t>(lines.size());
        if (edit_.run.stall_after_ms) lines += heartbeat_activity_line({});
        hold_->begin(lines, space_for_the_end());
    });
    file_.update(
        [&](const JobDocument* document) {
            std::string text = document == nullptr ? as_new_file : text_after(*document);
            // The end has to fit as well; its tail can be left out.
            file_.require_room_for(text.size() + room_for_worker + room_for_record);
            return last_written_ = std::move(text);
        },
        JobFile::Write::ordinary);
    begun_ = true;
}

void Recorder::started(const WorkerIdentity& worker) {
    edit_.run.worker = worker;
    edit_.pid = worker.pid;
    edit_.phase = "running";
    // If it fails: the heartbeat file already names the worker; the job file will at the end.
    write_if_possible();
}

void Recorder::set_companion_job(const std::string& job) {
    edit_.run.companion_job = job;
    if (begun_ && !finished_) write_if_possible();
}

void Recorder::write_if_possible() {
    edit_.updated_at = iso_time(wall_now_ms());
    try {
        write(JobFile::Write::ordinary);
    } catch (const std::exception& error) {
        notice_(error.what());
    }
}

bool Recorder::holds_the_job() { return hold_->holds_the_job(settler_patience); }

void Recorder::beat(const std::optional<Activity>& activity) {
    if (activity) hold_->overwrite(activity_at_, heartbeat_activity_line(*activity));
    hold_->beat();
    try {
        file_.check_reserve(2 * space_for_the_end());
    } catch (const std::exception&) {
        // No space for a larger reserve now; the next beat tries again.
        return;
    }
}

bool Recorder::reported(const JobDocument& document) const {
    if (!is_final(document.status())) return false;
    // A final status with another run's identity is an old copy that the host wrote back. So is
    // one with no identity, if its end time is that of the previous run.
    if (const auto run = document.run()) return run->shim == edit_.run.shim;
    return former_end_.empty() || document.string("completedAt") != former_end_;
}

bool Recorder::worker_reported() {
    try {
        const auto document = file_.load();
        return document && reported(*document);
    } catch (const std::exception&) {
        return false;
    }
}

std::optional<CancelRequest> Recorder::cancel_request() const {
    std::optional<FoundRequest> found;
    try {
        found = find_cancel_request(files(), edit_.run.shim, context_.observer);
    } catch (const Refusal& refusal) {
        notice_(refusal.what());
    }
    return found ? std::optional(std::move(found->request)) : std::nullopt;
}

// If somebody removes all of the job's files while it runs, the names are free for another run, and
// the record with these names is that one's.
void Recorder::refuse_if_of_later_run(const JobDocument& document) const {
    const auto run = document.run();
    const ShimIdentity& ours = edit_.run.shim;
    if (!run || run->shim == ours || place_of(run->shim, context_.observer.here) != Place::here ||
        !run->shim.start_time || !ours.start_time || *run->shim.start_time <= *ours.start_time)
        return;
    throw JobIsTaken(files().path + ": it is the record of a later run (pid " +
                     std::to_string(run->shim.pid) + ")");
}

std::string Recorder::text_after(const JobDocument& document) const {
    if (!begun_)
        refuse_if_another_shim_began(document);
    else if (document.text() != last_written_)  // mostly it is, and need not be taken apart
        refuse_if_of_later_run(document);
    // Before there is a worker, no status can be the worker's own.
    return edit_.applied_to(document, edit_.run.worker && reported(document));
}

void Recorder::write(JobFile::Write kind) {
    file_.update(
        [this](const JobDocument* document) {
            return last_written_ =
                       document == nullptr ? edit_.as_new_file() : text_after(*document);
        },
        kind);
}

void Recorder::write_last_line(const Conclusion& last) {
    off_t before = 0;
    try {
        before = stamp_of(hold_->descriptor(), files().path_of(files().heartbeat)).size;
    } catch (const std::system_error&) {
        return;  // a partial line could not be taken back; the job file still gets the end
    }
    const auto append = [&](const Conclusion& end) {
        try {
            hold_->append(heartbeat_last_line(end));
        } catch (...) {
            // Remove a partial line, or the next one would be appended to it.
            (void)!::ftruncate(hold_->descriptor(), before);
            throw;
        }
    };
    try {
        write_what_fits(last, append);
    } catch (const std::exception&) {
        return;  // the job file still gets the end
    }
}

void Recorder::write_end(const Conclusion& last) {
    write_what_fits(last, [this](const Conclusion& end) {
        edit_.run.exit = end.exit;
        write(JobFile::Write::last);
    });
}

void Recorder::leave_copy(const Conclusion& last) {
    if (context_.observer.state_directory.empty()) return;
    try {
        const Directory directory =
            make_default_directory(unrecorded_directory(context_.observer.state_directory));
        require_own(directory);
        const std::string name = unrecorded_name(context_.observer.here);
        RunRecord run = edit_.run;
        run.exit.reset();  // that is the last line's
        write_what_fits(last, [&](const Conclusion& end) {
            StagedFile staged(directory, name + ".new", std::nullopt);
            staged.write(heartbeat_first_line(run, to_utf8(files().path), edit_.started_at) +
                         heartbeat_last_line(end));
            staged.commit_as_new(name);
        });
        has_copy_ = true;
    } catch (const std::exception& error) {
        notice_(std::string("no copy of the end could be kept either: ") + error.what());
    }
}

// A failed attempt leaves its temporary file if it cannot remove it, as on a file system that was
// read-only then.
void Recorder::clear_stale_files() {
    try {
        file_.clear_stale_files();
    } catch (const std::exception& error) {
        notice_(error.what());
    }
}

void Recorder::remove_what_is_of_no_more_use() {
    try {
        if (has_copy_) remove_unrecorded(context_.observer, files(), context_.observer.here);
        const auto request = edit_.run.cancel
                                 ? find_cancel_request(files(), edit_.run.shim, context_.observer)
                                 : std::nullopt;
        if (request) files().directory.remove(request->name);
        files().directory.remove(files().cancel);  // one that came too late, or is nobody's
    } catch (const std::exception& error) {
        notice_(error.what());
    }
}

bool Recorder::finish(Conclusion last, const std::function<bool(milliseconds)>& give_up) {
    write_last_line(last);
    edit_.set_end(last, last.exit.ended_at);
    if (!holds_the_job())
        return give_up_the_job(last, files().path + ": another shim has this job now");

    const auto deadline = monotonic_now() + retry_for;
    std::string first_error;
    for (;;) {
        try {
            write_end(last);
            break;
        } catch (const JobIsTaken& taken) {
            return give_up_the_job(last, taken.what());
        } catch (const std::exception& error) {
            if (first_error.empty()) {
                first_error = error.what();
                notice_("the end could not be recorded yet: " + first_error);
                leave_copy(last);
            }
        }
        const bool is_hopeless = options_.best_effort || !files().directory.still_exists();
        if (is_hopeless || monotonic_now() >= deadline || give_up(retry_every)) {
            return give_up_the_record(first_error);
        }
    }
    finished_ = true;
    if (!first_error.empty()) clear_stale_files();
    remove_what_is_of_no_more_use();
    // The host of an adopted file may still overwrite the end with an old `running`, and so may
    // what the worker left behind; then the heartbeat file proves the end.
    const bool may_be_overwritten =
        !file_.created_the_file() || (!options_.kill_leftovers && !last.exit.leftovers.empty());
    hold_->release(may_be_overwritten ? HeartbeatHold::Leave::file : HeartbeatHold::Leave::nothing);
    return true;
}

bool Recorder::give_up_the_job(const Conclusion& last, const std::string& why) {
    leave_copy(last);
    return give_up_the_record(why);
}

bool Recorder::give_up_the_record(const std::string& why) {
    notice_("the end is not in the job file: " + why);
    finished_ = true;
    hold_->release(HeartbeatHold::Leave::file);
    return false;
}

std::vector<int> Recorder::descriptors() const {
    std::vector<int> result{hold_->descriptor(), files().directory.descriptor()};
    if (const int reserve = file_.reserve_descriptor(); reserve >= 0) result.push_back(reserve);
    return result;
}

}  // namespace jobshim
