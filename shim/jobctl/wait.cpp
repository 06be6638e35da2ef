// jobctl wait JOB...: returns when the jobs have ended.
//
// A host may run the same job again and again, and wait right after it spawned the shim. Then the
// record still holds the last run's end, which is not the one that is waited for. So an end that
// was there from the beginning is believed only after a moment's grace, and not while a shim is on
// its way for this job.
#include <algorithm>
#include <deque>

#include "common/clocks.hpp"
#include "common/file_system.hpp"
#include "common/units.hpp"
#include "shim/jobctl/commands.hpp"
#include "shim/jobctl/output.hpp"
#include "shim/jobctl/selection.hpp"
#include "shim/jobctl/starting_shims.hpp"
#include "shim/jobctl/vigil.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

// Between looks for a file whose directory is missing, or cannot be watched.
constexpr milliseconds absent_tick{50};
// A file that vanishes under us may be one that its host replaces by removing it first.
constexpr milliseconds vanished_patience{1000};

class AwaitedJob {
public:
    AwaitedJob(std::string job, const Options& options, const Context& context, FileWatch& watch)
        : job_(std::move(job)), options_(options), context_(context), watch_(watch) {}

    // The first look. `deadline`: the end of all waiting.
    void begin(nanoseconds deadline) {
        deadline_ = deadline;
        absent_until_ = monotonic_now() + options_.appear;
        if (find_it()) first_look();
    }

    void go_on(const FileWatch::News& news) {
        const nanoseconds now = monotonic_now();
        switch (stage_) {
            case Stage::absent:
                if (find_it()) watch_it();
                return;
            case Stage::grace:
                if (now >= grace_ends_)
                    look_for_starting_shims();
                else if (vigil_->is_due(news, now))
                    is_last_nights_end();
                return;
            case Stage::starting:
                if (vigil_->is_due(news, now) || one_of_the_shims_ended())
                    look_for_starting_shims();
                return;
            case Stage::running:
                if (vigil_->is_due(news, now)) watch_it();
                return;
            case Stage::over:
            case Stage::no_such_job:
            case Stage::out_of_reach:
                return;
        }
    }

    bool has_ended() const { return stage_ == Stage::over; }
    bool is_awaited() const {
        return stage_ == Stage::absent || stage_ == Stage::grace || stage_ == Stage::starting ||
               stage_ == Stage::running;
    }

    void add_to(std::vector<pollfd>& descriptors) const {
        if (vigil_ && is_awaited()) vigil_->add_to(descriptors);
        for (const ProcessHandle& shim : starting_) descriptors.push_back({shim.get(), POLLIN, 0});
    }

    nanoseconds wake_at() const {
        switch (stage_) {
            case Stage::absent:
                return std::min(absent_until_, absent_look_at_);
            case Stage::grace:
                return std::min(grace_ends_, vigil_->look_again_at());
            case Stage::starting:
            case Stage::running:
                return vigil_->look_again_at();
            case Stage::over:
            case Stage::no_such_job:
            case Stage::out_of_reach:
                return end_of_time;
        }
        return end_of_time;
    }

    // After the time-out a job that is still awaited has none of its own.
    Outcome outcome() const {
        switch (stage_) {
            case Stage::over:
                return outcome_of(vigil_->seen().now.verdict.state);
            case Stage::no_such_job:
                return Outcome::no_such_job;
            case Stage::out_of_reach:
                return Outcome::own_failure;
            case Stage::absent:
            case Stage::grace:
            case Stage::starting:
            case Stage::running:
                return Outcome::timed_out;
        }
        return Outcome::timed_out;
    }

    const std::string& name() const { return job_; }
    // Of a shim on its way nothing is known yet, and what the record says is the last run's.
    bool is_starting() const { return stage_ == Stage::starting; }
    // Nothing for a job that never was there.
    std::optional<JobReport> report() const {
        if (!vigil_ || is_gone(vigil_->seen().now)) return std::nullopt;
        return report_of(vigil_->files(), vigil_->seen());
    }
    // How the worker ended, as a shell would tell it; nothing if that is not known.
    std::optional<int> workers_exit_status() const;

private:
    enum class Stage {
        absent,        // no file yet
        grace,         // the first look found an end, which may be the last run's
        starting,      // so it did, and there is a shim on its way
        running,       // to all we know
        over,          // ended
        no_such_job,   // nor did it appear
        out_of_reach,  // cannot be looked at; complained of
    };

    // True once the file is there.
    bool find_it() {
        stage_ = Stage::absent;
        try {
            if (select()) return true;
            if (monotonic_now() < absent_until_) {
                watch_whereabouts();
                return select();  // it may have come between the look and the watch
            }
            complain_of_no_such_job(job_);
            stage_ = Stage::no_such_job;
        } catch (const std::system_error& error) {
            complain(error.what());
            stage_ = Stage::out_of_reach;
        }
        return false;
    }

    bool select() {
        auto files = select_job(job_, context_.directories);
        if (!files) return false;
        vigil_.emplace(std::move(*files), watch_);
        return true;
    }

    void watch_whereabouts() {
        const Whereabouts where = whereabouts_of(job_, context_.directories);
        bool gives_signs = where.complete;
        for (const std::string& directory : where.directories)
            if (!watch_.watch_directory(directory) || !is_local_file_system(directory))
                gives_signs = false;
        absent_look_at_ = gives_signs ? end_of_time : monotonic_now() + absent_tick;
    }

    // Only looks: what may be the last run's end is not settled before it is certain.
    void first_look() {
        vigil_->look(context_.observer, false);
        if (!vigil_->is_over()) return watch_it();
        vigil_->watch_files();
        stage_ = Stage::grace;
        if (const auto& run = vigil_->seen().now.run) last_shim_ = run->shim;
        grace_ends_ = std::min(monotonic_now() + grace_time, deadline_);
    }

    // The end that is seen now is still the one of the first look. Otherwise goes on from there.
    bool is_last_nights_end() {
        const Observation& seen = vigil_->look(context_.observer, false).now;
        const bool another_run = seen.run && seen.run->shim != last_shim_;
        if (vigil_->is_over() && !another_run && !is_gone(seen)) return true;
        starting_.clear();
        watch_it();
        return false;
    }

    void look_for_starting_shims() {
        if (!is_last_nights_end()) return;
        starting_ = find_starting_shims(vigil_->files(), last_shim_, context_.observer);
        stage_ = Stage::starting;
        // It may have taken the lock just before it was looked for, or ended since.
        if (starting_.empty() && is_last_nights_end()) watch_it();
    }

    bool one_of_the_shims_ended() const {
        return std::any_of(starting_.begin(), starting_.end(), [](const ProcessHandle& shim) {
            return wait_for_end(shim, milliseconds(0));
        });
    }

    void watch_it() {
        stage_ = Stage::running;
        vigil_->look(context_.observer, options_.settle);
        if (is_gone(vigil_->seen().now)) {
            absent_until_ = monotonic_now() + vanished_patience;
            if (find_it()) watch_it();
        } else if (vigil_->is_over()) {
            stage_ = Stage::over;
        }
    }

    const std::string job_;
    const Options& options_;
    const Context& context_;
    FileWatch& watch_;
    Stage stage_ = Stage::absent;
    std::optional<Vigil> vigil_;
    nanoseconds deadline_ = end_of_time;
    nanoseconds absent_until_{0};
    nanoseconds absent_look_at_ = end_of_time;
    nanoseconds grace_ends_{0};
    ShimIdentity last_shim_;
    std::vector<ProcessHandle> starting_;
};

std::optional<int> AwaitedJob::workers_exit_status() const {
    if (!has_ended()) return std::nullopt;
    const auto end = end_of(vigil_->seen());
    if (!end) return std::nullopt;
    if (end->code) return end->code;
    if (end->signal) return 128 + *end->signal;
    return std::nullopt;
}

class Waiting {
public:
    Waiting(const Options& options, const Context& context) : options_(options) {
        if (options.timeout) deadline_ = monotonic_now() + *options.timeout;
        for (const std::string& job : options.jobs)
            jobs_.emplace_back(job, options, context, watch_);
    }

    int run() {
        for (AwaitedJob& job : jobs_) {
            job.begin(deadline_);
            announce(job);
        }
        while (!is_enough() && monotonic_now() < deadline_) {
            sleep();
            const FileWatch::News news = watch_.take();
            for (AwaitedJob& job : jobs_)
                if (job.is_awaited()) {
                    job.go_on(news);
                    announce(job);
                }
        }
        return conclude();
    }

private:
    bool is_enough() const {
        if (options_.any && first_to_end() != jobs_.end()) return true;
        return std::none_of(jobs_.begin(), jobs_.end(),
                            [](const AwaitedJob& job) { return job.is_awaited(); });
    }

    std::deque<AwaitedJob>::const_iterator first_to_end() const {
        return std::find_if(jobs_.begin(), jobs_.end(),
                            [](const AwaitedJob& job) { return job.has_ended(); });
    }

    void sleep() const {
        std::vector<pollfd> descriptors;
        nanoseconds wake_at = deadline_;
        for (const AwaitedJob& job : jobs_) {
            job.add_to(descriptors);
            wake_at = std::min(wake_at, job.wake_at());
        }
        descriptors.push_back({watch_.descriptor(), POLLIN, 0});
        sleep_until(wake_at, descriptors);
    }

    // People see each job as it ends; programs get all of them in one array, at the end.
    void announce(const AwaitedJob& job) const {
        if (!options_.json && job.has_ended()) print(status_line(*job.report()));
    }

    int conclude() const {
        const auto first = first_to_end();
        const bool any_ended = options_.any && first != jobs_.end();
        if (!any_ended)
            for (const AwaitedJob& job : jobs_)
                if (job.is_awaited()) say_timed_out(job);
        if (options_.json) print_array();
        if (any_ended) return exit_status(first->outcome());
        if (options_.mirror)
            if (const auto status = jobs_.front().workers_exit_status()) return *status;
        std::vector<Outcome> outcomes;
        for (const AwaitedJob& job : jobs_) outcomes.push_back(job.outcome());
        return exit_status(gravest_of(outcomes));
    }

    void say_timed_out(const AwaitedJob& job) const {
        const auto report = job.report();
        std::string state = report ? std::string(word(report->verdict.state)) : "not there";
        if (job.is_starting())
            state = "starting";
        else if (report && !options_.json)
            print(status_line(*report));
        complain(printable(job.name()) + ": still " + state + " after " +
                 duration_in_words(*options_.timeout));
    }

    void print_array() const {
        std::vector<JobReport> reports;
        for (const AwaitedJob& job : jobs_)
            if (auto report = job.report()) reports.push_back(std::move(*report));
        print(json_array_of(reports));
    }

    const Options& options_;
    FileWatch watch_;
    nanoseconds deadline_ = end_of_time;
    std::deque<AwaitedJob> jobs_;  // they hold references and stay where they are
};

}  // namespace

int wait_for_jobs(const Options& options, const Context& context) {
    return Waiting(options, context).run();
}

}  // namespace jobshim
