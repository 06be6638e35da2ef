#include "shim/jobctl/companion.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <map>
#include <set>

#include "common/clocks.hpp"
#include "common/companion/directory_name.hpp"
#include "common/companion/index.hpp"
#include "common/companion/look.hpp"
#include "common/companion/mirror.hpp"
#include "common/kernel_file.hpp"
#include "common/units.hpp"
#include "shim/jobctl/look.hpp"
#include "shim/jobctl/output.hpp"
#include "shim/jobctl/selection.hpp"
#include "shim/jobctl/watch.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr milliseconds between_looks{1000};
constexpr std::int64_t start_tolerance_ms = 2000;
constexpr std::int64_t queued_at_most_ms = 60'000;
// A worker that nobody started yet, or one that cannot be watched, is looked at so often.
constexpr milliseconds short_tick{1000};
// Where a process or a directory gives a sign, for what neither shows.
constexpr milliseconds long_tick{10'000};

bool exists(const std::string& path) {
    struct stat info {};
    return ::lstat(path.c_str(), &info) == 0;
}

// A directory in a folder for all may be anybody's; what lies in it is not acted on by one who was
// only asked to look everywhere.
bool is_our_own_directory(const std::string& path) {
    struct stat info {};
    return ::lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode) && info.st_uid == ::geteuid();
}

std::string real_path(const std::string& path) {
    auto real = resolved(path);
    if (!real) throw_errno("open directory " + path, ENOENT);
    return *std::move(real);
}

std::vector<std::string> roots() {
    return companion_roots(std::getenv("CLAUDE_PLUGIN_DATA"), std::getenv("TMPDIR"),
                           std::getenv("TMP"), std::getenv("TEMP"));
}

// The nearest directory above that git would take for the top of a work tree, else the given one.
std::string workspace_of(const std::string& real) {
    for (std::string at = real; !at.empty(); at.resize(at.rfind('/')))
        if (exists(path_in(at, ".git"))) return at;
    return real;
}

std::vector<std::string> directories_in(const std::string& root) {
    std::vector<std::string> found;
    if (!is_directory(root)) return found;
    for (const std::string& name : names_in(root))
        if (const std::string path = path_in(root, name);
            is_our_own_directory(path) && is_companion_directory(path))
            found.push_back(path);
    return found;
}

std::optional<int> pid_in(const JobDocument& document) {
    const auto text = document.value("pid");
    int pid = 0;
    if (!text) return std::nullopt;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), pid);
    if (error != std::errc{} || end != text->data() + text->size() || pid <= 0) return std::nullopt;
    return pid;
}

std::optional<std::int64_t> time_in(const JobDocument& document, std::string_view key) {
    const auto text = document.string(key);
    return text ? parse_iso_time(*text) : std::nullopt;
}

// When the job was begun, as far as the record tells; else the beginning of time.
std::int64_t begin_of(const JobDocument& document) {
    for (const char* key : {"startedAt", "createdAt"})
        if (const auto time = time_in(document, key)) return *time;
    return 0;
}

std::int64_t wall_start_of(const ProcessStat& stat) {
    const auto ticks_a_second = static_cast<std::uint64_t>(std::max(1L, ::sysconf(_SC_CLK_TCK)));
    const auto age = std::chrono::duration_cast<milliseconds>(boottime_now()).count() -
                     static_cast<std::int64_t>(stat.start_time * 1000 / ticks_a_second);
    return wall_now_ms() - age;
}

// What the rules for a job without a shim come to.
struct Unwatched {
    Verdict verdict;
    UniqueFd process;
};

Unwatched dead(const std::string& because) { return {{State::lost, because, false, true}, {}}; }

Unwatched judge_unwatched(const JobDocument& document) {
    const Status status = document.status();
    if (!is_active(status))
        return {{State::unknown, "The record has no status word known here."}, {}};
    const auto pid = pid_in(document);
    if (!pid) {
        if (status != Status::queued)
            return {{State::unknown, "It says that it runs, but names no process."}, {}};
        const auto created = time_in(document, "createdAt");
        if (created && wall_now_ms() - *created > queued_at_most_ms)
            return dead("Never started: it was queued for over 60 s, and no process was named.");
        return {{State::queued, "Nobody has started it yet."}, {}};
    }
    const std::string name = "worker (pid " + std::to_string(*pid) + ")";
    const auto stat = read_process_stat(*pid);
    const auto start = stat ? std::optional(stat->start_time) : std::nullopt;
    switch (look_up_process(*pid, start)) {
        case Witness::dead:
            return dead("The " + name + " is gone; how it ended is not known.");
        case Witness::unknowable:
        case Witness::none:
            return {{State::unknown, "Whether its " + name + " lives cannot be seen from here."},
                    {}};
        case Witness::alive:
            break;
    }
    const std::int64_t began = begin_of(document);
    if (began != 0 && wall_start_of(*stat) > began + start_tolerance_ms &&
        read_kernel_file("/proc/" + std::to_string(*pid) + "/cmdline", 1U << 16U)
                .find("codex-companion.mjs") == std::string::npos)
        return dead("The " + name + " is gone, and its pid is another process's by now; how it " +
                    "ended is not known.");
    return {{status == Status::queued ? State::queued : State::running,
             "The " + name + " is alive; no shim watches it."},
            open_process(*pid, start)};
}

FinalWord inferred_end(const Verdict& verdict) {
    FinalWord last;
    last.status = Status::failed;
    last.sentence = verdict.because;
    last.exit.reason = ExitReason::unknown;
    last.exit.certainty = Certainty::inferred;
    last.exit.evidence.emplace_back("no shim watched it; two looks a second apart found it dead");
    last.exit.ended_at = iso_time(wall_now_ms());
    return last;
}

std::optional<FinalWord> recorded_end(const Observation& own) {
    if (!own.document || !is_terminal(own.status())) return std::nullopt;
    const auto run = own.document->run();
    if (!run || !run->exit) return std::nullopt;
    return FinalWord{*run->exit, own.status(), own.document->string("errorMessage").value_or("")};
}

struct Look {
    CompanionReport report;
    std::string text;  // of all that the plugin says of it: what a second look is compared with
    std::optional<CompanionMirror::Job> to_do;
    bool takes_two_looks = false;
    bool wrote_own = false;
};

// The plugin's job of a record of ours: the one of its name, unless it says otherwise.
std::string companion_job_of(const JobDocument& document, const std::string& name) {
    const auto run = document.run();
    const std::string job = run ? run->companion_job : "";
    return is_job_id(job) ? job : name.substr(0, name.size() - 5);
}

// Our records of a state directory, by the plugin's id.
std::map<std::string, std::string> own_records(const CompanionPlaces& places) {
    std::map<std::string, std::string> records;
    if (!is_directory(places.own)) return records;
    for (const std::string& name : job_names_in(places.own)) {
        const std::string path = path_in(places.own, name);
        try {
            const auto contents = read_file(path, max_job_file_bytes);
            if (!contents) continue;
            const JobDocument document = JobDocument::parse(contents->text);
            records.emplace(document.fault() == JsonFault::none ? companion_job_of(document, name)
                                                                : name.substr(0, name.size() - 5),
                            path);
        } catch (const std::exception&) {
            records.emplace(name.substr(0, name.size() - 5), path);
        }
    }
    return records;
}

class Looker {
public:
    Looker(const Context& context, bool settle) : context_(context), settle_(settle) {}

    Look look(const CompanionJob& job) {
        Look look;
        JobReport& report = look.report.job.report;
        report.id = job.id;
        const CompanionPlaces places(job.directory);
        report.file = places.job_file(job.id);
        try {
            look_into(look, places, job.id);
        } catch (const std::exception& error) {
            report.verdict = {State::unknown, std::string(error.what()) + "."};
            look.report.job.failure = error.what();
        }
        return look;
    }

private:
    void look_into(Look& look, const CompanionPlaces& places, const std::string& id) {
        JobReport& report = look.report.job.report;
        const CompanionSight sight = look_at_companion(places, id, milliseconds(2000));
        for (const auto* document : {&sight.job, &sight.entry})
            look.text += *document ? (*document)->text() + '\n' : "none\n";
        if (exists(places.log_file(id))) look.report.log = places.log_file(id);

        std::optional<Settled> own;
        const auto& records = records_of(places);
        if (const auto found = records.find(id); found != records.end())
            own = look_at(job_files_of(found->second), context_.observer, settle_);
        if (own && (is_gone(own->now) || !own->now.document)) own.reset();
        look.wrote_own = own && own->wrote;

        const JobDocument* shown = choose(sight, own);
        if (shown == nullptr) {
            look.report.is_gone = !sight.file_exists;
            report.verdict = {State::unknown, report.file + ": not a JSON object."};
            return;
        }
        const bool is_final = is_terminal(shown->status());
        const bool out_of_step = !remedy_for(sight, Status::failed).is_none();
        if (own) {
            look_at_own(look, *own, shown, is_final, out_of_step);
        } else if (is_final) {
            report.verdict = verdict_on_terminal(*shown);
            // A worker writes the one file some moments after the other.
            if (out_of_step) look.to_do = CompanionMirror::Job{id, {}, begin_of(*shown)};
            look.takes_two_looks = true;
        } else {
            Unwatched seen = judge_unwatched(*shown);
            report.verdict = seen.verdict;
            look.report.process = std::move(seen.process);
            if (seen.verdict.settle)
                look.to_do =
                    CompanionMirror::Job{id, inferred_end(seen.verdict), begin_of(*shown), true};
            look.takes_two_looks = true;
        }
        if (look.to_do) look.to_do->id = id;
        report.job = *shown;
        // The plugin's record, and in it how it ended, which only ours tells.
        if (own && shown != &*own->now.document)
            if (const auto run = own->now.document->value("jobshim"))
                report.job = JobDocument::parse(shown->with({{"jobshim", std::string(*run)}}));
    }

    // The record to show: one that is final, if there is one.
    static const JobDocument* choose(const CompanionSight& sight,
                                     const std::optional<Settled>& own) {
        for (const auto* document : {&sight.job, &sight.entry})
            if (*document && is_terminal((*document)->status())) return &**document;
        for (const auto* document : {&sight.job, &sight.entry})
            if (*document) return &**document;
        return own ? &*own->now.document : nullptr;
    }

    void look_at_own(Look& look, const Settled& own, const JobDocument* shown, bool is_final,
                     bool out_of_step) const {
        JobReport& report = look.report.job.report;
        report.verdict = own.now.verdict;
        report.last_beat_age = own.now.sighting.beat_age;
        report.not_recorded = own.unwritable;
        const auto run = own.now.document->run();
        const bool shim_may_live =
            run && place_of(run->shim, context_.observer.here) == Place::here &&
            look_up_process(run->shim.pid, run->shim.start_time) == Witness::alive;
        if (shim_may_live) look.report.process = open_process(run->shim.pid, run->shim.start_time);
        if (is_final) {
            const bool ended = own.now.verdict.ended;
            report.verdict = verdict_on_terminal(*shown);
            report.verdict.ended = ended || is_terminal(own.now.status());
        }
        look.report.job.would_be_settled = own.unwritten.has_value();
        // A shim that lives will see to it itself, when it is time; until then the plugin may yet
        // have its say.
        if (shim_may_live && out_of_step) report.verdict.ended = false;
        auto last = recorded_end(own.now);
        if (last && out_of_step && !shim_may_live)
            look.to_do = CompanionMirror::Job{"", std::move(*last), begin_of(*own.now.document)};
    }

    const std::map<std::string, std::string>& records_of(const CompanionPlaces& places) {
        const auto found = records_.find(places.directory);
        if (found != records_.end()) return found->second;
        return records_.emplace(places.directory, own_records(places)).first->second;
    }

    const Context& context_;
    bool settle_;
    std::map<std::string, std::map<std::string, std::string>> records_;
};

}  // namespace

std::vector<std::string> companion_directories(const Options& options) {
    std::vector<std::string> found;
    const auto add = [&](const std::string& path) {
        std::string real = real_path(path);
        if (std::find(found.begin(), found.end(), real) == found.end())
            found.push_back(std::move(real));
    };
    for (const std::string& name : options.companions) {
        if (is_companion_directory(name)) {
            add(name);
            continue;
        }
        const std::string real = workspace_of(real_path(name));
        const std::size_t before = found.size();
        for (const std::string& root : roots())
            if (const std::string path = path_in(root, companion_name(real, real));
                is_directory(path))
                add(path);
        if (found.size() == before)
            throw Refusal(name +
                          ": no state directory of codex-companion (state.json, jobs/), and " +
                          "as a workspace it has none: no " +
                          path_in(roots().front(), companion_name(real, real)));
    }
    if (options.all_states)
        for (const std::string& root : roots())
            for (const std::string& path : directories_in(root)) add(path);
    return found;
}

namespace {

struct CompanionJobs {
    std::vector<CompanionJob> jobs;
    std::vector<std::string> broken_indexes;
};

CompanionJobs companion_jobs(const Context& context) {
    CompanionJobs found;
    for (const std::string& directory : context.companions) {
        const CompanionPlaces places(directory);
        std::set<std::string> ids;
        if (const auto index = read_theirs(places.index, milliseconds(2000))) {
            if (const auto parsed = CompanionIndex::parse(index->text))
                for (std::string& id : parsed->ids()) ids.insert(std::move(id));
            else
                found.broken_indexes.push_back(places.index);
        }
        if (is_directory(places.jobs))
            for (const std::string& name : job_names_in(places.jobs))
                if (const std::string id = name.substr(0, name.size() - 5); is_job_id(id))
                    ids.insert(id);
        for (const auto& [id, path] : own_records(places))
            if (is_job_id(id)) ids.insert(id);
        for (const std::string& id : ids) found.jobs.push_back({directory, id});
    }
    return found;
}

}  // namespace

std::optional<CompanionJob> select_companion_job(const std::string& job, const Context& context) {
    std::vector<CompanionJob> exact;
    std::vector<CompanionJob> longer;
    for (const CompanionJob& candidate : companion_jobs(context).jobs)
        if (!job.empty() && candidate.id.starts_with(job))
            (candidate.id == job ? exact : longer).push_back(candidate);
    const auto& found = exact.empty() ? longer : exact;
    if (found.size() > 1) {
        std::string message = "'" + job + "' could be any of";
        for (const CompanionJob& each : found)
            message += "\n  " + each.id + " in " + each.directory;
        throw AmbiguousJob(message);
    }
    return found.empty() ? std::nullopt : std::optional(found.front());
}

std::vector<CompanionReport> look_at_companion_jobs(const std::vector<CompanionJob>& jobs,
                                                    const Context& context, bool settle) {
    std::vector<Look> looks;
    Looker first(context, settle);
    for (const CompanionJob& job : jobs) looks.push_back(first.look(job));
    const auto is_suspect = [](const Look& look) { return look.to_do && look.takes_two_looks; };
    if (settle && std::any_of(looks.begin(), looks.end(), is_suspect)) {
        pause_for(between_looks);
        Looker second(context, settle);
        for (std::size_t i = 0; i < jobs.size(); ++i) {
            if (!is_suspect(looks[i])) continue;
            Look again = second.look(jobs[i]);
            const bool agrees = again.to_do && again.text == looks[i].text;
            looks[i] = std::move(again);
            if (!agrees) looks[i].to_do.reset();
        }
    }
    std::vector<CompanionMirror> mirrors;
    std::vector<std::size_t> mirrored;
    for (std::size_t i = 0; i < jobs.size(); ++i) {
        Surveyed& job = looks[i].report.job;
        job.wrote = looks[i].wrote_own;
        job.would_be_settled = job.would_be_settled || looks[i].to_do.has_value();
        if (!settle || !looks[i].to_do) continue;
        mirrors.emplace_back(CompanionPlaces(jobs[i].directory), *looks[i].to_do);
        mirrored.push_back(i);
    }
    std::string trouble;
    keep_in_step(mirrors, false, [&](const std::string& what) { trouble = what; });
    Looker last(context, settle);
    for (std::size_t k = 0; k < mirrors.size(); ++k) {
        const std::size_t i = mirrored[k];
        const bool wrote = looks[i].wrote_own || mirrors[k].has_written();
        Look after = last.look(jobs[i]);
        // It could not be written: it is shown as settled all the same.
        if (!mirrors[k].has_written()) {
            const std::string why = trouble.empty() ? "its files were changed meanwhile" : trouble;
            if (after.report.job.report.verdict.settle && !trouble.empty())
                after.report.job.report.verdict = {
                    State::failed,
                    after.report.job.report.verdict.because + " (not recorded: " + why + ")", true,
                    false};
            if (!trouble.empty()) after.report.job.report.not_recorded = why;
        }
        after.report.job.wrote = wrote;
        looks[i] = std::move(after);
    }
    std::vector<CompanionReport> reports;
    reports.reserve(looks.size());
    for (Look& look : looks) reports.push_back(std::move(look.report));
    return reports;
}

std::vector<Surveyed> survey_companions(const Context& context, bool settle) {
    const CompanionJobs found = companion_jobs(context);
    for (const std::string& index : found.broken_indexes)
        complain(index + ": empty or torn; codex-companion takes that for no jobs");
    std::vector<Surveyed> jobs;
    for (CompanionReport& report : look_at_companion_jobs(found.jobs, context, settle))
        if (!report.is_gone) jobs.push_back(std::move(report.job));
    return jobs;
}

namespace {

bool is_over(const CompanionReport& report) {
    const Verdict& verdict = report.job.report.verdict;
    return verdict.ended || verdict.settle;
}

class CompanionWait {
public:
    CompanionWait(const Options& options, const Context& context)
        : options_(options), context_(context) {
        const auto now = monotonic_now();
        if (options.timeout) deadline_ = now + *options.timeout;
        absent_until_ = now + options.appear;
        for (const std::string& name : options.jobs) jobs_.push_back({name, std::nullopt, {}});
    }

    int run() {
        for (;;) {
            watch();
            look();
            if (is_enough() || monotonic_now() >= deadline_) return conclude();
            sleep();
        }
    }

private:
    struct Awaited {
        std::string name;
        std::optional<CompanionJob> job;
        std::optional<CompanionReport> report;
        bool never_came = false;

        bool has_ended() const { return report && is_over(*report); }
        bool is_settled() const { return never_came || has_ended(); }
    };

    void watch() {
        for (const std::string& directory : context_.companions) {
            const CompanionPlaces places(directory);
            for (const std::string& path : {places.directory, places.jobs, places.own})
                watch_.watch_directory(path);
        }
        watch_.take();
    }

    void look() {
        for (Awaited& awaited : jobs_) {
            if (awaited.is_settled()) continue;
            if (!awaited.job) awaited.job = select_companion_job(awaited.name, context_);
            if (awaited.job) {
                auto reports = look_at_companion_jobs({*awaited.job}, context_, options_.settle);
                awaited.report = std::move(reports.front());
            }
            const bool is_there = awaited.report && !awaited.report->is_gone;
            if (is_there) {
                if (awaited.has_ended() && !options_.json)
                    print(status_line(awaited.report->job.report));
                continue;
            }
            awaited.report.reset();
            // A job that was there and went will not come back.
            if (awaited.job || monotonic_now() >= absent_until_) {
                complain_of_no_such_job(awaited.name);
                awaited.never_came = true;
            }
        }
    }

    bool is_enough() const {
        const auto ended = [](const Awaited& each) { return each.has_ended(); };
        const auto settled = [](const Awaited& each) { return each.is_settled(); };
        return (options_.any && std::any_of(jobs_.begin(), jobs_.end(), ended)) ||
               std::all_of(jobs_.begin(), jobs_.end(), settled);
    }

    void sleep() const {
        std::vector<pollfd> descriptors{{watch_.descriptor(), POLLIN, 0}};
        milliseconds tick = watch_.descriptor() < 0 ? short_tick : long_tick;
        for (const Awaited& each : jobs_) {
            if (each.is_settled()) continue;
            if (each.report && each.report->process)
                descriptors.push_back({each.report->process.get(), POLLIN, 0});
            else
                tick = short_tick;
        }
        sleep_until(std::min(deadline_, monotonic_now() + tick), descriptors);
    }

    static Outcome outcome_of_one(const Awaited& each) {
        if (each.has_ended()) return outcome_of(each.report->job.report.verdict.state);
        return each.never_came ? Outcome::no_such_job : Outcome::timed_out;
    }

    int conclude() const {
        std::vector<JobReport> reports;
        std::vector<Outcome> outcomes;
        for (const Awaited& each : jobs_) {
            if (each.report) reports.push_back(each.report->job.report);
            outcomes.push_back(outcome_of_one(each));
            if (each.is_settled() || options_.any) continue;
            if (each.report && !options_.json) print(status_line(each.report->job.report));
            complain(printable(each.name) + ": still not ended after " +
                     duration_in_words(*options_.timeout));
        }
        if (options_.json) print(json_array_of(reports));
        const auto first = std::find_if(jobs_.begin(), jobs_.end(),
                                        [](const Awaited& each) { return each.has_ended(); });
        if (options_.any && first != jobs_.end()) return exit_status(outcome_of_one(*first));
        if (options_.mirror && first != jobs_.end() && first->report->job.report.job)
            if (const auto run = first->report->job.report.job->run(); run && run->exit) {
                if (run->exit->code) return *run->exit->code;
                if (run->exit->signal) return 128 + *run->exit->signal;
            }
        return exit_status(gravest_of(outcomes));
    }

    const Options& options_;
    const Context& context_;
    FileWatch watch_;
    nanoseconds deadline_ = end_of_time;
    nanoseconds absent_until_{0};
    std::vector<Awaited> jobs_;
};

}  // namespace

int wait_for_companion_jobs(const Options& options, const Context& context) {
    return CompanionWait(options, context).run();
}

}  // namespace jobshim
