// What is to be done about a job of codex-companion whose end is known, by what its two files say
// of it: the table of COMPANION.md. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/exit_reason.hpp"
#include "common/job_record.hpp"

namespace jobshim {

struct CompanionSight {
    bool file_exists = false;  // the job file; torn, if it has no document
    std::optional<JobDocument> job;
    bool index_is_whole = false;
    std::optional<JobDocument> entry;
    // There is more behind the text: see TheirFile.
    bool file_has_remains = false;
    bool index_has_remains = false;
    bool cancelled_in_log = false;
};

struct CompanionRemedy {
    bool file = false;   // the job file is to be changed
    bool entry = false;  // its entry in the index is, or is to be added
    // Neither says what it should not, but nobody else can read it.
    bool mend_file = false;
    bool mend_index = false;
    // What both shall say; nothing: what the job file says, or if it is not final, the entry.
    std::optional<Status> status = {};

    bool is_none() const { return !file && !entry && !mend_file && !mend_index; }
};
CompanionRemedy remedy_for(const CompanionSight& sight, Status end);

// "Worker killed by SIGKILL; ... Resume with thread thr_1."
std::string companion_sentence(const FinalWord& last, const std::string& thread);

// What the job file and its entry shall say of the end, where the remedy changes them: `last` is
// what we know of it, `now` an ISO 8601 time.
std::vector<JobDocument::Member> final_members(const CompanionRemedy& remedy,
                                               const CompanionSight& sight, const FinalWord& last,
                                               const std::string& now);
// The same, and what the plugin keeps in the file alone.
std::vector<JobDocument::Member> final_file_members(const CompanionRemedy& remedy,
                                                    const CompanionSight& sight,
                                                    const FinalWord& last, const std::string& now);

// True if the log has a line of its own "[ISO] Cancelled by user." that is no older than `since`
// (ms since 1970). The same words inside another text are none.
bool says_cancelled(std::string_view log, std::int64_t since);

}  // namespace jobshim
