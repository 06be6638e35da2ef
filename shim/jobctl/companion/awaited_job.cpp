// jobctl wait --companion: watches the process, and the directories, which others may write to at
// any time.
#include "shim/jobctl/awaited_job.hpp"

#include <utility>

#include "common/clocks.hpp"
#include "common/units.hpp"
#include "shim/jobctl/companion/survey.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

// How often to look at a worker that nobody has started yet, or that cannot be watched.
constexpr milliseconds short_tick{1000};
// How often to look where the process and the directories are watched, for changes that neither
// shows.
constexpr milliseconds long_tick{10'000};

class AwaitedCompanionJob : public AwaitedJob {
public:
    AwaitedCompanionJob(std::string name, const CtlOptions& options, const Context& context,
                        FileWatch& watch)
        : name_(std::move(name)), options_(options), context_(context), watch_(watch) {}

    void begin() override {
        absent_until_ = monotonic_now() + options_.appear;
        look();
    }

    // Looks whatever the news is: a change of the index does not show which job it concerns.
    void update(const FileWatch::News&) override { look(); }

    nanoseconds wake_at(std::vector<pollfd>& descriptors) const override {
        const bool gives_signs = report_ && report_->process;
        if (gives_signs) descriptors.push_back({report_->process.get(), POLLIN, 0});
        return monotonic_now() + (gives_signs && watch_.descriptor() >= 0 ? long_tick : short_tick);
    }

    bool has_ended() const override {
        if (!report_) return false;
        const Verdict& verdict = report_->job.report.verdict;
        return verdict.ended || verdict.settle;
    }
    bool is_awaited() const override { return !is_no_such_job_ && !has_ended(); }

    Outcome outcome() const override {
        if (has_ended()) return outcome_of(report_->job.report.verdict.state);
        return is_no_such_job_ ? Outcome::no_such_job : Outcome::timed_out;
    }

    std::optional<JobReport> report() const override {
        return report_ ? std::optional(report_->job.report) : std::nullopt;
    }

    std::optional<ExitRecord> end() const override {
        if (!has_ended() || !report_->job.report.job) return std::nullopt;
        const auto run = report_->job.report.job->run();
        return run ? run->exit : std::nullopt;
    }

    void say_timed_out() const override {
        if (options_.any) return;
        if (report_ && !options_.json) print(status_line(report_->job.report));
        complain(printable(name_) + ": has not ended after " +
                 describe_duration(*options_.timeout));
    }

private:
    void look() {
        watch_directories();
        if (!job_)
            job_ = select_companion_job(
                name_, context_,
                options_.appear > milliseconds(0) ? Match::exact : Match::or_beginning);
        report_.reset();
        if (job_)
            report_ = std::move(look_at_companion_jobs({*job_}, context_, options_.settle).front());
        if (report_ && !report_->is_gone) return;
        report_.reset();
        // A job that was there and is gone will not come back.
        if (!job_ && monotonic_now() < absent_until_) return;
        complain_of_no_such_job(name_);
        is_no_such_job_ = true;
    }

    // Each time: the directories may have been created since.
    void watch_directories() {
        for (const CompanionDirectory& state : context_.companions) {
            watch_.watch_directory(state.top());
            for (const auto& directory : {state.jobs(), state.own()})
                if (directory) watch_.watch_directory(*directory);
        }
    }

    const std::string name_;
    const CtlOptions& options_;
    const Context& context_;
    FileWatch& watch_;
    nanoseconds absent_until_{0};
    std::optional<CompanionJob> job_;
    std::optional<CompanionReport> report_;
    bool is_no_such_job_ = false;
};

}  // namespace

std::unique_ptr<AwaitedJob> await_companion_job(std::string job, const CtlOptions& options,
                                                const Context& context, FileWatch& watch) {
    return std::make_unique<AwaitedCompanionJob>(std::move(job), options, context, watch);
}

}  // namespace jobshim
