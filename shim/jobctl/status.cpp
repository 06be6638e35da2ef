// jobctl status JOB...: one verdict per job, with the reason in one sentence.
#include "shim/jobctl/commands.hpp"
#include "shim/jobctl/companion/survey.hpp"
#include "shim/jobctl/look.hpp"
#include "shim/jobctl/output.hpp"
#include "shim/jobctl/selection.hpp"

namespace jobshim {

namespace {

// A job that cannot be examined does not keep the others from being shown.
Outcome add_report(const std::string& job, const CtlOptions& options, const Context& context,
                   std::vector<JobReport>& reports) {
    try {
        if (const auto files = select_job(job, context.directories)) {
            const Settled settled = look_at(*files, context, options.settle);
            if (!is_gone(settled.now)) {
                reports.push_back(report_of(*files, settled));
                return outcome_of(settled.now.verdict.state);
            }
        }
        complain_of_no_such_job(job);
        return Outcome::no_such_job;
    } catch (const AmbiguousJob&) {
        throw;
    } catch (const std::exception& error) {
        complain(error.what());
        return Outcome::own_failure;
    }
}

// All of them together: a torn index and a second look are waited for once.
std::vector<Outcome> add_companion_reports(const CtlOptions& options, const Context& context,
                                           std::vector<JobReport>& reports) {
    std::vector<std::string> names;
    std::vector<CompanionJob> jobs;
    std::vector<Outcome> outcomes;
    const auto complain_of = [&](const std::string& name) {
        complain_of_no_such_job(name);
        outcomes.push_back(Outcome::no_such_job);
    };
    for (const std::string& name : options.jobs) {
        if (auto job = select_companion_job(name, context)) {
            names.push_back(name);
            jobs.push_back(*std::move(job));
        } else {
            complain_of(name);
        }
    }
    auto looked = look_at_companion_jobs(jobs, context, options.settle);
    for (std::size_t i = 0; i < looked.size(); ++i) {
        if (looked[i].is_gone) {
            complain_of(names[i]);
            continue;
        }
        reports.push_back(std::move(looked[i].job.report));
        outcomes.push_back(outcome_of(reports.back().verdict.state));
    }
    return outcomes;
}

}  // namespace

Outcome show_status(const CtlOptions& options, const Context& unbounded) {
    Context context = unbounded;
    if (options.jobs.size() > 1) context.observer.hurry(survey_patience);
    std::vector<JobReport> reports;
    std::vector<Outcome> outcomes;
    if (context.is_companion)
        outcomes = add_companion_reports(options, context, reports);
    else
        for (const std::string& job : options.jobs)
            outcomes.push_back(add_report(job, options, context, reports));
    if (options.json) print(json_array_of(reports));
    if (!options.json)
        for (const JobReport& report : reports) print(status_line(report));
    return worst_of(outcomes);
}

}  // namespace jobshim
