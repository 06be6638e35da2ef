// The state directory of codex-companion (openai/codex-plugin-cc), which is another program's: how
// it is laid out, what is to be put right in it, and how that is done beside its writers.
//
// They truncate and write, without locks and without rename, and what they write may be made from
// what they read long ago. So a file of theirs is swapped whole and never created; what the swap
// displaced is compared with what the new version was made from; and for a while it is looked at
// again. A file that is empty or torn is waited for, never taken for an empty state.
//
// Caveats: the directory's own `jobshim` folder is ours alone. Nothing else is ever written but
// `state.json`, `jobs/ID.json` and one line of `jobs/ID.log`, and none of these is made anew.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/atomic_file.hpp"
#include "common/exit_reason.hpp"
#include "common/job_document.hpp"

namespace jobshim {

// ---- where things lie (pure)

struct CompanionPlaces {
    explicit CompanionPlaces(const std::string& state_directory);

    std::string directory;
    std::string index;  // state.json
    std::string jobs;
    std::string own;  // jobshim

    // `id` must be a job id (is_job_id): it may have come from a file that anybody wrote.
    std::string job_file(std::string_view id) const;
    std::string log_file(std::string_view id) const;
    std::string own_record(std::string_view id) const;
    std::string own_stderr(std::string_view id) const;
};

// The directory's name below a state root: "SLUG-HASH". `root` is the workspace's as given,
// `real_root` its real path.
std::string companion_name(std::string_view root, std::string_view real_root);

// Something of the plugin's or of ours is in it.
bool is_companion_directory(const std::string& path);

// Where state directories are looked for; the arguments are environment variables and may be null:
// CLAUDE_PLUGIN_DATA, and TMPDIR, TMP, TEMP of which the first that is set counts.
std::vector<std::string> companion_roots(const char* plugin_data, const char* tmpdir,
                                         const char* tmp, const char* temp);

// ---- what is in it (pure)

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

// True if the log has a line of its own "[ISO] Cancelled by user." that is no older than `since`
// (ms since 1970). The same words inside another text are none.
bool says_cancelled(std::string_view log, std::int64_t since);

// ---- what is to be done (pure): the table of COMPANION.md

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

// ---- doing it

// Reads a file of theirs. One that is empty or torn is waited for until nobody has touched it for
// `patience`. Nothing if it is gone. Throws std::system_error or Refusal.
struct TheirFile {
    std::string text;
    FileStamp stamp;
    bool whole = false;
    // Two of them opened the file before either wrote, and the shorter text was written last:
    // behind `text`, which is all of that, the rest of the longer one stands. Nobody but us can
    // read it.
    bool has_remains = false;
};
std::optional<TheirFile> read_theirs(const std::string& path, std::chrono::milliseconds patience);

// What the job file and the index say of a job now. Throws likewise.
CompanionSight look_at_companion(const CompanionPlaces& places, const std::string& id,
                                 std::chrono::milliseconds patience);

// Brings the plugin's two files in step with the end of one job.
class CompanionMirror {
public:
    struct Job {
        std::string id;
        FinalWord last;
        std::int64_t since = 0;  // ms since 1970: when the run began
        bool add_exit = false;   // into the job file, for want of a record of our own
    };
    CompanionMirror(CompanionPlaces places, Job job);

    // One look, and what is to be done about it. True if something was written. Throws
    // std::system_error or Refusal; a file is as it was then, or whole.
    bool step();
    // One of the files was touched since.
    bool is_due() const;
    bool has_written() const { return has_written_; }

private:
    bool change_file(const CompanionRemedy& remedy, const CompanionSight& sight);
    bool change_index(const CompanionRemedy& remedy, const CompanionSight& sight);
    std::vector<JobDocument::Member> final_members(const CompanionRemedy& remedy,
                                                   const CompanionSight& sight) const;
    // Where their new versions are made.
    std::string fresh_file() const;
    std::string fresh_index() const;
    void append_to_log(const std::string& sentence);

    CompanionPlaces places_;
    Job job_;
    std::optional<FileStamp> file_stamp_;
    std::optional<FileStamp> index_stamp_;
    bool has_written_ = false;
    bool has_logged_ = false;
};

// Steps until nobody has undone anything for 3 s after the last write (with `look_on`: after the
// call even if nothing was to be written), for 30 s at most. What goes wrong is told once a job.
void keep_in_step(std::vector<CompanionMirror>& mirrors, bool look_on,
                  const std::function<void(const std::string&)>& complain);

}  // namespace jobshim
