#include "common/companion/index.hpp"

#include <utility>

#include "common/job_names.hpp"
#include "common/json_text.hpp"

namespace jobshim {

namespace {

// Shifts every line but the first right by `columns`, or left if negative, as far as it is blank. A
// JSON string contains no raw line feed, so no value changes.
std::string indented(std::string_view text, int columns) {
    std::string result;
    for (std::size_t at = 0; at < text.size(); ++at) {
        result += text[at];
        if (text[at] != '\n') continue;
        if (columns > 0) result.append(static_cast<std::size_t>(columns), ' ');
        for (int i = 0; i > columns && at + 1 < text.size() && text[at + 1] == ' '; --i) ++at;
    }
    return result;
}

constexpr int entry_depth = 4;

}  // namespace

std::optional<CompanionIndex> CompanionIndex::parse(std::string text) {
    const JobDocument document = JobDocument::parse(text);
    if (document.fault() != JsonFault::none) return std::nullopt;
    CompanionIndex index;
    index.text_ = std::move(text);
    const auto list = document.value("jobs");
    if (!list || list->front() != '[') return index;
    const auto begin = static_cast<std::size_t>(list->data() - document.text().data());
    index.list_ = begin + 1;
    for (const JsonSpan& span : split_json_array(*list)) {
        const JobDocument entry =
            JobDocument::parse(std::string(list->substr(span.begin, span.end - span.begin)));
        if (entry.fault() != JsonFault::none) continue;
        index.entries_.push_back(
            {entry.string("id").value_or(""), begin + span.begin, begin + span.end});
    }
    return index;
}

std::vector<std::string> CompanionIndex::ids() const {
    std::vector<std::string> ids;
    for (const Entry& entry : entries_)
        if (is_job_id(entry.id)) ids.push_back(entry.id);
    return ids;
}

std::optional<JobDocument> CompanionIndex::find(std::string_view id) const {
    for (const Entry& entry : entries_)
        if (entry.id == id)
            return JobDocument::parse(text_.substr(entry.begin, entry.end - entry.begin));
    return std::nullopt;
}

std::optional<std::string> CompanionIndex::with(std::string_view id, std::string_view entry) const {
    for (const Entry& old : entries_)
        if (old.id == id) {
            std::string text = text_;
            return text.replace(old.begin, old.end - old.begin, entry);
        }
    return std::nullopt;
}

std::optional<std::string> CompanionIndex::with_first(std::string_view entry) const {
    if (!list_) return std::nullopt;
    const std::string gap = "\n" + std::string(entry_depth, ' ');
    std::string text = text_;
    if (text.find_first_not_of(" \t\r\n", *list_) == text.find(']', *list_))
        return text.insert(*list_, gap + std::string(entry) + "\n  ");
    return text.insert(*list_, gap + std::string(entry) + ",");
}

std::string as_entry(const JobDocument& job) {
    std::string text = job.without({"result", "rendered", "jobshim"});
    text.erase(text.find_last_of('}') + 1);
    text.erase(0, text.find('{'));
    return indented(text, entry_depth);
}

std::string as_job_file(const JobDocument& entry) {
    return indented(entry.text(), -entry_depth) + "\n";
}

}  // namespace jobshim
