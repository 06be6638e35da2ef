#include "common/companion/remedy.hpp"

#include <cctype>

#include "common/units.hpp"

namespace jobshim {

namespace {

constexpr std::string_view cancelled_words = "Cancelled by user.";

Status status_in(const std::optional<JobDocument>& document) {
    return document ? document->status() : Status::none;
}

CompanionRemedy remedy_for_words(const CompanionSight& sight, Status end) {
    const Status file = status_in(sight.job);
    const Status entry = status_in(sight.entry);
    if (!sight.file_exists) {
        // Gone from both, for whatever cause: nothing is brought back.
        if (!sight.entry || is_terminal(entry)) return {};
        return {.entry = true, .status = sight.cancelled_in_log ? Status::cancelled : end};
    }
    if (is_terminal(file)) {
        // Two final words that differ are not for us to choose from.
        if (!sight.index_is_whole || is_terminal(entry)) return {};
        return {.entry = true};
    }
    // A file that is torn and stays so can be made anew from its entry alone.
    if (!sight.job && !sight.entry) return {};
    // The index has a final word and the file has not: it is the plugin's, or ours from a moment
    // ago, before somebody undid the file.
    if (is_terminal(entry)) return {.file = true};
    return {.file = true,
            .entry = sight.index_is_whole,
            .status = sight.cancelled_in_log ? Status::cancelled : end};
}

}  // namespace

CompanionRemedy remedy_for(const CompanionSight& sight, Status end) {
    CompanionRemedy remedy = remedy_for_words(sight, end);
    remedy.mend_file = sight.file_has_remains && !remedy.file;
    remedy.mend_index = sight.index_has_remains && !remedy.entry;
    return remedy;
}

std::string companion_sentence(const FinalWord& last, const std::string& thread) {
    std::string sentence = last.sentence;
    for (const std::string_view verb : {"Killed ", "Exited ", "Ended "})
        if (sentence.starts_with(verb)) {
            sentence[0] = static_cast<char>(std::tolower(sentence[0]));
            sentence.insert(0, "Worker ");
            break;
        }
    if (!thread.empty())
        sentence += (sentence.empty() ? "" : " ") + ("Resume with thread " + thread) + ".";
    return sentence;
}

bool says_cancelled(std::string_view log, std::int64_t since) {
    while (!log.empty()) {
        const std::size_t end = log.find('\n');
        // Half a line is none yet.
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
