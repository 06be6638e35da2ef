#include "common/companion/last_word.hpp"

#include <exception>
#include <functional>
#include <optional>

#include "common/clocks.hpp"
#include "common/heartbeat.hpp"
#include "common/job_file.hpp"
#include "common/posix_error.hpp"
#include "common/units.hpp"

namespace jobshim {

namespace {

// Makes the new text of a record; nothing to leave it.
using Amendment = std::function<std::optional<std::string>(const JobDocument&)>;

void amend(const JobFiles& own, const Amendment& amendment) noexcept try {
    if (!own.may_act()) return;
    const auto contents = own.directory.read_file(own.name, max_job_file_bytes);
    if (!contents) return;
    const JobDocument before = JobDocument::parse(contents->text);
    if (before.fault() != JsonFault::none || !amendment(before)) return;
    const auto lock = SettlerLock::try_take(own);
    if (!lock || lock->probe().lock == LivenessLock::held || !lock->still_in_place()) return;
    JobFile(own, SyncPolicy::final, [](const std::string&) {})
        .update(
            [&](const JobDocument* ours) {
                if (ours == nullptr) throw Refusal(own.path + ": has been deleted");
                return amendment(*ours).value_or(ours->text());
            },
            JobFile::Write::last);
    lock->remove_if_empty();
} catch (const std::exception&) {
    return;
}

}  // namespace

const JobDocument* final_word_in(const CompanionView& view) {
    for (const auto* document : {&view.job, &view.entry})
        if (*document && is_final((*document)->status())) return &**document;
    return nullptr;
}

void keep_last_word(const JobFiles& own, const CompanionView& view) noexcept {
    const JobDocument* const theirs = final_word_in(view);
    if (theirs == nullptr) return;
    amend(own, [&](const JobDocument& ours) -> std::optional<std::string> {
        if (!is_final(ours.status()) || ours.status() == theirs->status()) return std::nullopt;
        const auto message = theirs->value("errorMessage");
        return ours.with({{"status", json_string(word(theirs->status()))},
                          {"phase", json_string(final_phase(theirs->status()))},
                          {"updatedAt", json_string(iso_time(wall_now_ms()))},
                          {"errorMessage", std::string(message.value_or("null"))}});
    });
}

void keep_companion_job(const JobFiles& own, const std::string& job) noexcept {
    amend(own, [&](const JobDocument& ours) -> std::optional<std::string> {
        std::optional<RunRecord> run = ours.run();
        if (!run || run->companion_job == job) return std::nullopt;
        run->companion_job = job;
        return ours.with({{"jobshim", run_text(*run)}});
    });
}

}  // namespace jobshim
