// jobctl wait --companion.
#include "shim/jobctl/companion/wait.hpp"

#include <algorithm>

#include "common/clocks.hpp"
#include "common/companion/paths.hpp"
#include "common/units.hpp"
#include "shim/jobctl/companion/survey.hpp"
#include "shim/jobctl/output.hpp"
#include "shim/jobctl/watch.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

// A worker that nobody started yet, or one that cannot be watched, is looked at so often.
constexpr milliseconds short_tick{1000};
// Where a process or a directory gives a sign, for what neither shows.
constexpr milliseconds long_tick{10'000};

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
