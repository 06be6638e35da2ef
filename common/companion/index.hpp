// state.json: which jobs it lists, and its text with one of them changed. Pure.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/job_record.hpp"

namespace jobshim {

// state.json: its text, and the places of the jobs in it.
class CompanionIndex {
public:
    // Nothing for a text that is no JSON object: torn.
    static std::optional<CompanionIndex> parse(std::string text);

    const std::string& text() const { return text_; }
    // Those of its jobs whose id is one that a file may be named by.
    std::vector<std::string> ids() const;
    std::optional<JobDocument> find(std::string_view id) const;
    // The text with a job's entry replaced, or a new one put first; nothing if there is no such
    // entry, or no list.
    std::optional<std::string> with(std::string_view id, std::string_view entry) const;
    std::optional<std::string> with_first(std::string_view entry) const;

private:
    struct Entry {
        std::string id;
        std::size_t begin;
        std::size_t end;
    };
    std::string text_;
    std::optional<std::size_t> list_;  // behind the opening bracket
    std::vector<Entry> entries_;
};

// The text of a job file as an entry of the index, and the other way round: two levels deeper.
std::string as_entry(const JobDocument& job);
std::string as_job_file(const JobDocument& entry);

}  // namespace jobshim
