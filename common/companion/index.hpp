// state.json: the jobs it lists, and its text with one of them changed. Pure.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/job_document.hpp"

namespace jobshim {

// Far more than the plugin ever keeps. What comes after so many is not looked at: a survey of the
// hundreds of thousands that a file may name would take long, and half a gigabyte.
constexpr std::size_t max_index_entries = 10'000;

// The text of state.json and the positions of the jobs in it. To parse it takes time in proportion
// to the text, to find a job hardly any: whoever looks at many jobs parses it once.
class CompanionIndex {
public:
    // Nothing if the text is not a JSON object, such as a torn one.
    static std::optional<CompanionIndex> parse(std::string text);

    const std::string& text() const { return text_; }
    // The ids of its jobs. An entry whose id could not be a file name is no job.
    std::vector<std::string> ids() const;
    // If an id is repeated, the first one counts, as for the plugin.
    std::optional<JobDocument> find(std::string_view id) const;
    // `with`: the text with a job's entry replaced; nothing if there is no such entry.
    // `with_first`: with a new entry at the front; nothing if there is no list.
    std::optional<std::string> with(std::string_view id, std::string_view entry) const;
    std::optional<std::string> with_first(std::string_view entry) const;

private:
    struct Entry {
        std::string id;
        std::size_t begin;
        std::size_t end;
    };
    const Entry* entry_of(std::string_view id) const;

    std::string text_;
    std::optional<std::size_t> list_;  // just after the opening bracket
    std::vector<Entry> entries_;
    std::vector<std::size_t> by_id_;  // the indices of entries_, sorted by id
};

// Converts the text of a job file to an index entry, which is nested two levels deeper, and back.
std::string as_entry(const JobDocument& job);
std::string as_job_file(const JobDocument& entry);

}  // namespace jobshim
