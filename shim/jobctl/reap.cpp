// jobctl reap: settles every dead job in the directories. Any number of reapers may run at once: if
// several find the same job, only one writes, and only that one reports it.
#include "shim/jobctl/commands.hpp"
#include "shim/jobctl/companion/survey.hpp"
#include "shim/jobctl/look.hpp"
#include "shim/jobctl/output.hpp"

#include "common/units.hpp"

namespace jobshim {

namespace {

std::string line_of(const JobReport& report) {
    return printable_word(report.id) + "  " + single_spaced(printable(report.verdict.because)) +
           "\n";
}

std::string count_line(std::size_t count, std::size_t unknown, bool dry_run) {
    return std::to_string(count) + (count == 1 ? " job" : " jobs") +
           (dry_run ? " would be settled" : " settled") +
           (unknown == 0 ? "" : ", " + std::to_string(unknown) + " unknown") + "\n";
}

// --presume-dead: also jobs whose fate cannot be determined, if nothing was heard of them for that
// long, and for longer than a live shim takes between two beats.
Judgement judgement_of(const CtlOptions& options, const Context& context) {
    if (!options.presume_dead || options.presume_dead->count() == 0) return conclude_if_dead;
    return [silence = *options.presume_dead,
            by = requester("jobctl reap --presume-dead", context)](const Observation& seen) {
        const auto age = seen.sighting.beat_age;
        const bool is_unknown = seen.verdict.state == State::unknown && seen.document && seen.run &&
                                seen.obstacle_to_the_end.empty();
        if (is_unknown && age && *age >= silence && !has_fresh_beat(seen))
            return std::optional(judge_presumed(*age, by, seen.verdict.because));
        return conclude_if_dead(seen);
    };
}

std::vector<Surveyed> look_at_all(const CtlOptions& options, const Context& context) {
    if (context.is_companion) return survey_companions(context, !options.dry_run);
    const SurveyOptions survey_options{.settle = !options.dry_run,
                                       .final_too = false,
                                       .tidy = !options.dry_run,
                                       .tidy_copies = !options.dry_run,
                                       .judgement = judgement_of(options, context)};
    return survey(context, survey_options);
}

}  // namespace

Outcome reap_jobs(const CtlOptions& options, const Context& context) {
    if (!context.is_companion) complain_of_missing_directories(context);
    std::vector<JobReport> settled;
    std::size_t unknown = 0;
    Outcome outcome = done;
    for (Surveyed& job : look_at_all(options, context)) {
        if (job.only_looked_at) continue;
        if (!options.dry_run && !job.report.not_recorded.empty()) {
            complain(job.report.file + ": not settled: " + job.report.not_recorded);
            outcome = Outcome::own_failure;
        } else if (!job.failure.empty()) {
            complain(job.report.file + ": not settled: " + job.failure);
            outcome = Outcome::own_failure;
        } else if (job.report.verdict.state == State::unknown) {
            ++unknown;
        }
        if (job.wrote || (options.dry_run && job.would_be_settled))
            settled.push_back(std::move(job.report));
    }
    if (options.json) {
        print(json_array_of(settled));
    } else {
        for (const JobReport& report : settled) print(line_of(report));
        print(count_line(settled.size(), unknown, options.dry_run));
    }
    return outcome;
}

}  // namespace jobshim
