// jobctl wait for a job with a job file.
//
// A host may run the same job again and again, and wait as soon as it has started the shim. At that
// moment the record still holds the end of the previous run, which is not the one being waited for.
// So an end that was there from the beginning is believed only after a short grace time, and only
// if no shim is starting for this job.
#include <algorithm>
#include <utility>

#include "common/clocks.hpp"
#include "common/units.hpp"
#include "shim/jobctl/awaited_job.hpp"
#include "shim/jobctl/job_watcher.hpp"
#include "shim/jobctl/selection.hpp"
#include "shim/jobctl/starting_shims.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

// Between looks for a file whose directory is missing or cannot be watched.
constexpr milliseconds absent_tick{50};
// A file that vanishes under us may be about to be replaced: some hosts remove it first.
constexpr milliseconds vanished_patience{1000};

class AwaitedJobFile : public AwaitedJob {
public:
    AwaitedJobFile(std::string job, const CtlOptions& options, const Context& context,
                   FileWatch& watch, nanoseconds deadline)
        : job_(std::move(job)),
          options_(options),
          context_(context),
          watch_(watch),
          deadline_(deadline) {}

    void begin() override {
        absent_until_ = monotonic_now() + options_.appear;
        if (find_it()) first_look();
    }

    void update(const FileWatch::News& news) override {
        const nanoseconds now = monotonic_now();
        switch (stage_) {
            case Stage::absent:
                if (find_it()) keep_watching();
                return;
            case Stage::grace:
                if (now >= grace_ends_)
                    look_for_starting_shims();
                else if (watcher_->is_due(news, now))
                    is_previous_end();
                return;
            case Stage::starting:
                if (watcher_->is_due(news, now) || now >= starting_.until ||
                    one_of_the_shims_ended())
                    look_for_starting_shims();
                return;
            case Stage::running:
                if (watcher_->is_due(news, now)) keep_watching();
                return;
            case Stage::over:
            case Stage::no_such_job:
            case Stage::out_of_reach:
                return;
        }
    }

    bool has_ended() const override { return stage_ == Stage::over; }
    bool is_awaited() const override {
        return stage_ == Stage::absent || stage_ == Stage::grace || stage_ == Stage::starting ||
               stage_ == Stage::running;
    }

    nanoseconds wake_at(std::vector<pollfd>& descriptors) const override {
        if (watcher_ && is_awaited()) watcher_->add_to(descriptors);
        for (const ProcessHandle& shim : starting_.handles)
            descriptors.push_back({shim.get(), POLLIN, 0});
        switch (stage_) {
            case Stage::absent:
                return std::min(absent_until_, absent_look_at_);
            case Stage::grace:
                return std::min(grace_ends_, watcher_->look_again_at());
            case Stage::starting:
                return std::min(starting_.until, watcher_->look_again_at());
            case Stage::running:
                return watcher_->look_again_at();
            case Stage::over:
            case Stage::no_such_job:
            case Stage::out_of_reach:
                return end_of_time;
        }
        return end_of_time;
    }

    Outcome outcome() const override {
        switch (stage_) {
            case Stage::over:
                return outcome_of(watcher_->seen().now.verdict.state);
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

    std::optional<JobReport> report() const override {
        if (!watcher_ || is_gone(watcher_->seen().now)) return std::nullopt;
        return report_of(watcher_->files(), watcher_->seen());
    }

    std::optional<ExitRecord> end() const override {
        return has_ended() ? end_of(watcher_->seen()) : std::nullopt;
    }

    void say_timed_out() const override {
        const auto seen = report();
        std::string state = seen ? std::string(word(seen->verdict.state)) : "not there";
        // Nothing is known yet about a shim that is starting, and the record describes the
        // previous run.
        if (stage_ == Stage::starting)
            state = "starting";
        else if (seen && !options_.json)
            print(status_line(*seen));
        complain(printable(job_) + ": still " + state + " after " +
                 describe_duration(*options_.timeout));
    }

private:
    enum class Stage {
        absent,        // no file yet
        grace,         // the first look found an end, which may be the previous run's
        starting,      // it was the previous run's, and a shim is starting
        running,       // as far as we know
        over,          // ended
        no_such_job,   // it did not appear either
        out_of_reach,  // cannot be looked at; complained of
    };

    // True once the file exists.
    bool find_it() {
        stage_ = Stage::absent;
        try {
            if (select()) return true;
            if (monotonic_now() < absent_until_) {
                watch_whereabouts();
                return select();  // it may have appeared between the look and the watch
            }
            complain_of_no_exact_job(job_, context_.directories);
            stage_ = Stage::no_such_job;
        } catch (const AmbiguousJob&) {
            throw;
        } catch (const std::exception& error) {
            complain(error.what());
            stage_ = Stage::out_of_reach;
        }
        return false;
    }

    bool select() {
        auto files =
            select_job(job_, context_.directories,
                       options_.appear > milliseconds(0) ? Match::exact : Match::or_beginning);
        if (!files) return false;
        watcher_.emplace(std::move(*files), watch_);
        return true;
    }

    void watch_whereabouts() {
        const Whereabouts where = whereabouts_of(job_, context_.directories);
        bool gives_signs = where.complete;
        for (const Directory& directory : where.directories)
            if (!watch_.watch_directory(directory) || !directory.is_local()) gives_signs = false;
        absent_look_at_ = gives_signs ? end_of_time : monotonic_now() + absent_tick;
    }

    // Only looks: what may be the end of the previous run must not be settled before that is
    // certain.
    void first_look() {
        watcher_->look(context_, false);
        if (!watcher_->is_over()) return keep_watching();
        watcher_->watch_files();
        stage_ = Stage::grace;
        if (const auto& run = watcher_->seen().now.run) previous_shim_ = run->shim;
        grace_ends_ = std::min(monotonic_now() + grace_time, deadline_);
    }

    // True if the end seen now is still the one that the first look found. Otherwise goes on from
    // what it sees now.
    bool is_previous_end() {
        const Observation& seen = watcher_->look(context_, false).now;
        const bool another_run = seen.run && seen.run->shim != previous_shim_;
        if (watcher_->is_over() && !another_run && !is_gone(seen)) return true;
        starting_ = {};
        keep_watching();
        return false;
    }

    void look_for_starting_shims() {
        if (!is_previous_end()) return;
        starting_ = find_starting_shims(watcher_->files(), previous_shim_);
        stage_ = Stage::starting;
        // A shim may have taken the lock just before the search, or ended since.
        if (starting_.handles.empty() && is_previous_end()) keep_watching();
    }

    bool one_of_the_shims_ended() const {
        return std::any_of(
            starting_.handles.begin(), starting_.handles.end(),
            [](const ProcessHandle& shim) { return wait_for_end(shim, milliseconds(0)); });
    }

    void keep_watching() {
        stage_ = Stage::running;
        watcher_->look(context_, options_.settle);
        if (is_gone(watcher_->seen().now)) {
            absent_until_ = monotonic_now() + vanished_patience;
            if (find_it()) keep_watching();
        } else if (watcher_->is_over()) {
            stage_ = Stage::over;
        }
    }

    const std::string job_;
    const CtlOptions& options_;
    const Context& context_;
    FileWatch& watch_;
    const nanoseconds deadline_;
    Stage stage_ = Stage::absent;
    std::optional<JobWatcher> watcher_;
    nanoseconds absent_until_{0};
    nanoseconds absent_look_at_ = end_of_time;
    nanoseconds grace_ends_{0};
    ShimIdentity previous_shim_;
    StartingShims starting_;
};

}  // namespace

std::unique_ptr<AwaitedJob> await_job_file(std::string job, const CtlOptions& options,
                                           const Context& context, FileWatch& watch,
                                           nanoseconds deadline) {
    return std::make_unique<AwaitedJobFile>(std::move(job), options, context, watch, deadline);
}

}  // namespace jobshim
