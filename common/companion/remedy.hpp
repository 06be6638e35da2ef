// What to do about a codex-companion job whose end is known, depending on what its two files say.
// Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/exit_reason.hpp"
#include "common/job_document.hpp"

namespace jobshim {

struct CompanionView {
    bool file_exists = false;  // the job file; it is torn if `job` is empty
    std::optional<JobDocument> job;
    bool index_is_whole = false;
    std::optional<JobDocument> entry;
    // There is more after the text: see TheirFile.
    bool file_has_trailing_text = false;
    bool index_has_trailing_text = false;
    bool cancelled_in_log = false;
};

struct CompanionRemedy {
    bool file = false;   // change the job file
    bool entry = false;  // change or add its entry in the index
    // The text is right, but nobody else can read the file because of what follows it.
    bool mend_file = false;
    bool mend_index = false;
    // The status to write; nothing: take the job file's, or the entry's if the job file is not
    // final.
    std::optional<Status> status = {};

    bool is_none() const { return !file && !entry && !mend_file && !mend_index; }
};
CompanionRemedy remedy_for(const CompanionView& view, Status end);

// "Worker killed by SIGKILL; ... Resume with thread thr_1."
std::string companion_sentence(const Conclusion& last, const std::string& thread);

// What the remedy writes about the end into the job file and its entry: `last` is what we know of
// the end, `now` an ISO 8601 time.
std::vector<JobDocument::Member> final_members(const CompanionRemedy& remedy,
                                               const CompanionView& view, const Conclusion& last,
                                               const std::string& now);
// The same, plus what the plugin keeps only in the file.
std::vector<JobDocument::Member> final_file_members(const CompanionRemedy& remedy,
                                                    const CompanionView& view,
                                                    const Conclusion& last, const std::string& now);

// True if the log has a whole line "[ISO] Cancelled by user." that is no older than `since` (ms
// since 1970). The same words inside other text do not count.
bool says_cancelled(std::string_view log, std::int64_t since);

}  // namespace jobshim
