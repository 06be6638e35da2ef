// jobctl events [JOB...]: one line of JSON for each thing that happens to a job.
//
// What happened is what differs between two looks at a job (job_events.hpp). It is looked at again
// when inotify reports its job file, or that its heartbeat file was closed, when its shim or its
// orphaned worker ends (job_watcher.hpp), and when its next beat is overdue. There is no polling on
// one host.
//
// Why nothing is lost or told twice between one reader and the next: event_cursor.hpp. It rests on
// this: within a directory, the kernel has queued the event for one renamed file before it renames
// the next. So whoever sees a file's time, and then empties the queue, knows of every file with an
// earlier one.
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <set>
#include <unordered_map>
#include <utility>

#include "common/clocks.hpp"
#include "common/heartbeat.hpp"
#include "common/posix_error.hpp"
#include "common/units.hpp"
#include "shim/jobctl/commands.hpp"
#include "shim/jobctl/event_cursor.hpp"
#include "shim/jobctl/job_events.hpp"
#include "shim/jobctl/job_watcher.hpp"
#include "shim/jobctl/look.hpp"
#include "shim/jobctl/output.hpp"
#include "shim/jobctl/record_budget.hpp"
#include "shim/jobctl/selection.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

// For what gives no sign: directories that are missing or shared with other hosts, and stalled
// jobs, whose next beat is only a touch.
constexpr milliseconds blind_tick{2000};
// Between two rounds: when much happens, one round deals with more of it.
constexpr milliseconds pause_between_rounds{5};
// Of a job whose shim is just ending or starting.
constexpr milliseconds between_runs_tick{20};
// A job file that vanishes may be about to be replaced.
constexpr milliseconds reappearance_patience{1000};
// A shim tries to record an end for 30 seconds, and so the end is older than the change that
// records it by no more than that. One that is older still was told when that was new.
constexpr std::int64_t latest_record_ns = 60'000'000'000;
// From the start of a run as its shim has it to the change that records it.
constexpr std::int64_t start_takes_ns = 1'000'000'000;

// ---- what a record says

RunKey key_of_shim(std::string_view pid, std::string_view start_time, std::string_view boot_id) {
    if (pid.empty() || pid == "0" || pid == "null") return 0;
    return std::max(event_key({pid, start_time, boot_id}), earlier_run + 1);
}

RunKey key_of(const ShimIdentity& shim) {
    return key_of_shim(std::to_string(shim.pid),
                       shim.start_time ? std::to_string(*shim.start_time) : "null", shim.boot_id);
}

std::string_view object_in(std::string_view object, std::string_view key) {
    const std::string_view text = find_json_member(object, key);
    return text.starts_with('{') ? text : std::string_view();
}

// Uses only the scanner: a full parse of 100,000 records would take long.
RunKey run_in(const JobDocument& document) {
    const auto member = document.value("jobshim").value_or("");
    const auto shim = member.starts_with('{') ? object_in(member, "shim") : std::string_view();
    if (shim.empty()) return 0;
    const auto boot_id = find_json_member(shim, "bootId");
    const auto start_time = find_json_member(shim, "startTime");
    return key_of_shim(find_json_member(shim, "pid"), start_time.empty() ? "null" : start_time,
                       boot_id.starts_with('"') ? decode_json_string(boot_id) : "");
}

std::optional<std::int64_t> time_recorded(const std::optional<JobDocument>& document,
                                          std::string_view key) {
    const auto text = document ? document->string(key) : std::nullopt;
    return text ? parse_iso_time(*text) : std::nullopt;
}

bool has_final_record(const Observation& seen) { return is_final(seen.status()); }

bool looks_over(const Observation& seen) { return seen.verdict.ended || seen.verdict.settle; }

Phase phase_of(const Observation& seen, bool has_worker) {
    if (looks_over(seen)) return Phase::ended;
    switch (seen.verdict.state) {
        case State::stalled:
            return Phase::stalled;
        case State::orphaned:
            return Phase::orphaned;
        case State::unknown:
            return Phase::unknown;
        case State::queued:
        case State::running:
        case State::lost:
        case State::completed:
        case State::failed:
        case State::cancelled:
            return has_worker ? Phase::started : Phase::appeared;
    }
    return Phase::unknown;
}

// Its shim has just ended, or a new one has the lock and has not said yet who it is. The next look
// shows which, and nothing is to be told before.
bool is_between_runs(const Observation& seen) {
    return seen.sighting.new_run_began && !seen.run && !has_final_record(seen);
}

RunKey key_of(const std::optional<RunRecord>& run) {
    return run && run->shim.pid > 0 ? key_of(run->shim) : RunKey{0};
}

RunEnd end_in(const Settled& settled) {
    const auto exit = end_of(settled);
    RunEnd end = exit ? run_end_of(*exit) : RunEnd{};
    if (!end.at_ms && has_final_record(settled.now))
        end.at_ms = time_recorded(settled.now.document, "completedAt");
    return end;
}

void add_former_run(Seen& seen, const RunRecord& run) {
    seen.has_former_run = !run.previous.empty();
    if (seen.has_former_run) seen.former_end = run_end_in(run.previous);
}

Seen seen_in(const Settled& settled) {
    const Observation& now = settled.now;
    const auto recorded = now.document ? now.document->run() : std::nullopt;
    const RunKey recorded_run = key_of(recorded);
    Seen seen;
    seen.now_ms = wall_now_ms();
    seen.created_ms = time_recorded(now.document, "createdAt");
    seen.run = key_of(now.run);
    if (has_final_record(now) && recorded_run != 0 && recorded_run != seen.run) {
        // A new run has begun. Nothing is told of it before it is on record, which it may never be.
        seen.run = recorded_run;
        seen.phase = Phase::ended;
        seen.has_worker = recorded->worker.has_value();
        seen.started_ms = time_recorded(now.document, "startedAt");
        seen.end = end_in(settled);
        add_former_run(seen, *recorded);
        return seen;
    }
    seen.is_queued = now.verdict.state == State::queued;
    seen.has_worker = now.run && now.run->worker;
    seen.phase = phase_of(now, seen.has_worker);
    seen.is_closing = has_final_record(now) && !looks_over(now);
    if (seen.phase == Phase::ended) seen.end = end_in(settled);
    if (now.run) add_former_run(seen, *now.run);
    if (recorded_run == seen.run) {
        seen.started_ms = time_recorded(now.document, "startedAt");
    } else if (recorded && recorded->exit) {
        seen.recorded_run = recorded_run;
        seen.recorded_end = run_end_of(*recorded->exit);
    }
    return seen;
}

// ---- jobs and where they are

struct JobDirectory;

// A job that may still have something to tell.
struct Job {
    Job(JobDirectory& its_place, JobFiles files, FileWatch& watch)
        : place(its_place), watcher(std::move(files), watch) {}

    const std::string& name() const { return watcher.files().name; }

    JobDirectory& place;
    JobWatcher watcher;
    Told told;
    bool was_looked_at = false;
    bool is_present_state = false;  // the reader has just begun
    std::int64_t changed_ns = 0;    // of its file, as long as that is unchanged; 0: look
    nanoseconds look_again_at = end_of_time;
    milliseconds overdue_after{0};      // if only its beat can make that look worth while
    nanoseconds gone_at = end_of_time;  // it was not there at the last look
};

struct EndedRun {
    RunKey run = 0;
    std::optional<std::int64_t> ended_ms;  // if that was told
};

// A directory of jobs.
struct JobDirectory {
    Directory directory;
    std::optional<FileWatch::WatchId> watch = {};
    EventPosition position = {};
    bool is_resumed = false;  // the position is a former reader's
    bool is_followed_whole = true;
    std::map<std::string, std::unique_ptr<Job>> jobs = {};
    // Of those that have ended, and of which that was told or need not be: by the key of their
    // names. May lack some that ended before a resumed reader began.
    std::unordered_map<std::uint64_t, EndedRun> ended = {};

    bool gives_signs() const { return watch && directory.is_local(); }
};

std::uint64_t name_key(const std::string& name) { return event_key({name}); }

bool is_end(const JobEvent& event) {
    return event.kind == JobEvent::Kind::ended || event.kind == JobEvent::Kind::settled;
}

// Of an event that a change of the file led to, for the cursor. 0: of any other.
std::uint64_t key_of(const JobEvent& event, const std::string& name) {
    switch (event.kind) {
        case JobEvent::Kind::appeared:
            return event_key({name, "appeared"});
        case JobEvent::Kind::started:
            return event_key({name, "started", std::to_string(event.run)});
        case JobEvent::Kind::ended:
        case JobEvent::Kind::settled:
            // The next run's record does not say which run it was, only when it ended.
            return event_key({name, "ended", std::to_string(event.time_ms)});
        case JobEvent::Kind::stalled:
        case JobEvent::Kind::resumed:
        case JobEvent::Kind::orphaned:
        case JobEvent::Kind::unknown:
            return 0;
    }
    return 0;
}

bool is_after(std::optional<std::int64_t> ms, std::int64_t ns) {
    return ms && *ms > ns / 1'000'000;
}
bool is_before(std::optional<std::int64_t> ms, std::int64_t ns) {
    return ms && *ms < ns / 1'000'000;
}

// What a former reader was told of this job up to `position`.
Told told_until(EventPosition& position, const std::string& name, const Seen& seen,
                std::int64_t changed_ns, bool is_recorded) {
    const std::int64_t until = position.told_before;
    const std::int64_t news = position.beginning_of_news();
    const auto was_told = [&](JobEvent::Kind kind, std::optional<std::int64_t> time_ms) {
        const std::uint64_t key = key_of(JobEvent{kind, time_ms.value_or(0), seen.run}, name);
        if (!position.was_told(key)) return false;
        // The cursor did not say when, and of which job.
        position.tell({key, changed_ns, name_key(name), kind == JobEvent::Kind::ended});
        return true;
    };
    if (const auto odd = position.odd.find(name_key(name)); odd != position.odd.end()) {
        const bool began_later = seen.run != 0 && is_after(seen.started_ms, until) &&
                                 !was_told(JobEvent::Kind::started, seen.started_ms) &&
                                 !was_told(JobEvent::Kind::ended, seen.end.at_ms);
        const RunKey run = began_later ? earlier_run : seen.run;
        switch (odd->second) {
            case Oddity::stalled:
                return {Phase::stalled, run, true};
            case Oddity::orphaned:
                return {Phase::orphaned, run, true};
            case Oddity::unknown:
                return {Phase::unknown, run, true};
            case Oddity::awaited:
                return {Phase::started, run, true};
            case Oddity::unrecorded:
                return {Phase::ended, run, true};
        }
    }
    const bool is_old = changed_ns < until;
    // Else it has not changed since the first reader began.
    const bool is_news = changed_ns > position.began_at;
    if (seen.phase == Phase::ended && is_recorded &&
        (is_old || was_told(JobEvent::Kind::ended, seen.end.at_ms) ||
         (is_news && is_before(seen.end.at_ms, news - latest_record_ns))))
        return {Phase::ended, seen.run, true};
    if (seen.has_worker && (is_old || was_told(JobEvent::Kind::started, seen.started_ms) ||
                            (is_news && is_before(seen.started_ms, until - start_takes_ns))))
        return {Phase::started, seen.run, true};
    if (is_news && seen.has_former_run && is_after(seen.former_end.at_ms, news) &&
        !was_told(JobEvent::Kind::ended, seen.former_end.at_ms))
        return {Phase::started, earlier_run, true};
    if (was_told(JobEvent::Kind::appeared, seen.created_ms) || is_old ||
        (is_news && (seen.has_former_run || is_before(seen.created_ms, until - start_takes_ns))))
        return {Phase::appeared, seen.run, false};
    return {};
}

// ---- the stream

// An object of several lines as one: white space between its parts may go, and in JSON no line ends
// within a string.
std::string in_one_line(std::string_view json) {
    std::string line;
    line.reserve(json.size());
    for (std::size_t at = 0; at < json.size();) {
        const std::size_t end = std::min(json.find_first_of("\n\r", at), json.size());
        line += json.substr(at, end - at);
        at = std::min(json.find_first_not_of(" \t\n\r", end), json.size());
    }
    return line;
}

// Each process that is waited for needs a descriptor. Where they do not suffice, those jobs are
// looked at every second.
void allow_many_descriptors() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

class Stream {
public:
    Stream(const CtlOptions& options, const Context& context)
        : options_(options), context_(context), cursor_(cursor_in(options)) {}

    Outcome run() {
        allow_many_descriptors();
        // Everything that ended before is stamped with an earlier time than what ends from now on.
        began_at_ns_ = wait_for_file_clock();
        try {
            if (options_.jobs.empty())
                follow_directories();
            else
                follow_named_jobs();
            for (const auto& place : places_) seen_until_[place.get()] = began_at_ns_;
            tell_all();
            while (!is_done()) {
                if (!sleep()) return done;
                look_at_what_is_due();
                tell_all();
                pause_for(pause_between_rounds);
            }
        } catch (const std::system_error& error) {
            if (error.code().value() != EPIPE) throw;
            return done;  // nobody reads any more
        }
        return worst_of(outcomes_);
    }

private:
    static std::vector<EventPosition> cursor_in(const CtlOptions& options) {
        if (options.since.empty()) return {};
        auto cursor = parse_cursor(options.since);
        if (!cursor) throw Refusal("--since: not a cursor of jobctl events");
        return *std::move(cursor);
    }

    // ---- what to follow

    JobDirectory& add_place(const Directory& directory) {
        auto place = std::make_unique<JobDirectory>(JobDirectory{directory});
        place->watch = watch_.watch_directory(directory);
        const std::uint64_t key = event_key({directory.path()}) & 0xFFFFFFFFU;
        const auto former =
            std::find_if(cursor_.begin(), cursor_.end(),
                         [&](const EventPosition& each) { return each.directory == key; });
        if (former != cursor_.end()) {
            place->position = *former;
            place->is_resumed = true;
        }
        place->position.directory = key;
        places_.push_back(std::move(place));
        return *places_.back();
    }

    void follow_directories() {
        if (context_.directories.empty())
            throw Refusal(
                "no directory of jobs: neither XDG_STATE_HOME nor HOME is an absolute path (give "
                "one with --dir)");
        complain_of_missing_directories(context_);
        missing_.insert(context_.directories.begin(), context_.directories.end());
        find_missing_directories(true);
    }

    void find_missing_directories(bool is_beginning) {
        for (auto path = missing_.begin(); path != missing_.end();) {
            const auto directory = Directory::open_if_there(*path);
            if (!directory) {
                ++path;
                continue;
            }
            path = missing_.erase(path);
            const bool is_known = std::any_of(
                places_.begin(), places_.end(),
                [&](const auto& place) { return place->directory.is_same_as(*directory); });
            if (is_known) continue;
            JobDirectory& place = add_place(*directory);
            if (is_beginning && !place.is_resumed) place.position.began_at = began_at_ns_;
            scan(place, is_beginning && !place.is_resumed);
        }
    }

    void follow_named_jobs() {
        for (const std::string& name : options_.jobs) {
            auto files = select_job(name, context_.directories);
            if (!files) {
                complain_of_no_such_job(name);
                outcomes_.push_back(Outcome::no_such_job);
                continue;
            }
            auto at = std::find_if(places_.begin(), places_.end(), [&](const auto& place) {
                return place->directory.is_same_as(files->directory);
            });
            JobDirectory& place = at != places_.end() ? **at : add_place(files->directory);
            place.is_followed_whole = false;
            if (!place.is_resumed) place.position.began_at = began_at_ns_;
            // Copies share a descriptor.
            files->directory = place.directory.as(files->directory.identity());
            add_job(place, *std::move(files), !place.is_resumed);
        }
        for (const auto& place : places_)
            for (const auto& [name, job] : place->jobs) look(*job);
    }

    Job& add_job(JobDirectory& place, JobFiles files, bool is_present_state) {
        std::string name = files.name;
        auto& job = place.jobs[name];
        if (!job) job = std::make_unique<Job>(place, std::move(files), watch_);
        job->is_present_state = is_present_state;
        return *job;
    }

    // ---- looking

    // Looks at every job of the directory that may have something to tell.
    void scan(JobDirectory& place, bool is_present_state) {
        budget_ = {};
        const std::vector<std::string> heartbeats = heartbeat_names_in(place.directory);
        const std::set<std::string_view> beating(heartbeats.begin(), heartbeats.end());
        for (const std::string& name : job_names_in(place.directory)) {
            const bool has_heartbeat = beating.count(heartbeat_name_of(name)) != 0;
            if (place.is_resumed && !has_heartbeat && is_long_told(place, name)) continue;
            if (!has_ended_before(place, name, has_heartbeat))
                look(add_job(place, job_files_in(place.directory, name), is_present_state));
        }
    }

    // Without a heartbeat file it is not running, and it has not changed since a former reader told
    // of it. Such jobs are many, and need not be read.
    static bool is_long_told(const JobDirectory& place, const std::string& name) {
        const auto stamp = place.directory.stamp_if_known(name);
        return stamp && place.position.odd.count(name_key(name)) == 0 &&
               stamp->changed_ns < place.position.told_before - 2 * latest_record_ns;
    }

    // If so, remembers it.
    bool has_ended_before(JobDirectory& place, const std::string& name, bool has_heartbeat) {
        try {
            auto contents = place.directory.read_file(name, budget_.limit());
            if (!contents) return false;
            budget_.spend(contents->text.size());
            const JobDocument document = JobDocument::parse(std::move(contents->text));
            const std::int64_t changed_ns = contents->stamp.changed_ns;
            const bool is_old =
                changed_ns <= place.position.began_at || changed_ns < place.position.told_before;
            if (document.fault() != JsonFault::none || !is_final(document.status()) || !is_old ||
                place.position.odd.count(name_key(name)) != 0)
                return false;
            if (has_heartbeat &&
                probe_heartbeat(job_files_in(place.directory, name)).lock == LivenessLock::held)
                return false;  // its worker wrote the status, and goes on
            place.ended[name_key(name)] = {run_in(document), std::nullopt};
            return true;
        } catch (const std::exception&) {
            return false;  // a closer look says why
        }
    }

    // A job of which nothing is known but that its file has changed.
    void look_at_new(JobDirectory& place, const std::string& name) {
        const auto known = place.ended.find(name_key(name));
        if (known != place.ended.end() && still_tells_of(place, name, known->second.run)) return;
        Job& job = add_job(place, job_files_in(place.directory, name), false);
        if (known != place.ended.end())
            job.told = {Phase::ended, known->second.run, true, known->second.ended_ms};
        look(job);
        if (job.gone_at != end_of_time) drop(job);
    }

    // The record of a run that has ended was only touched, or a host has added something to it.
    bool still_tells_of(const JobDirectory& place, const std::string& name, RunKey run) {
        try {
            auto contents = place.directory.read_file(name, budget_.limit());
            if (!contents) return false;
            budget_.spend(contents->text.size());
            const JobDocument document = JobDocument::parse(std::move(contents->text));
            return document.fault() == JsonFault::none && is_final(document.status()) &&
                   run_in(document) == run;
        } catch (const std::exception&) {
            return false;
        }
    }

    void look(Job& job) {
        job.look_again_at = end_of_time;
        if (!budget_.take(job.watcher.files())) {
            // With the next round, which may read as much again.
            job.look_again_at = monotonic_now() + blind_tick;
            return;
        }
        try {
            const Settled& settled = job.watcher.look(context_, options_.settle);
            if (is_gone(settled.now)) return miss(job);
            job.gone_at = end_of_time;
            note(job, settled);
        } catch (const std::exception& error) {
            complain(error.what());
            job.look_again_at = monotonic_now() + blind_tick;
        }
    }

    void miss(Job& job) {
        if (job.gone_at == end_of_time) job.gone_at = monotonic_now() + reappearance_patience;
        job.look_again_at = job.gone_at;
    }

    void note(Job& job, const Settled& settled) {
        const Observation& now = settled.now;
        EventPosition& position = job.place.position;
        // Within a step of the file's clock, a further change would not show.
        const milliseconds age(wall_now_ms() - now.changed_ns / 1'000'000);
        const bool would_show = age > longest_file_clock_step;
        job.changed_ns = would_show ? now.changed_ns : 0;
        job.look_again_at = next_look(job, now);
        if (is_between_runs(now)) {
            job.look_again_at = monotonic_now() + between_runs_tick;
            return;
        }
        const Seen seen = seen_in(settled);
        const bool is_recorded = has_final_record(now);
        if (!job.was_looked_at && job.place.is_resumed && job.told.phase == Phase::nothing)
            job.told = told_until(position, job.name(), seen, now.changed_ns, is_recorded);
        const bool is_from_before = now.changed_ns <= position.began_at;
        const bool is_first =
            !std::exchange(job.was_looked_at, true) && (job.is_present_state || is_from_before);
        if (is_first && is_from_before && job.place.is_followed_whole &&
            seen.phase == Phase::ended && is_recorded)
            job.told = {Phase::ended, seen.run, true};
        const std::vector<JobEvent> events = tell(job.told, seen, is_first);
        const std::optional<Oddity> oddity =
            seen.is_closing ? Oddity::awaited : oddity_of(job.told.phase, is_recorded);
        if (events.empty() && untold_.count(&job) == 0) {
            note_oddity(job, oddity);
        } else {
            News& news = untold_[&job];
            news.events.insert(news.events.end(), events.begin(), events.end());
            news.changed_ns = now.changed_ns;
            news.report = report_of(job.watcher.files(), settled);
            news.oddity = oddity;
        }
        if (job.told.phase == Phase::ended && is_recorded)
            over_.insert(&job);
        else
            over_.erase(&job);  // the next run has begun before the end of the last one was told
    }

    static std::optional<Oddity> oddity_of(Phase told, bool is_recorded) {
        switch (told) {
            case Phase::nothing:
            case Phase::appeared:
            case Phase::started:
                return std::nullopt;
            case Phase::stalled:
                return Oddity::stalled;
            case Phase::orphaned:
                return Oddity::orphaned;
            case Phase::unknown:
                return Oddity::unknown;
            case Phase::ended:
                return is_recorded ? std::nullopt : std::optional(Oddity::unrecorded);
        }
        return std::nullopt;
    }

    // Once the events that led to it are told.
    static void note_oddity(const Job& job, std::optional<Oddity> oddity) {
        auto& odd = job.place.position.odd;
        if (oddity)
            odd[name_key(job.name())] = *oddity;
        else
            odd.erase(name_key(job.name()));
    }

    // Without a sign from the kernel.
    static nanoseconds next_look(Job& job, const Observation& now) {
        job.overdue_after = milliseconds(0);
        if (looks_over(now)) return end_of_time;
        nanoseconds then = job.watcher.look_again_at();
        // Nobody but its file says anything about it.
        if (now.verdict.state == State::unknown && !now.run && job.place.gives_signs())
            then = end_of_time;
        if (!now.run || !is_active(now.status())) return then;
        if (now.verdict.state == State::stalled)
            return std::min(then, with_others(monotonic_now() + milliseconds(1)));
        if (now.verdict.state != State::running) return then;
        if (then == end_of_time && !now.sighting.stall_after)
            job.overdue_after = overdue_after(now.sighting.interval) + milliseconds(1);
        return std::min(then, with_others(monotonic_now() + time_to_stall(now.sighting)));
    }

    // Looks that can wait are taken together: however many jobs there are, they wake nobody more
    // often than every two seconds.
    static nanoseconds with_others(nanoseconds then) {
        const nanoseconds step = blind_tick;
        return (then / step + 1) * step;
    }

    // In how much time it may be stalled at the earliest.
    static milliseconds time_to_stall(const Sighting& seen) {
        constexpr milliseconds shortest{100};
        const milliseconds age = std::max(seen.beat_age.value_or(milliseconds(0)), milliseconds(0));
        milliseconds left = overdue_after(seen.interval) - age + milliseconds(1);
        if (seen.stall_after) {
            milliseconds idle{0};
            if (seen.activity)
                idle = milliseconds(
                    std::min(seen.activity->no_cpu_ms,
                             seen.activity->silent_ms.value_or(seen.activity->no_cpu_ms)));
            left = std::min(left, std::max(*seen.stall_after - idle, seen.interval));
        }
        return std::max(left, shortest);
    }

    // ---- waiting

    // False if our reader is gone.
    bool sleep() {
        descriptors_.clear();
        descriptors_.push_back({STDOUT_FILENO, 0, 0});
        descriptors_.push_back({watch_.descriptor(), POLLIN, 0});
        watched_.clear();
        nanoseconds wake_at = end_of_time;
        bool needs_ticks = !missing_.empty();
        for (const auto& place : places_) {
            needs_ticks = needs_ticks || !place->gives_signs();
            for (const auto& [name, job] : place->jobs) {
                wake_at = std::min(wake_at, job->look_again_at);
                if (is_ended(*job)) continue;
                const std::size_t before = descriptors_.size();
                job->watcher.add_to(descriptors_);
                if (descriptors_.size() > before) watched_.push_back(job.get());
            }
        }
        wake_at = std::min(wake_at, look_for_places_at_);
        if (needs_ticks) wake_at = std::min(wake_at, monotonic_now() + blind_tick);
        poll_until(wake_at, descriptors_);
        return (descriptors_.front().revents & (POLLERR | POLLNVAL)) == 0;
    }

    // Told already, and only not on record.
    static bool is_ended(const Job& job) { return job.told.phase == Phase::ended; }

    void look_at_what_is_due() {
        budget_ = {};
        due_.clear();
        constexpr std::size_t others = 2;  // descriptors that are no processes
        for (std::size_t i = 0; i < watched_.size(); ++i)
            if (descriptors_[others + i].revents != 0) due_.insert(watched_[i]);
        const nanoseconds now = monotonic_now();
        for (const auto& place : places_)
            for (const auto& [name, job] : place->jobs)
                if (job->look_again_at <= now && !has_beaten(*job)) due_.insert(job.get());
        take(watch_.read());
        if (look_for_places_at_ <= now) leave_what_is_gone();
        find_missing_directories(false);
        for (const auto& place : places_)
            if (!place->gives_signs() && place->is_followed_whole) look_for_changes(*place);
        look_at_due();
        seen_until_ = latest_change();
        // Every change before those that were just seen is in the queue by now.
        take(watch_.read());
        look_at_due();
    }

    // Then there is nothing else to see.
    static bool has_beaten(Job& job) {
        if (job.overdue_after == milliseconds(0)) return false;
        const JobFiles& files = job.watcher.files();
        const auto stamp = files.directory.stamp_if_known(files.heartbeat);
        if (!stamp) return false;
        const milliseconds age(wall_now_ms() - stamp->modified_ns / 1'000'000);
        if (age < milliseconds(0) || age >= job.overdue_after) return false;
        job.look_again_at = with_others(monotonic_now() + (job.overdue_after - age));
        return true;
    }

    void look_at_due() {
        for (Job* const job : std::exchange(due_, {})) {
            if (job->gone_at <= monotonic_now() && !is_there(job->watcher.files()))
                give_up(*job);
            else
                look(*job);
        }
        for (const auto& [place, name] : std::exchange(new_names_, {})) look_at_new(*place, name);
    }

    void take(const FileWatch::News& news) {
        if (news.some_were_lost)
            for (const auto& place : places_) look_at_everything(*place);
        for (const FileWatch::Change& change : news.changes) {
            JobDirectory* const place = place_of(change.watch);
            if (place == nullptr) continue;
            if (change.name.empty())
                look_for_places_at_ = nanoseconds(0);
            else
                take_change(*place, change.name);
        }
    }

    JobDirectory* place_of(FileWatch::WatchId watch) const {
        for (const auto& place : places_)
            if (place->watch == watch) return place.get();
        return nullptr;
    }

    void take_change(JobDirectory& place, const std::string& name) {
        if (const auto job = place.jobs.find(name); job != place.jobs.end()) {
            const auto stamp = place.directory.stamp_if_known(name);
            if (!stamp || stamp->changed_ns != job->second->changed_ns)
                due_.insert(job->second.get());
            return;
        }
        if (is_heartbeat_name(name)) {
            if (Job* const job = job_of_heartbeat(place, name)) due_.insert(job);
            return;
        }
        if (!place.is_followed_whole || name.starts_with('.') || !name.ends_with(".json")) return;
        if (place.directory.stamp_if_known(name)) {
            new_names_.emplace(&place, name);
        } else {
            place.ended.erase(name_key(name));
            // Perhaps the directory goes as well, which the kernel does not report while it is
            // open.
            look_for_places_at_ = monotonic_now() + reappearance_patience;
        }
    }

    // A job whose end is told, and cannot be recorded, is not looked at because of the files that
    // the attempts to record it touch.
    static Job* job_of_heartbeat(const JobDirectory& place, const std::string& name) {
        for (const std::string& of :
             {name.substr(0, name.rfind('.')) + ".json", name.substr(0, name.rfind('.'))})
            if (const auto job = place.jobs.find(of);
                job != place.jobs.end() && job->second->watcher.files().heartbeat == name &&
                !is_ended(*job->second))
                return job->second.get();
        return nullptr;
    }

    // Anything may have changed.
    void look_at_everything(JobDirectory& place) {
        for (const auto& [name, job] : place.jobs) due_.insert(job.get());
        if (place.is_followed_whole) look_for_changes(place);
    }

    void look_for_changes(JobDirectory& place) {
        for (const std::string& name : job_names_in(place.directory)) {
            const auto stamp = place.directory.stamp_if_known(name);
            if (!stamp) continue;
            if (place.jobs.count(name) != 0 ||
                stamp->changed_ns >= place.position.beginning_of_news())
                take_change(place, name);
        }
    }

    // Directories that were removed. Others may come in their place.
    void leave_what_is_gone() {
        look_for_places_at_ = end_of_time;
        std::erase_if(places_, [&](const auto& place) {
            if (place->directory.still_exists()) return false;
            for (const auto& [name, job] : place->jobs) {
                untold_.erase(job.get());
                due_.erase(job.get());
                over_.erase(job.get());
                if (!place->is_followed_whole) outcomes_.push_back(Outcome::no_such_job);
            }
            std::erase_if(new_names_, [&](const auto& each) { return each.first == place.get(); });
            if (place->is_followed_whole) missing_.insert(place->directory.path());
            return true;
        });
    }

    // ---- telling

    struct News {
        std::vector<JobEvent> events;
        std::int64_t changed_ns = 0;
        JobReport report;
        std::optional<Oddity> oddity;
    };

    std::map<const JobDirectory*, std::int64_t> latest_change() const {
        std::map<const JobDirectory*, std::int64_t> latest;
        for (const auto& [job, news] : untold_) {
            auto& time = latest[&job->place];
            time = std::max(time, news.changed_ns);
        }
        return latest;
    }

    // Oldest change first.
    void tell_all() {
        std::vector<std::pair<Job*, News>> all;
        for (auto& [job, news] : std::exchange(untold_, {})) all.emplace_back(job, std::move(news));
        std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
            return a.second.changed_ns != b.second.changed_ns
                       ? a.second.changed_ns < b.second.changed_ns
                       : a.first->name() < b.first->name();
        });
        constexpr std::size_t enough = std::size_t{64} << 10U;
        std::string lines;
        for (auto& [job, news] : all) {
            const std::string object = in_one_line(json_of(news.report));
            for (const JobEvent& event : news.events) {
                const bool is_last = &event == &news.events.back();
                move_position(*job, event, news.changed_ns, is_last);
                if (is_last) note_oddity(*job, news.oddity);
                lines += line_of(event, news.report, object);
                if (lines.size() >= enough) print(std::exchange(lines, {}));
            }
        }
        if (!lines.empty()) print(lines);
        for (Job* const job : std::exchange(over_, {})) finish(*job);
    }

    void move_position(const Job& job, const JobEvent& event, std::int64_t changed_ns,
                       bool is_last) {
        EventPosition& position = job.place.position;
        if (const std::uint64_t key = key_of(event, job.name()); key != 0)
            position.tell({key, changed_ns, name_key(job.name()), is_end(event)});
        if (!is_last) return;
        const auto limit = seen_until_.find(&job.place);
        if (limit != seen_until_.end() && changed_ns <= limit->second)
            position.advance_to(changed_ns);
    }

    std::string line_of(const JobEvent& event, const JobReport& report,
                        const std::string& object) const {
        std::vector<EventPosition> cursor;
        for (const auto& place : places_) cursor.push_back(place->position);
        return R"({"schema":1,"event":")" + std::string(word(event.kind)) + R"(","time":")" +
               iso_time(event.time_ms) + R"(","id":)" + printable_json(json_string(report.id)) +
               R"(,"file":)" + printable_json(json_string(report.file)) + R"(,"cursor":")" +
               text_of(cursor) + R"(","job":)" + object + "}\n";
    }

    void finish(Job& job) {
        job.place.ended[name_key(job.name())] = {job.told.run, job.told.ended_ms};
        drop(job);
    }

    void drop(Job& job) {
        untold_.erase(&job);
        over_.erase(&job);
        job.place.position.odd.erase(name_key(job.name()));
        JobDirectory& place = job.place;
        const std::string name = job.name();
        place.jobs.erase(name);
    }

    void give_up(Job& job) {
        if (!job.place.is_followed_whole) {
            complain_of_no_such_job(job.watcher.files().path);
            outcomes_.push_back(Outcome::no_such_job);
        }
        drop(job);
    }

    // The jobs that were named have all ended.
    bool is_done() const {
        return !options_.jobs.empty() &&
               std::all_of(places_.begin(), places_.end(), [](const auto& place) {
                   return std::all_of(place->jobs.begin(), place->jobs.end(),
                                      [](const auto& job) { return is_ended(*job.second); });
               });
    }

    const CtlOptions& options_;
    const Context& context_;
    std::vector<EventPosition> cursor_;  // of --since
    std::int64_t began_at_ns_ = 0;
    FileWatch watch_;
    std::vector<std::unique_ptr<JobDirectory>> places_;
    std::set<std::string> missing_;  // directories that do not exist (yet)
    nanoseconds look_for_places_at_ = end_of_time;
    RecordBudget budget_;  // of one round

    std::vector<pollfd> descriptors_;
    std::vector<Job*> watched_;  // those whose processes are the last descriptors
    std::set<Job*> due_;
    std::set<std::pair<JobDirectory*, std::string>> new_names_;
    std::map<Job*, News> untold_;
    std::set<Job*> over_;  // to be forgotten once that is told
    // Of each directory: every change up to this moment was seen.
    std::map<const JobDirectory*, std::int64_t> seen_until_;
    std::vector<Outcome> outcomes_;
};

}  // namespace

Outcome tell_events(const CtlOptions& options, const Context& context) {
    return Stream(options, context).run();
}

}  // namespace jobshim
