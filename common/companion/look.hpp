// What the files in a state directory currently say, although their writers truncate and rewrite
// them.
//
// An empty or torn file is waited for, and never taken for an empty state.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "common/companion/index.hpp"
#include "common/companion/remedy.hpp"
#include "common/companion/state_directory.hpp"

namespace jobshim {

// Reads one of the plugin's files. Waits for an empty or torn file until nobody has touched it for
// `patience`, but no longer than `patience` in all. Nothing if it is gone. Throws std::system_error
// or Refusal.
struct TheirFile {
    std::string text;
    FileStamp stamp;
    bool whole = false;
    // Two of the plugin's processes opened the file before either wrote, and the shorter text was
    // written last: `text` is all of that, and after it in the file comes the rest of the longer
    // one. Only we can read such a file.
    bool has_trailing_text = false;
};
std::optional<TheirFile> read_theirs(const Directory& directory, const std::string& name,
                                     std::chrono::milliseconds patience,
                                     std::size_t limit = max_job_file_bytes);

// A record in our words for its status. Kin of codex-companion have others: "pending" before a
// worker has started, and "canceled".
JobDocument in_our_words(JobDocument record);

// What the index currently says, about all jobs. Throws likewise.
struct IndexSight {
    std::optional<FileStamp> stamp;  // nothing: there is no index
    bool has_trailing_text = false;
    std::optional<CompanionIndex> index;  // nothing: none, or a torn one
};
IndexSight look_at_index(const CompanionDirectory& state, std::chrono::milliseconds patience);

// What the job file and the index currently say about a job, in our words. Throws likewise. Some
// kin keep a job's result, and no record, in the file of its name: that is no job file. Whoever
// looks at many jobs looks at the index once; it must not have been looked at after the job file,
// because the plugin removes a job's file before its entry.
CompanionView look_at_companion(const CompanionDirectory& state, const std::string& id,
                                std::chrono::milliseconds patience);
CompanionView look_at_companion(const CompanionDirectory& state, const std::string& id,
                                std::chrono::milliseconds patience, const IndexSight& index,
                                std::size_t limit = max_job_file_bytes);

// True if the log says that the job was cancelled: see says_cancelled. Also false if the log cannot
// be read.
bool log_says_cancelled(const CompanionDirectory& state, const std::string& id, std::int64_t since);

}  // namespace jobshim
