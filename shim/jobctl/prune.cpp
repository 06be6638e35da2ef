// jobctl prune --older-than DUR: removes jobs that ended so long ago, with all that belongs to
// them.
//
// The job file goes last but for the heartbeat file, so that whoever is killed in the middle can be
// gone on with. All under the writer lock: a shim that starts meanwhile waits for it, finds the
// heartbeat file gone and begins anew.
#include <sys/stat.h>
#include <unistd.h>

#include <map>
#include <set>

#include "common/clocks.hpp"
#include "common/units.hpp"
#include "shim/jobctl/commands.hpp"
#include "shim/jobctl/look.hpp"
#include "shim/jobctl/output.hpp"
#include "shim/jobctl/selection.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;

// How much later than the end a log may have been written to: by the rest of the worker's group.
constexpr milliseconds late_lines{60'000};

std::optional<std::int64_t> end_time_of(const JobDocument& job) {
    for (const char* key : {"completedAt", "updatedAt"})
        if (const auto time = parse_iso_time(job.string(key).value_or(""))) return time;
    return std::nullopt;
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
    Pruner(const Options& options, const Context& context) : options_(options), context_(context) {}

    Outcome run() {
        complain_of_missing_directories(context_);
        std::vector<JobReport> old;
        for (Surveyed& job : survey(context_, {.settle = !options_.dry_run})) {
            if (is_old(job.report))
                old.push_back(std::move(job.report));
            else if (job.report.job)
                logs_in_use_.insert(log_of(*job.report.job));
        }
        std::vector<JobReport> pruned;
        for (JobReport& report : old)
            if (options_.dry_run || try_to_prune(report)) pruned.push_back(std::move(report));
        show(pruned);
        return outcome_;
    }

private:
    bool is_old(const JobReport& report) const {
        if (!report.job || !is_terminal(report.job->status())) return false;
        const auto ended = end_time_of(*report.job);
        return ended && wall_now_ms() - *ended >= options_.older_than.count();
    }

    bool try_to_prune(const JobReport& report) {
        try {
            return prune(job_files_of(report.file));
        } catch (const std::exception& error) {
            complain(printable(error.what()));
            outcome_ = Outcome::own_failure;
            return false;
        }
    }

    // False if it is not for us to remove (any more).
    bool prune(const JobFiles& files) {
        const auto lock = SettlerLock::try_take(files.heartbeat);
        if (!lock) return false;
        const Observation seen = observe(files, context_.observer, [&] { return lock->probe(); });
        if (!seen.document || !seen.verdict.ended || seen.probe.lock == LifeLock::held ||
            !lock->still_in_place())
            return false;
        remove_log(*seen.document);
        for (const std::string& copy : copies_of(files)) remove(copy);
        remove(files.cancel);
        if (seen.run && !context_.observer.state_directory.empty())
            remove(unrecorded_file(context_.observer.state_directory, seen.run->shim));
        remove(files.job);
        remove(files.heartbeat);
        return true;
    }

    // Not one that other jobs append to, nor one that has found another use since.
    void remove_log(const JobDocument& job) const {
        const std::string log = log_of(job);
        const auto ended = end_time_of(job);
        struct stat info {};
        if (log.empty() || !ended || logs_in_use_.contains(log) ||
            ::lstat(log.c_str(), &info) != 0 || !S_ISREG(info.st_mode) ||
            info.st_mtim.tv_sec * 1000 > *ended + late_lines.count())
            return;
        remove(log);
    }

    // What was set aside, and what a killed writer left.
    std::vector<std::string> copies_of(const JobFiles& files) {
        auto [at, is_new] = possible_copies_.try_emplace(files.directory);
        if (is_new) at->second = possible_copies_in(files.directory);
        std::vector<std::string> copies;
        for (const std::string& name : at->second)
            if (name.starts_with(files.name + ".corrupt-") ||
                name.starts_with(files.name + ".displaced-") ||
                job_name_of_leaving(name) == files.name)
                copies.push_back((files.directory == "/" ? "" : files.directory) + "/" + name);
        return copies;
    }

    void show(const std::vector<JobReport>& pruned) const {
        if (options_.json) return print(json_array_of(pruned));
        for (const JobReport& report : pruned) print(status_line(report));
        print(std::to_string(pruned.size()) + (pruned.size() == 1 ? " job" : " jobs") +
              (options_.dry_run ? " would be removed\n" : " removed\n"));
    }

    const Options& options_;
    const Context& context_;
    std::set<std::string> logs_in_use_;
    std::map<std::string, std::vector<std::string>> possible_copies_;  // names, by directory
    Outcome outcome_ = done;
};

}  // namespace

Outcome prune_jobs(const Options& options, const Context& context) {
    return Pruner(options, context).run();
}

}  // namespace jobshim
