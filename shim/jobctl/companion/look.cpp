#include "shim/jobctl/companion/look.hpp"

#include <algorithm>
#include <utility>

#include "common/clocks.hpp"
#include "common/companion/last_word.hpp"
#include "common/companion/remedy.hpp"
#include "common/companion/unwatched.hpp"
#include "common/job_files.hpp"
#include "common/process_identity.hpp"
#include "common/torn_file.hpp"
#include "common/units.hpp"
#include "shim/jobctl/selection.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;

std::optional<Conclusion> recorded_end(const Observation& own) {
    if (!own.document || !is_final(own.status())) return std::nullopt;
    const auto run = own.document->run();
    if (!run || !run->exit) return std::nullopt;
    return Conclusion{*run->exit, own.status(), own.document->string("errorMessage").value_or("")};
}

// The record to show: a final one, if there is one.
const JobDocument* choose(const CompanionView& view, const Settled* own) {
    if (const JobDocument* const last = final_word_in(view)) return last;
    for (const auto* document : {&view.job, &view.entry})
        if (*document) return &**document;
    return own != nullptr ? &*own->now.document : nullptr;
}

UnwatchedWorker look_up_worker(int pid, const std::optional<ProcessStat>& stat,
                               std::uint32_t owner) {
    UnwatchedWorker worker;
    worker.liveness = look_up_process(pid, stat ? std::optional(stat->start_time) : std::nullopt);
    if (worker.liveness != Liveness::alive || !stat) return worker;
    worker.started = wall_start_of(*stat);
    // Anybody can call a process that.
    worker.is_the_plugins = owner_of_process(pid) == owner && runs_companion(command_line_of(pid));
    return worker;
}

// For a job that we have no record of.
void look_at_unwatched(CompanionLook& seen, const JobDocument& record, std::uint32_t owner) {
    UnwatchedWorker worker;
    const auto pid = is_active(record.status()) ? worker_pid_in(record) : std::nullopt;
    const auto stat = pid ? read_process_stat(*pid) : std::nullopt;
    if (pid) worker = look_up_worker(*pid, stat, owner);
    const Verdict verdict = judge_unwatched(record, worker, wall_now_ms());
    if (verdict.settle)
        seen.to_do = CompanionMirror::Job{"", inferred_end(verdict, iso_time(wall_now_ms())),
                                          begin_of(record), true};
    else if (worker.liveness == Liveness::alive)
        seen.report.process =
            open_process(*pid, stat ? std::optional(stat->start_time) : std::nullopt);
    seen.report.job.report.verdict = verdict;
}

}  // namespace

CompanionLook CompanionLooker::look(const CompanionJob& job) {
    CompanionLook seen;
    JobReport& report = seen.report.job.report;
    report.id = job.id;
    report.file = job.directory.job_path(job.id);
    try {
        look_into(seen, job.directory, job.id);
    } catch (const std::exception& error) {
        report.verdict = {State::unknown, std::string(error.what()) + "."};
        seen.report.job.failure = error.what();
    }
    return seen;
}

void CompanionLooker::look_into(CompanionLook& seen, const CompanionDirectory& state,
                                const std::string& id) {
    JobReport& report = seen.report.job.report;
    const milliseconds patience = context_.observer.patience(torn_companion_patience);
    const CompanionView view =
        look_at_companion(state, id, patience, index_of(state), budget_.limit());
    for (const auto* document : {&view.job, &view.entry})
        seen.text += *document ? (*document)->text() + '\n' : "none\n";
    budget_.spend(seen.text.size());
    if (const auto jobs = state.jobs();
        jobs && jobs->stamp_if_known(CompanionDirectory::log_name(id)))
        seen.report.log = state.log_path(id);

    const auto record = look_at_own(state, id);
    const Settled* const own = record ? &record->settled : nullptr;
    seen.wrote_own = own != nullptr && own->wrote;
    if (own != nullptr && settle_ && state.may_act()) {
        keep_last_word(record->files, view);
        if (id != without_json(record->files.name)) keep_companion_job(record->files, id);
    }
    const JobDocument* shown = choose(view, own);
    if (shown == nullptr) {
        seen.report.is_gone = !view.file_exists;
        report.verdict = {State::unknown, report.file + ": not a JSON object."};
        return;
    }
    const bool out_of_step = !remedy_for(view, Status::failed).is_none();
    seen.takes_two_looks = own == nullptr;
    if (own != nullptr) {
        judge_by_own(seen, *own, *shown, out_of_step);
    } else if (is_final(shown->status())) {
        report.verdict = verdict_on_final(*shown);
        // A worker writes the second file some moments after the first.
        if (out_of_step) seen.to_do = CompanionMirror::Job{"", {}, begin_of(*shown)};
    } else {
        look_at_unwatched(seen, *shown, state.parties().owner);
    }
    if (seen.to_do) {
        seen.to_do->id = id;
        if (record) seen.to_do->own = record->files;
    }
    report.job = *shown;
    // Shows the plugin's record, plus how the job ended, which only our record says.
    if (own != nullptr && shown != &*own->now.document)
        if (const auto run = own->now.document->value("jobshim"))
            report.job = JobDocument::parse(shown->with({{"jobshim", std::string(*run)}}));
}

// Read again only if it has changed: it says something about every job of the directory.
const IndexSight& CompanionLooker::index_of(const CompanionDirectory& state) {
    const auto known = indexes_.find(state.path());
    if (known == indexes_.end())
        return indexes_[state.path()] =
                   look_at_index(state, context_.observer.patience(torn_companion_patience));
    IndexSight& sight = known->second;
    const auto now = state.top().stamp_at(CompanionDirectory::index);
    const bool is_unchanged = now ? sight.stamp && sight.stamp->unchanged(*now) : !sight.stamp;
    // One that has stayed torn is not waited for again, for every job.
    const bool stayed_torn = sight.stamp && !sight.index;
    if (!is_unchanged)
        sight =
            look_at_index(state, stayed_torn ? milliseconds(0)
                                             : context_.observer.patience(torn_companion_patience));
    return sight;
}

std::optional<CompanionLooker::OwnRecord> CompanionLooker::look_at_own(
    const CompanionDirectory& state, const std::string& id) {
    const auto directory = state.own();
    if (!directory) return std::nullopt;
    if (records_.count(state.path()) == 0)
        records_.emplace(state.path(), own_records(state, *directory));
    const auto& records = records_.at(state.path());
    const auto found = records.find(id);
    if (found == records.end()) return std::nullopt;
    const JobFiles files = job_files_in(*directory, found->second);
    if (!budget_.take(files)) throw Refusal(files.path + ": " + RecordBudget::refusal);
    auto own = look_at(files, context_, settle_ && state.may_act());
    if (own.wrote) budget_.take_again(files);
    if (is_gone(own.now) || !own.now.document) return std::nullopt;
    return OwnRecord{files, std::move(own)};
}

void CompanionLooker::judge_by_own(CompanionLook& seen, const Settled& own,
                                   const JobDocument& shown, bool out_of_step) const {
    JobReport& report = seen.report.job.report;
    report.verdict = own.now.verdict;
    report.last_beat_age = own.now.sighting.beat_age;
    report.not_recorded = own.unwritable;
    const auto run = own.now.document->run();
    const bool shim_may_live =
        run && place_of(run->shim, context_.observer.here) == Place::here &&
        look_up_process(run->shim.pid, run->shim.start_time) == Liveness::alive;
    if (shim_may_live) seen.report.process = open_process(run->shim.pid, run->shim.start_time);
    if (is_final(shown.status())) {
        const bool ended = own.now.verdict.ended;
        report.verdict = verdict_on_final(shown);
        report.verdict.ended = ended || is_final(own.now.status());
    }
    seen.report.job.would_be_settled = own.unwritten.has_value();
    // A live shim will put it right itself, in due time; until then the plugin may still record an
    // end of its own.
    if (shim_may_live && out_of_step) report.verdict.ended = false;
    auto last = recorded_end(own.now);
    if (last && out_of_step && !shim_may_live)
        seen.to_do = CompanionMirror::Job{"", std::move(*last), begin_of(*own.now.document)};
}

}  // namespace jobshim
