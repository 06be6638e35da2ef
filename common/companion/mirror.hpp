// Corrects what the files of another program, codex-companion (openai/codex-plugin-cc), say about
// jobs that have ended, while that program may be writing too.
//
// The plugin truncates and writes, without locks or renames, and may write something based on what
// it read long ago. So its files are swapped whole and never created; the version that a swap
// displaced is compared with the one that the new version was made from; and for a while the file
// is checked again. An empty or torn file is waited for, and never taken for an empty state.
//
// Caveats: only the subdirectory `jobshim` is ours. Outside it nothing is ever written but
// `state.json`, `jobs/ID.json` and one line of `jobs/ID.log`, and none of these is ever created.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/companion/look.hpp"
#include "common/companion/remedy.hpp"
#include "common/companion/state_directory.hpp"
#include "common/exit_reason.hpp"
#include "common/job_document.hpp"
#include "common/job_files.hpp"

namespace jobshim {

// Returns what should replace a file of theirs, which may be torn; nothing to leave it.
using TheirEdit = std::function<std::optional<std::string>(const TheirFile&)>;

// Brings the plugin's two files into line with the end of one job.
class CompanionMirror {
public:
    struct Job {
        std::string id;
        Conclusion last;
        std::int64_t since = 0;  // ms since 1970: when the run began
        bool add_exit = false;   // add the exit to the job file, having no record of our own
        std::optional<JobFiles> own = {};  // our record, which keeps the plugin's last word
    };
    CompanionMirror(CompanionDirectory state, Job job);

    // Looks once and does what is needed. True if something was written. If it throws
    // std::system_error or Refusal, each file is unchanged or whole.
    bool step();
    // True if one of the files was touched since the last step.
    bool is_due() const;
    bool has_written() const { return has_written_; }

private:
    bool swap_file(const TheirEdit& edit);
    bool swap_index(const TheirEdit& edit);
    bool change_file(const CompanionRemedy& remedy, const CompanionView& view);
    bool change_index(const CompanionRemedy& remedy, const CompanionView& view);
    // The names in our own subdirectory under which the new versions are written.
    std::string fresh_file() const { return "." + job_.id + ".mirror"; }
    std::string fresh_index() const { return ".state.mirror"; }
    std::optional<FileStamp> stamp_of_file() const;
    std::optional<FileStamp> stamp_of_index() const;
    void append_to_log(const std::string& sentence);

    CompanionDirectory state_;
    Job job_;
    std::optional<FileStamp> file_stamp_;
    std::optional<FileStamp> index_stamp_;
    bool has_written_ = false;
    bool has_logged_ = false;
};

// Steps until 3 s have passed since the last write without anybody undoing it, but no longer than
// `at_most`. With `always` it also keeps looking for 3 s if there was nothing to write; with
// `never` each job gets one step. Reports at most one failure per job.
enum class KeepChecking { never, after_a_write, always };
void keep_in_step(std::vector<CompanionMirror>& mirrors, KeepChecking keep_checking,
                  std::chrono::milliseconds at_most,
                  const std::function<void(const std::string&)>& complain);

}  // namespace jobshim
