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

Outcome add_companion_report(const std::string& name, const CtlOptions& options,
                             const Context& context, std::vector<JobReport>& reports) {
    if (const auto job = select_companion_job(name, context)) {
        auto looked = look_at_companion_jobs({*job}, context, options.settle);
        if (!looked.front().is_gone) {
            reports.push_back(std::move(looked.front().job.report));
            return outcome_of(reports.back().verdict.state);
        }
    }
    complain_of_no_such_job(name);
    return Outcome::no_such_job;
}

}  // namespace

Outcome show_status(const CtlOptions& options, const Context& unbounded) {
    Context context = unbounded;
    if (options.jobs.size() > 1) context.observer.hurry(survey_patience);
    std::vector<JobReport> reports;
    std::vector<Outcome> outcomes;
    for (const std::string& job : options.jobs)
        outcomes.push_back(context.is_companion
                               ? add_companion_report(job, options, context, reports)
                               : add_report(job, options, context, reports));
    if (options.json) print(json_array_of(reports));
    if (!options.json)
        for (const JobReport& report : reports) print(status_line(report));
    return worst_of(outcomes);
}

}  // namespace jobshim
