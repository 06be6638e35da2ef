// jobctl prune: removes jobs that ended at least --older-than DUR ago, but not the last --keep N of
// them, with everything that belongs to them.
//
// The job file goes last but one and the heartbeat file last, so that after a kill in the middle
// the next run can carry on; a heartbeat file without a job is found by itself. All of this happens
// under the writer lock: a shim that starts meanwhile waits for the lock, finds that the heartbeat
// file is gone, and starts over.
//
// Nothing is removed but regular files in the job's own directory that belong to the job's owner,
// by names that no record can choose. Only --logs goes further: then the log that a record names
// goes too, if all of it is this job's.
#include <fcntl.h>

#include <algorithm>
#include <map>
#include <set>

#include "common/clocks.hpp"
#include "common/heartbeat_lines.hpp"
#include "common/system_calls.hpp"
#include "common/units.hpp"
#include "shim/jobctl/commands.hpp"
#include "shim/jobctl/log_place.hpp"
#include "shim/jobctl/look.hpp"
#include "shim/jobctl/output.hpp"
#include "shim/jobctl/record_budget.hpp"
#include "shim/jobctl/selection.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;

// How long after the end a log may still have been written to, by the rest of the worker's process
// group.
constexpr milliseconds late_lines{60'000};

std::optional<std::int64_t> end_time_of(const JobDocument& job) {
    for (const char* key : {"completedAt", "updatedAt"})
        if (const auto time = parse_iso_time(job.string(key).value_or(""))) return time;
    return std::nullopt;
}

bool is_older(std::optional<std::int64_t> time, milliseconds age) {
    // Even if the clock was wrong, and the time is yet to come.
    return time && (age.count() == 0 || wall_now_ms() - *time >= age.count());
}

std::optional<LogStart> log_of(const JobDocument& job) {
    const auto run = job.run();
    return run ? run->log : std::nullopt;
}

std::string log_path_of(const JobDocument& job) {
    const auto log = log_of(job);
    return log ? log->file : "";
}

// A log to be removed.
struct Log {
    Directory directory;
    std::string name;
};

void remove(const Directory& directory, const std::string& name) {
    if (!directory.remove(name) && errno != ENOENT)
        throw_errno("remove " + directory.path_of(name));
}

class Pruner {
public:
    Pruner(const CtlOptions& options, const Context& context)
        : options_(options), context_(context) {}

    Outcome run() {
        complain_of_missing_directories(context_);
        directories_ = open_directories(context_.directories);
        std::vector<Pruned> old;
        const SurveyOptions looks{.settle = !options_.dry_run, .tidy_copies = !options_.dry_run};
        survey(context_, looks, [&](Surveyed job) {
            const std::string log = job.report.job ? log_path_of(*job.report.job) : "";
            if (!is_old(job.report.job)) {
                logs_in_use_.insert(log);
                return;
            }
            Pruned& pruned = old.emplace_back();
            pruned.log = log;
            pruned.ended_ms = *end_time_of(*job.report.job);
            if (options_.json) pruned.json = json_of(job.report);
            job.report.job.reset();  // it is read again
            pruned.report = std::move(job.report);
            pruned.copy = std::move(job.copy);
        });
        spare_the_last(old);
        note_shared_logs(old);
        std::erase_if(old, [&](Pruned& job) { return !attempt([&] { return prune(job); }); });
        remove_heartbeats_without_job();
        show(old);
        return outcome_;
    }

private:
    struct Pruned {
        JobReport report;       // without its record
        std::string json = {};  // if that is what will be printed
        std::string log = {};   // that the record names, if any
        std::int64_t ended_ms = 0;
        std::optional<UnrecordedEnd> copy = {};  // all that is left of it
        std::vector<std::string> files = {};     // paths, in the order of their removal
    };

    bool is_old(const std::optional<JobDocument>& job) const {
        return job && is_final(job->status()) && is_older(end_time_of(*job), options_.older_than);
    }

    void spare_the_last(std::vector<Pruned>& old) {
        std::sort(old.begin(), old.end(),
                  [](const Pruned& a, const Pruned& b) { return a.ended_ms < b.ended_ms; });
        for (std::uint64_t spared = 0; spared < options_.keep && !old.empty(); ++spared) {
            logs_in_use_.insert(old.back().log);
            old.pop_back();
        }
    }

    // What two jobs wrote to is not all of either's.
    void note_shared_logs(const std::vector<Pruned>& old) {
        std::set<std::string_view> logs;
        for (const Pruned& job : old)
            if (!logs.insert(job.log).second) logs_in_use_.insert(job.log);
    }

    template <class Action>
    bool attempt(Action action) {
        try {
            return action();
        } catch (const std::exception& error) {
            complain(error.what());
            outcome_ = Outcome::own_failure;
            return false;
        }
    }

    // False if it is not (or no longer) ours to remove.
    bool prune(Pruned& job) {
        if (job.copy) return prune_copy(job);
        const SplitPath at = split_path(job.report.file);
        // What has that path by now may be another directory.
        const auto directory =
            std::find_if(directories_.begin(), directories_.end(),
                         [&](const Directory& each) { return each.path() == at.directory; });
        if (directory == directories_.end()) return false;
        const JobFiles files = job_files_in(*directory, at.name);
        say_whose_it_is(files, context_, "removed");
        if (!files.may_act()) return false;
        if (options_.dry_run) {
            const Observation seen = observe(files, context_.observer);
            if (!may_go(seen)) return false;
            list_files(job, files, seen, log_to_remove(seen, files));
            return true;
        }
        const auto lock = SettlerLock::try_take(files);
        if (!lock) return false;
        try {
            if (prune_under(*lock, files, job)) return true;
        } catch (...) {
            lock->remove_if_empty();
            throw;
        }
        lock->remove_if_empty();
        return false;
    }

    // Of a job whose own file is gone. Its shim may still be at it.
    bool prune_copy(Pruned& job) {
        const ShimIdentity& shim = job.copy->lines.run->shim;
        if (place_of(shim, context_.observer.here) == Place::here &&
            look_up_process(shim.pid, shim.start_time) == Liveness::alive)
            return false;
        job.files.push_back(job.copy->path());
        if (!options_.dry_run) remove(job.copy->directory, job.copy->name);
        return true;
    }

    bool may_go(const Observation& seen) const {
        return is_old(seen.document) && seen.verdict.ended && seen.probe.lock != LivenessLock::held;
    }

    bool prune_under(const SettlerLock& lock, const JobFiles& files, Pruned& job) {
        const Observation seen = observe(files, context_.observer, [&] { return lock.probe(); });
        if (!may_go(seen) || !lock.still_in_place()) return false;
        const auto log = log_to_remove(seen, files);
        list_files(job, files, seen, log);
        if (log) remove(log->directory, log->name);
        for (const std::string& name : names_beside(files)) remove(files.directory, name);
        if (seen.run) remove_unrecorded(context_.observer, files, seen.run->shim);
        if (!remove_job(lock, files, seen.document->text())) return false;
        remove(files.directory, files.heartbeat);
        return true;
    }

    // At this very moment a host may request a new run, and a shim may be waiting for our lock. So
    // the file is first moved aside: then the file that is checked is the one that is removed.
    static bool remove_job(const SettlerLock& lock, const JobFiles& files,
                           const std::string& text) {
        const Directory& directory = files.directory;
        const std::string aside = Directory::random_name_like(files.fresh);
        if (!directory.rename_to_free_name(files.name, aside)) {
            if (errno == ENOENT) return true;  // deleted just now
            throw_errno("remove " + files.path);
        }
        const auto taken = directory.read_file(aside, max_job_file_bytes);
        if (taken && taken->text == text && files.counts(taken->stamp) &&
            lock.probe().lock != LivenessLock::held) {
            remove(directory, aside);
            return true;
        }
        if (!directory.rename_to_free_name(aside, files.name))
            remove(directory, aside);  // there is a newer one
        return false;
    }

    // The job's log: the one in its own directory that has the job's name, or with --logs the one
    // that the record names, if this run began it, and if nobody else can have written that name.
    std::optional<Log> log_to_remove(const Observation& seen, const JobFiles& files) {
        try {
            return find_log_to_remove(seen, files);
        } catch (const std::exception& error) {
            complain(error.what());  // the job goes all the same
            return std::nullopt;
        }
    }

    std::optional<Log> find_log_to_remove(const Observation& seen, const JobFiles& files) {
        const JobDocument& job = *seen.document;
        const auto start = log_of(job);
        if (!start || !start->file.starts_with('/') || logs_in_use_.contains(start->file))
            return std::nullopt;
        const auto place = place_of_log(*job.run(), files);
        if (!place) return std::nullopt;
        const bool is_own =
            place->is_beside && (place->name == without_json(files.name) + ".log" ||
                                 place->name == without_json(files.name) + ".stderr");
        if (!is_own && (!options_.logs || start->offset != 0 || is_a_job_file(place->name)))
            return std::nullopt;
        // A group may share its jobs, but what it says of files elsewhere is not believed.
        if (is_own ? everybody_may_write(seen.mode) : others_may_write(seen.mode))
            throw Refusal(start->file + ": kept, because others may write to " + files.path);
        if (!place->is_beside && !place->has_not_moved)
            throw Refusal(start->file + ": kept, because " + files.path +
                          " is a copy, or was moved, and the log may be another job's");
        Log log{place->directory.as(files.directory.identity()), place->name};
        return holds_only_this_run(log, job, files) ? std::optional(std::move(log)) : std::nullopt;
    }

    // As far as that shows: nobody else has written to it, or is about to.
    static bool holds_only_this_run(const Log& log, const JobDocument& job, const JobFiles& files) {
        const UniqueFd fd = log.directory.open_file(log.name, O_RDONLY);
        if (!fd) return false;
        const FileStamp stamp = stamp_of(fd.get(), log.directory.path_of(log.name));
        const auto ended = end_time_of(job);
        if (!stamp.is_regular || stamp.names != 1 || stamp.owner != files.owner() || !ended ||
            stamp.modified_ns / 1'000'000 > *ended + late_lines.count() || has_writer(fd.get()))
            return false;
        const RunRecord& run = *job.run();
        // Longer by what the worker left behind.
        const bool may_have_grown = !run.log->end || (run.exit && !run.exit->leftovers.empty());
        return may_have_grown || stamp.size <= *run.log->end;
    }

    // A record that names another job's file as its log is a forged one.
    static bool is_a_job_file(const std::string& name) {
        return name.starts_with('.') || name.ends_with(".json") || is_heartbeat_name(name) ||
               name.find(".json.") != std::string::npos;
    }

    // The job file that a copy, a stale file or a request belongs to.
    static std::string job_of(const std::string& name) {
        if (std::string job = job_name_of_own(name); !job.empty()) return job;
        for (const char* mark : {".corrupt-", ".displaced-", ".cancel-"})
            if (const std::size_t at = name.rfind(mark); at != std::string::npos)
                return name.substr(0, at);
        return "";
    }

    // Copies that were set aside, files that a killed writer left, and requests.
    std::vector<std::string> names_beside(const JobFiles& files) {
        auto [at, is_new] = possible_copies_.try_emplace(files.directory.path());
        if (is_new)
            for (std::string& name : possible_copies_in(files.directory))
                at->second.emplace(job_of(name), std::move(name));
        std::vector<std::string> names;
        const auto add = [&](const std::string& name) {
            const auto stamp = files.directory.stamp_at(name);
            if (stamp && (files.counts(*stamp) || files.may_be_request(*stamp)))
                names.push_back(name);
        };
        const auto [first, last] = at->second.equal_range(files.name);
        for (auto copy = first; copy != last; ++copy) add(copy->second);
        add(files.cancel);
        return names;
    }

    void list_files(Pruned& pruned, const JobFiles& files, const Observation& seen,
                    const std::optional<Log>& log) {
        if (const auto copy =
                seen.run ? find_unrecorded(files, context_.observer, seen.run->shim) : std::nullopt)
            pruned.files.push_back(copy->directory.path_of(copy->name));
        if (log) pruned.files.push_back(log->directory.path_of(log->name));
        for (const std::string& name : names_beside(files))
            pruned.files.push_back(files.path_of(name));
        pruned.files.push_back(files.path);
        if (files.directory.stamp_at(files.heartbeat))
            pruned.files.push_back(files.path_of(files.heartbeat));
    }

    // Heartbeat files of deleted job files: deleted by the host, or by a prune that was killed
    // right then.
    void remove_heartbeats_without_job() {
        for (const Directory& directory : directories_)
            for (const std::string& name : heartbeat_names_in(directory))
                attempt([&] { return remove_if_without_job(directory, name); });
    }

    // The files of the job that a heartbeat file belongs to, if that job's own file is gone.
    std::optional<JobFiles> job_without_file(const Directory& directory, const std::string& name) {
        const auto there = directory.stamp_at(name);
        if (!there || !there->is_regular || there->names > 1) return std::nullopt;
        const auto contents = directory.read_file(name, budget_.limit());
        if (!contents) return std::nullopt;
        budget_.spend(contents->text.size(), 4);
        const Heartbeat beat = parse_heartbeat(contents->text);
        if (!beat.run || !beat.job_file.starts_with('/')) return std::nullopt;
        JobFiles files = job_files_in(directory, split_path(beat.job_file).name);
        if (files.heartbeat != name || directory.stamp_at(files.name)) return std::nullopt;
        // There is no job file to belong to anybody: it is the heartbeat file's owner's.
        take_owner_from(files, contents->stamp);
        if (!files.may_act()) return std::nullopt;
        return files;
    }

    bool remove_if_without_job(const Directory& directory, const std::string& name) {
        const auto files = job_without_file(directory, name);
        if (!files) return false;
        if (options_.dry_run) {
            const Observation seen = observe(*files, context_.observer);
            if (!is_over_without_job(seen)) return false;
            for (const std::string& other : names_beside(*files))
                lone_files_.push_back(files->path_of(other));
            lone_files_.push_back(files->path_of(name));
            return false;
        }
        const auto lock = SettlerLock::try_take(*files);
        if (!lock) return false;
        const Observation seen = observe(*files, context_.observer, [&] { return lock->probe(); });
        if (!is_over_without_job(seen) || !lock->still_in_place()) return false;
        for (const std::string& other : names_beside(*files)) remove(files->directory, other);
        remove(files->directory, files->heartbeat);
        return true;
    }

    bool is_over_without_job(const Observation& seen) const {
        const bool is_over = seen.known_end || seen.sighting.shim == Liveness::dead;
        return !seen.file_exists && seen.probe.lock == LivenessLock::free && is_over &&
               seen.probe.mtime_ns &&
               is_older(*seen.probe.mtime_ns / 1'000'000, options_.older_than);
    }

    void show(const std::vector<Pruned>& pruned) const {
        if (options_.json) {
            JsonArrayPrinter array;
            for (const Pruned& job : pruned) array.add(job.json);
            return array.finish();
        }
        for (const Pruned& job : pruned) {
            print(status_line(job.report));
            if (options_.dry_run)
                for (const std::string& file : job.files) print("  " + printable(file) + "\n");
        }
        for (const std::string& file : lone_files_) print(printable(file) + "\n");
        print(std::to_string(pruned.size()) + (pruned.size() == 1 ? " job" : " jobs") +
              (options_.dry_run ? " would be removed\n" : " removed\n"));
    }

    const CtlOptions& options_;
    const Context& context_;
    RecordBudget budget_;
    std::set<std::string> logs_in_use_;
    std::vector<Directory> directories_;
    // By directory: names, by job.
    std::map<std::string, std::multimap<std::string, std::string>> possible_copies_;
    std::vector<std::string> lone_files_;  // heartbeat files that --dry-run would remove
    Outcome outcome_ = done;
};

}  // namespace

Outcome prune_jobs(const CtlOptions& options, const Context& context) {
    return Pruner(options, context).run();
}

}  // namespace jobshim
