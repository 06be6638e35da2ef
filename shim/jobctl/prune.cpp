// jobctl prune --older-than DUR: removes jobs that ended at least that long ago, with everything
// that belongs to them.
//
// The job file goes last but one and the heartbeat file last, so that after a kill in the middle
// the next run can carry on; a heartbeat file without a job is found by itself. All of this happens
// under the writer lock: a shim that starts meanwhile waits for the lock, finds that the heartbeat
// file is gone, and starts over.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>
#include <set>

#include "common/clocks.hpp"
#include "common/heartbeat_lines.hpp"
#include "common/system_calls.hpp"
#include "common/units.hpp"
#include "shim/jobctl/commands.hpp"
#include "shim/jobctl/look.hpp"
#include "shim/jobctl/output.hpp"
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
    return time && wall_now_ms() - *time >= age.count();
}

std::string log_of(const JobDocument& job) {
    const auto run = job.run();
    return run && run->log ? run->log->file : "";
}

void remove(const std::string& path) {
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) throw_errno("remove " + path);
}

class Pruner {
public:
    Pruner(const CtlOptions& options, const Context& context)
        : options_(options), context_(context) {}

    Outcome run() {
        complain_of_missing_directories(context_);
        std::vector<JobReport> old;
        for (Surveyed& job : survey(context_, {.settle = !options_.dry_run})) {
            if (is_old(job.report.job))
                old.push_back(std::move(job.report));
            else if (job.report.job)
                logs_in_use_.insert(log_of(*job.report.job));
        }
        std::vector<JobReport> pruned;
        for (JobReport& report : old)
            if (options_.dry_run || attempt([&] { return prune(job_files_of(report.file)); }))
                pruned.push_back(std::move(report));
        if (!options_.dry_run) remove_heartbeats_without_job();
        show(pruned);
        return outcome_;
    }

private:
    bool is_old(const std::optional<JobDocument>& job) const {
        return job && is_final(job->status()) && is_older(end_time_of(*job), options_.older_than);
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
    bool prune(const JobFiles& files) {
        const auto lock = SettlerLock::try_take(files.heartbeat);
        if (!lock) return false;
        try {
            if (prune_under(*lock, files)) return true;
        } catch (...) {
            lock->remove_if_empty();
            throw;
        }
        lock->remove_if_empty();
        return false;
    }

    bool prune_under(const SettlerLock& lock, const JobFiles& files) {
        const Observation seen = observe(files, context_.observer, [&] { return lock.probe(); });
        if (!is_old(seen.document) || !seen.verdict.ended ||
            seen.probe.lock == LivenessLock::held || !lock.still_in_place())
            return false;
        remove_log(*seen.document, files);
        for (const std::string& copy : copies_of(files)) remove(copy);
        remove(files.cancel);
        if (seen.run && !context_.observer.state_directory.empty())
            remove(unrecorded_file(context_.observer.state_directory, seen.run->shim));
        if (!remove_job(lock, files, seen.document->text())) return false;
        remove(files.heartbeat);
        return true;
    }

    // At this very moment a host may request a new run, and a shim may be waiting for our lock. So
    // the file is first moved aside: then the file that is checked is the one that is removed.
    static bool remove_job(const SettlerLock& lock, const JobFiles& files,
                           const std::string& text) {
        remove(files.fresh);
        if (!rename_to_free_name(files.job, files.fresh)) {
            if (errno == ENOENT) return true;  // deleted just now
            throw_errno("remove " + files.job);
        }
        const auto taken = read_file(files.fresh, max_job_file_bytes);
        if (taken && taken->text == text && lock.probe().lock != LivenessLock::held) {
            remove(files.fresh);
            return true;
        }
        if (!rename_to_free_name(files.fresh, files.job))
            remove(files.fresh);  // there is a newer one
        return false;
    }

    // Spares a log that other jobs append to, and one that has been put to another use since.
    // Removes it only if it belongs to the owner of the job file: anybody who may write to the
    // directory can write a record, and the log that it names may be somebody else's file.
    void remove_log(const JobDocument& job, const JobFiles& files) const {
        const std::string log = log_of(job);
        const auto ended = end_time_of(job);
        const auto record = stamp_at(files.job);
        const std::size_t slash = log.rfind('/');
        if (slash == std::string::npos || !ended || !record || logs_in_use_.contains(log)) return;
        // Anybody who owns a directory on the path could redirect it between the check and the
        // removal.
        const UniqueFd directory = open_directory_for_lookup(log.substr(0, slash + 1));
        const std::string name = log.substr(slash + 1);
        struct stat info {};
        if (!directory ||
            ::fstatat(directory.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 ||
            !S_ISREG(info.st_mode) || info.st_uid != record->owner ||
            ns_of(mtime_of(info)) / 1'000'000 > *ended + late_lines.count())
            return;
        if (::unlinkat(directory.get(), name.c_str(), 0) != 0 && errno != ENOENT)
            throw_errno("remove " + log);
    }

    // Heartbeat files of deleted job files: deleted by the host, or by a prune that was killed
    // right then.
    void remove_heartbeats_without_job() {
        for (const std::string& directory : context_.directories)
            for (const std::string& name : heartbeat_names_in(directory))
                attempt([&] { return remove_if_without_job(directory, name); });
    }

    bool remove_if_without_job(const std::string& directory, const std::string& name) {
        const std::string path = directory + "/" + name;
        const Heartbeat beat = parse_heartbeat(probe_heartbeat(path).text);
        const std::string& job = beat.job_file;
        if (!beat.run || job.empty()) return false;
        const JobFiles files = job_files_of(directory + "/" + job.substr(job.rfind('/') + 1));
        if (files.heartbeat != job_files_of(path).job || stamp_at(files.job)) return false;
        const auto lock = SettlerLock::try_take(files.heartbeat);
        if (!lock) return false;
        const Observation seen = observe(files, context_.observer, [&] { return lock->probe(); });
        const bool is_over = seen.known_end || seen.sighting.shim == Liveness::dead;
        if (seen.file_exists || seen.probe.lock != LivenessLock::free || !is_over ||
            !seen.probe.mtime_ns ||
            !is_older(*seen.probe.mtime_ns / 1'000'000, options_.older_than) ||
            !lock->still_in_place())
            return false;
        for (const std::string& copy : copies_of(files)) remove(copy);
        remove(files.cancel);
        remove(files.heartbeat);
        return true;
    }

    // Copies that were set aside, and files that a killed writer left.
    std::vector<std::string> copies_of(const JobFiles& files) {
        auto [at, is_new] = possible_copies_.try_emplace(files.directory);
        if (is_new) at->second = possible_copies_in(files.directory);
        std::vector<std::string> copies;
        for (const std::string& name : at->second)
            if (name.starts_with(files.name + ".corrupt-") ||
                name.starts_with(files.name + ".displaced-") || job_name_of_own(name) == files.name)
                copies.push_back(path_in(files.directory, name));
        return copies;
    }

    void show(const std::vector<JobReport>& pruned) const {
        if (options_.json) return print(json_array_of(pruned));
        for (const JobReport& report : pruned) print(status_line(report));
        print(std::to_string(pruned.size()) + (pruned.size() == 1 ? " job" : " jobs") +
              (options_.dry_run ? " would be removed\n" : " removed\n"));
    }

    const CtlOptions& options_;
    const Context& context_;
    std::set<std::string> logs_in_use_;
    std::map<std::string, std::vector<std::string>> possible_copies_;  // names, by directory
    Outcome outcome_ = done;
};

}  // namespace

Outcome prune_jobs(const CtlOptions& options, const Context& context) {
    return Pruner(options, context).run();
}

}  // namespace jobshim
