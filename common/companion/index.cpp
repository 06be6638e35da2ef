#include "common/companion/index.hpp"

#include <algorithm>
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

// The value of a member; "" if there is none, or if the text is not an object that we take.
std::string_view member_of(std::string_view object, std::string_view key) {
    const JsonScan scan = scan_json_object(object);
    const auto member = std::find_if(scan.members.rbegin(), scan.members.rend(),
                                     [&](const JsonMember& each) { return each.key == key; });
    if (member == scan.members.rend()) return "";
    return object.substr(member->value_begin, member->value_end - member->value_begin);
}

}  // namespace

std::optional<CompanionIndex> CompanionIndex::parse(std::string text) {
    if (scan_json_object(text).fault != JsonFault::none) return std::nullopt;
    CompanionIndex index;
    index.text_ = std::move(text);
    const std::string_view list = member_of(index.text_, "jobs");
    if (!list.starts_with('[')) return index;
    const auto begin = static_cast<std::size_t>(list.data() - index.text_.data());
    index.list_ = begin + 1;
    for (const JsonSpan& span : split_json_array(list)) {
        const std::string_view id = member_of(list.substr(span.begin, span.end - span.begin), "id");
        if (!id.starts_with('"')) continue;
        if (index.entries_.size() == max_index_entries) break;
        Entry entry{decode_json_string(id), begin + span.begin, begin + span.end};
        if (is_job_id(entry.id)) index.entries_.push_back(std::move(entry));
    }
    for (std::size_t i = 0; i < index.entries_.size(); ++i) index.by_id_.push_back(i);
    std::stable_sort(index.by_id_.begin(), index.by_id_.end(), [&](std::size_t a, std::size_t b) {
        return index.entries_[a].id < index.entries_[b].id;
    });
    return index;
}

std::vector<std::string> CompanionIndex::ids() const {
    std::vector<std::string> ids;
    for (const Entry& entry : entries_) ids.push_back(entry.id);
    return ids;
}

const CompanionIndex::Entry* CompanionIndex::entry_of(std::string_view id) const {
    const auto place =
        std::lower_bound(by_id_.begin(), by_id_.end(), id,
                         [&](std::size_t i, std::string_view key) { return entries_[i].id < key; });
    return place != by_id_.end() && entries_[*place].id == id ? &entries_[*place] : nullptr;
}

std::optional<JobDocument> CompanionIndex::find(std::string_view id) const {
    const Entry* const entry = entry_of(id);
    if (entry == nullptr) return std::nullopt;
    return JobDocument::parse(text_.substr(entry->begin, entry->end - entry->begin));
}

std::optional<std::string> CompanionIndex::with(std::string_view id, std::string_view entry) const {
    const Entry* const old = entry_of(id);
    if (old == nullptr) return std::nullopt;
    std::string text = text_;
    return text.replace(old->begin, old->end - old->begin, entry);
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
