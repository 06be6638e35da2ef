#include "common/settle.hpp"

#include <unistd.h>

#include <exception>

#include "common/clocks.hpp"
#include "common/posix_error.hpp"
#include "common/units.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;

std::string phase_of(Status status) {
    switch (status) {
    case Status::completed:
        return "done";
    case Status::cancelled:
        return "cancelled";
    case Status::failed:
    case Status::queued:
    case Status::running:
    case Status::none:
    case Status::other:
        return "failed";
    }
    return "failed";
}

// The verdict as it would read if it could be written.
void show_as_settled(Observation& seen, const std::string& why_not) {
    const FinalWord last = final_word_on(seen);
    Sighting settled = seen.sighting;
    settled.status = last.status;
    settled.end_sentence = (last.sentence.empty() ? "Completed." : last.sentence) +
                           " (not recorded: " + why_not + ")";
    seen.verdict = judge(settled);
}

} // namespace

FinalWord final_word_on(const Observation& seen) {
    if (seen.known_end)
        return *seen.known_end;
    const ExitReason reason =
        seen.sighting.rebooted ? ExitReason::host_rebooted : ExitReason::shim_lost;
    std::vector<std::string> evidence{seen.verdict.because};
    if (seen.sighting.beat_age || seen.probe.mtime_ns)
        evidence.push_back("last beat " + iso_time(*seen.probe.mtime_ns / 1'000'000));
    FinalWord last = judge_lost(reason, seen.worker_was_started, std::move(evidence));
    last.exit.ended_at = ""; // nobody saw it
    return last;
}

void write_final_word(JobFile& file, const Observation& seen, const FinalWord& last) {
    JobEdit edit;
    edit.status = last.status;
    edit.phase = phase_of(last.status);
    edit.updated_at = iso_time(wall_now_ms());
    edit.completed_at = last.exit.ended_at.empty() ? edit.updated_at : last.exit.ended_at;
    edit.error_message = last.sentence;
    edit.run = seen.run.value_or(RunRecord{});
    edit.run.exit = last.exit;
    file.update(
        [&](const JobDocument* document) {
            if (document == nullptr)
                return edit.as_new_file();
            // Somebody may have written an end since; that stands.
            return edit.applied_to(*document, is_terminal(document->status()));
        },
        JobFile::Write::last);
}

Settled observe_and_settle(const JobFiles& files, const Observer& observer) {
    Settled result;
    const auto deadline = monotonic_now() + 5 * death_patience;
    for (;;) {
        result.now = observe(files, observer);
        if (!result.now.verdict.settle)
            return result;
        try {
            auto lock = SettlerLock::try_take(files.heartbeat);
            if (lock) {
                // Under the lock once more: the first look may be old by now.
                const Prober prober = [&] { return lock->probe(); };
                Observation sure = observe(files, observer, prober);
                if (!sure.verdict.settle || !lock->still_in_place()) {
                    result.now = std::move(sure);
                    if (!result.now.verdict.settle)
                        return result;
                    continue;
                }
                JobFile file(files, SyncPolicy::final, [](const std::string&) {});
                write_final_word(file, sure, final_word_on(sure));
                file.remove_leavings();
                if (!sure.unrecorded_copy.empty())
                    ::unlink(sure.unrecorded_copy.c_str());
                result.wrote = true;
                result.now = observe(files, observer, prober);
                return result;
            }
        } catch (const std::exception& error) {
            result.unwritable = error.what();
            show_as_settled(result.now, result.unwritable);
            return result;
        }
        // Another settler is at it, or a shim has just begun: look again shortly.
        if (monotonic_now() >= deadline) {
            result.unwritable = files.heartbeat + " stays locked";
            show_as_settled(result.now, result.unwritable);
            return result;
        }
        pause_for(milliseconds(5));
    }
}

} // namespace jobshim
