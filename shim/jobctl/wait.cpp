// jobctl wait JOB...: returns when the jobs have ended. One loop for all of them; what wakes it,
// and why there is no polling on one host, is in job_watcher.hpp.
#include <algorithm>

#include "common/clocks.hpp"
#include "shim/jobctl/awaited_job.hpp"
#include "shim/jobctl/commands.hpp"
#include "shim/jobctl/companion/survey.hpp"
#include "shim/jobctl/output.hpp"

namespace jobshim {

namespace {

using std::chrono::nanoseconds;

// As a shell would report it; nothing if that is unknown.
std::optional<int> exit_status_of(const std::optional<ExitRecord>& end) {
    if (!end) return std::nullopt;
    if (end->code) return end->code;
    if (end->signal) return 128 + *end->signal;
    return std::nullopt;
}

class Waiting {
public:
    Waiting(const CtlOptions& options, const Context& context)
        : options_(options), context_(context) {
        if (options.timeout) {
            deadline_ = monotonic_now() + *options.timeout;
            context_.observer.deadline = deadline_;
        }
        if (context.is_companion && options.jobs.size() > 1) settle_companion_jobs();
        for (const std::string& job : options.jobs)
            jobs_.push_back(context.is_companion
                                ? await_companion_job(job, options, context_, watch_)
                                : await_job_file(job, options, context_, watch_, deadline_));
    }

    int run() {
        for (const auto& job : jobs_) {
            job->begin();
            announce(*job);
        }
        while (!is_done() && monotonic_now() < deadline_) {
            sleep();
            const FileWatch::News news = watch_.read();
            for (const auto& job : jobs_)
                if (job->is_awaited()) {
                    job->update(news);
                    announce(*job);
                }
        }
        return conclude();
    }

private:
    // Those that are dead already, together: what that waits for is waited for once.
    void settle_companion_jobs() const {
        std::vector<CompanionJob> jobs;
        for (const std::string& name : options_.jobs)
            if (auto job = select_companion_job(name, context_)) jobs.push_back(*std::move(job));
        look_at_companion_jobs(jobs, context_, options_.settle);
    }

    bool is_done() const {
        if (options_.any && first_to_end() != nullptr) return true;
        return std::none_of(jobs_.begin(), jobs_.end(),
                            [](const auto& job) { return job->is_awaited(); });
    }

    // Null if none has ended.
    const AwaitedJob* first_to_end() const {
        for (const auto& job : jobs_)
            if (job->has_ended()) return job.get();
        return nullptr;
    }

    void sleep() const {
        std::vector<pollfd> descriptors;
        nanoseconds wake_at = deadline_;
        for (const auto& job : jobs_)
            if (job->is_awaited()) wake_at = std::min(wake_at, job->wake_at(descriptors));
        descriptors.push_back({watch_.descriptor(), POLLIN, 0});
        poll_until(wake_at, descriptors);
    }

    // People see each job as it ends; programs get all of them in one array, at the end.
    void announce(const AwaitedJob& job) const {
        if (!options_.json && job.has_ended()) print(status_line(*job.report()));
    }

    int conclude() const {
        const AwaitedJob* const first = options_.any ? first_to_end() : nullptr;
        if (first == nullptr)
            for (const auto& job : jobs_)
                if (job->is_awaited()) job->say_timed_out();
        if (options_.json) print_array();
        if (first != nullptr) return exit_status(first->outcome());
        if (options_.mirror)
            if (const auto status = exit_status_of(jobs_.front()->end())) return *status;
        std::vector<Outcome> outcomes;
        for (const auto& job : jobs_) outcomes.push_back(job->outcome());
        return exit_status(worst_of(outcomes));
    }

    void print_array() const {
        std::vector<JobReport> reports;
        for (const auto& job : jobs_)
            if (auto report = job->report()) reports.push_back(std::move(*report));
        print(json_array_of(reports));
    }

    const CtlOptions& options_;
    Context context_;  // with our deadline
    FileWatch watch_;
    nanoseconds deadline_ = end_of_time;
    std::vector<std::unique_ptr<AwaitedJob>> jobs_;
};

}  // namespace

int wait_for_jobs(const CtlOptions& options, const Context& context) {
    return Waiting(options, context).run();
}

}  // namespace jobshim
