#include "shim/jobctl/companion/survey.hpp"

#include <algorithm>
#include <utility>

#include "common/clocks.hpp"
#include "common/companion/mirror.hpp"
#include "shim/jobctl/companion/look.hpp"
#include "shim/jobctl/output.hpp"

namespace jobshim {

namespace {

constexpr std::chrono::milliseconds between_looks{1000};
// For all jobs together, one's own first. Whoever may write to a directory can make each step in it
// wait, and each writes the whole of an index.
constexpr std::chrono::milliseconds put_right_for{3000};

// Jobs that would be settled because of a single look get a second one; only what both looks found
// is to be done.
void look_again(std::vector<CompanionLook>& looks, const std::vector<CompanionJob>& jobs,
                const Context& context) {
    const auto is_suspect = [](const CompanionLook& look) {
        return look.to_do && look.takes_two_looks;
    };
    if (std::none_of(looks.begin(), looks.end(), is_suspect)) return;
    pause_for(between_looks);
    CompanionLooker looker(context, true);
    for (std::size_t i = 0; i < jobs.size(); ++i) {
        if (!is_suspect(looks[i])) continue;
        CompanionLook again = looker.look(jobs[i]);
        const bool agrees = again.to_do && again.text == looks[i].text;
        looks[i] = std::move(again);
        if (!agrees) looks[i].to_do.reset();
    }
}

// Does what is to be done, and looks at the result.
void put_right(std::vector<CompanionLook>& looks, const std::vector<CompanionJob>& jobs,
               const Context& context, KeepChecking keep_checking) {
    std::vector<std::size_t> mirrored;
    for (std::size_t i = 0; i < jobs.size(); ++i)
        if (looks[i].to_do && jobs[i].directory.may_act()) mirrored.push_back(i);
    std::stable_partition(mirrored.begin(), mirrored.end(), [&](std::size_t i) {
        return standing_of(jobs[i].directory.parties()) == Standing::owner;
    });
    std::vector<CompanionMirror> mirrors;
    mirrors.reserve(mirrored.size());
    for (const std::size_t i : mirrored) mirrors.emplace_back(jobs[i].directory, *looks[i].to_do);
    std::string trouble;
    keep_in_step(mirrors, keep_checking, put_right_for,
                 [&](const std::string& what) { trouble = what; });
    CompanionLooker looker(context, true);
    for (std::size_t k = 0; k < mirrors.size(); ++k) {
        CompanionLook& look = looks[mirrored[k]];
        const bool has_written = mirrors[k].has_written();
        CompanionLook after = looker.look(jobs[mirrored[k]]);
        JobReport& report = after.report.job.report;
        // It could not be written, but is shown as settled all the same.
        if (!has_written && !trouble.empty()) {
            if (report.verdict.settle)
                report.verdict = {State::failed,
                                  report.verdict.because + " (not recorded: " + trouble + ")", true,
                                  false};
            report.not_recorded = trouble;
        }
        after.report.job.wrote = look.wrote_own || has_written;
        look = std::move(after);
    }
}

}  // namespace

std::vector<CompanionReport> look_at_companion_jobs(const std::vector<CompanionJob>& jobs,
                                                    const Context& unbounded, bool settle,
                                                    KeepChecking keep_checking) {
    Context context = unbounded;
    context.observer.hurry(survey_patience);
    if (settle)
        for (const CompanionJob& job : jobs) say_whose_it_is(job.directory, context);
    std::vector<CompanionLook> looks;
    CompanionLooker looker(context, settle);
    for (const CompanionJob& job : jobs) looks.push_back(looker.look(job));
    if (settle) look_again(looks, jobs, context);
    for (CompanionLook& look : looks) {
        look.report.job.wrote = look.wrote_own;
        if (look.to_do) look.report.job.would_be_settled = true;
    }
    if (settle) put_right(looks, jobs, context, keep_checking);
    std::vector<CompanionReport> reports;
    reports.reserve(looks.size());
    for (CompanionLook& look : looks) reports.push_back(std::move(look.report));
    return reports;
}

std::vector<Surveyed> survey_companions(const Context& unbounded, bool settle) {
    Context context = unbounded;
    context.observer.hurry(survey_patience);
    const CompanionJobs found = companion_jobs(context);
    for (const std::string& index : found.broken_indexes)
        complain(index + ": empty or torn; codex-companion sees no jobs in it");
    std::vector<Surveyed> jobs;
    for (CompanionReport& report : look_at_companion_jobs(found.jobs, context, settle))
        if (!report.is_gone) jobs.push_back(std::move(report.job));
    return jobs;
}

}  // namespace jobshim
