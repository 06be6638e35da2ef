// jobctl settle JOB --as failed|cancelled --because TEXT: a person's verdict on what no program can
// know from here: a lost host, a container that is gone.
#include "common/units.hpp"
#include "shim/jobctl/commands.hpp"
#include "shim/jobctl/look.hpp"
#include "shim/jobctl/output.hpp"
#include "shim/jobctl/selection.hpp"

namespace jobshim {

namespace {

// Why a person may not settle this job; "" if a person may.
std::string objection(const Observation& seen) {
    switch (seen.verdict.state) {
        case State::unknown:
            // Nobody may contradict a known end.
            if (!seen.document || !seen.obstacle_to_the_end.empty()) return seen.verdict.because;
            if (has_fresh_beat(seen))
                return "it may be alive: " + seen.verdict.because + " Try again after " +
                       describe_duration(overdue_after(seen.sighting.interval)) +
                       " without a heartbeat.";
            return "";
        case State::queued:
            return "it has not started yet (to stop it from starting, use jobctl cancel)";
        case State::running:
        case State::stalled:
            return "it is alive: " + seen.verdict.because + " (to end it, use jobctl cancel)";
        case State::orphaned:
            return "its worker is alive: " + seen.verdict.because +
                   " (to end it, use jobctl cancel)";
        case State::completed:
        case State::failed:
        case State::cancelled:
            return "it has ended: " + seen.verdict.because;
        case State::lost:
            return "it is known to be dead: " + seen.verdict.because;
    }
    return "";
}

}  // namespace

Outcome settle_job(const CtlOptions& options, const Context& context) {
    const std::string& job = options.jobs.front();
    const auto files = select_job(job, context.directories, Match::exact);
    // What is certainly dead is settled by what is known, not by what the person says.
    const Settled before = files ? look_at(*files, context, files->may_act()) : Settled{};
    if (!files || is_gone(before.now)) {
        complain_of_no_exact_job(job, context.directories);
        return Outcome::no_such_job;
    }
    if (!files->may_act())
        throw Refusal(job + ": not settled: " + why_only_looking(files->parties));
    if (before.wrote || !objection(before.now).empty())
        throw Refusal(job + ": not settled: " + objection(before.now));

    const Judgement judgement = [&](const Observation& seen) -> std::optional<Conclusion> {
        if (!objection(seen).empty()) return conclude_if_dead(seen);
        return judge_told(options.settle_as, requester("jobctl settle", context),
                          shortened(printable(options.reason), longest_reason));
    };
    const Settled settled = look_at(*files, context, true, judgement);
    if (!settled.wrote)
        throw Refusal(job + ": not settled: " +
                      (settled.unwritable.empty() ? objection(settled.now) : settled.unwritable));
    const JobReport report = report_of(*files, settled);
    print(options.json ? json_array_of({report}) : status_line(report));
    return done;
}

}  // namespace jobshim
