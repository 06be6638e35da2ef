#include "common/companion/remedy.hpp"

#include <cctype>

#include "common/units.hpp"

namespace jobshim {

namespace {

constexpr std::string_view cancelled_words = "Cancelled by user.";

Status status_in(const std::optional<JobDocument>& document) {
    return document ? document->status() : Status::none;
}

CompanionRemedy remedy_for_words(const CompanionView& view, Status end) {
    const Status file = status_in(view.job);
    const Status entry = status_in(view.entry);
    if (!view.file_exists) {
        // Gone from both, for whatever reason: nothing is brought back.
        if (!view.entry || is_final(entry)) return {};
        return {.entry = true, .status = view.cancelled_in_log ? Status::cancelled : end};
    }
    if (is_final(file)) {
        // If both are final and differ, it is not for us to choose.
        if (!view.index_is_whole || is_final(entry)) return {};
        return {.entry = true};
    }
    // A file that stays torn can be rebuilt only from its entry.
    if (!view.job && !view.entry) return {};
    // The index is final and the file is not: the status is the plugin's, or ours from a moment
    // ago, before somebody undid the file.
    if (is_final(entry)) return {.file = true};
    return {.file = true,
            .entry = view.index_is_whole,
            .status = view.cancelled_in_log ? Status::cancelled : end};
}

// The end time to write: the recorded one, if it is our own verdict that is written; else `now`.
std::string end_time(const CompanionRemedy& remedy, const Conclusion& last,
                     const std::string& now) {
    return remedy.status == last.status && !last.exit.ended_at.empty() ? last.exit.ended_at : now;
}

}  // namespace

CompanionRemedy remedy_for(const CompanionView& view, Status end) {
    CompanionRemedy remedy = remedy_for_words(view, end);
    remedy.mend_file = view.file_has_trailing_text && !remedy.file;
    remedy.mend_index = view.index_has_trailing_text && !remedy.entry;
    return remedy;
}

std::string companion_sentence(const Conclusion& last, const std::string& thread) {
    std::string sentence = last.sentence;
    for (const std::string_view verb : {"Killed ", "Exited "})
        if (sentence.starts_with(verb)) {
            sentence[0] = static_cast<char>(std::tolower(sentence[0]));
            sentence.insert(0, "Worker ");
            break;
        }
    if (!thread.empty())
        sentence += (sentence.empty() ? "" : " ") + ("Resume with thread " + thread) + ".";
    return sentence;
}

std::vector<JobDocument::Member> final_members(const CompanionRemedy& remedy,
                                               const CompanionView& view, const Conclusion& last,
                                               const std::string& now) {
    if (!remedy.status) {
        // Copy from whichever of the two is final.
        const JobDocument& from = is_final(status_in(view.job)) ? *view.job : *view.entry;
        std::vector<JobDocument::Member> members{
            {"status", json_string(word(from.status()))},
            {"phase", json_string(from.string("phase").value_or(final_phase(from.status())))},
            {"pid", "null"},
            {"updatedAt", json_string(now)},
            {"completedAt", json_string(from.string("completedAt").value_or(now))}};
        for (const char* key : {"errorMessage", "threadId", "turnId"})
            if (const auto value = from.value(key)) members.push_back({key, std::string(*value)});
        return members;
    }
    std::string thread;
    for (const auto* document : {&view.job, &view.entry})
        if (thread.empty() && *document) thread = (*document)->string("threadId").value_or("");
    const std::string sentence = *remedy.status == last.status ? companion_sentence(last, thread)
                                                               : std::string(cancelled_words);
    return {{"status", json_string(word(*remedy.status))},
            {"phase", json_string(final_phase(*remedy.status))},
            {"pid", "null"},
            {"updatedAt", json_string(now)},
            {"completedAt", json_string(end_time(remedy, last, now))},
            {"errorMessage", sentence.empty() ? "null" : json_string(sentence)}};
}

std::vector<JobDocument::Member> final_file_members(const CompanionRemedy& remedy,
                                                    const CompanionView& view,
                                                    const Conclusion& last,
                                                    const std::string& now) {
    auto members = final_members(remedy, view, last, now);
    if (remedy.status == Status::cancelled)
        members.push_back({"cancelledAt", json_string(end_time(remedy, last, now))});
    return members;
}

bool says_cancelled(std::string_view log, std::int64_t since) {
    while (!log.empty()) {
        const std::size_t end = log.find('\n');
        // An incomplete line does not count yet.
        if (end == std::string_view::npos) return false;
        const std::string_view line = log.substr(0, end);
        log.remove_prefix(end + 1);
        const std::size_t bracket = line.find("] ");
        if (!line.starts_with('[') || bracket == std::string_view::npos ||
            line.substr(bracket + 2) != cancelled_words)
            continue;
        const auto time = parse_iso_time(line.substr(1, bracket - 1));
        if (time && *time >= since) return true;
    }
    return false;
}

}  // namespace jobshim
