// Puts right what the files of codex-companion (openai/codex-plugin-cc), which is another program,
// say of jobs that have ended, beside its writers.
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
#include <vector>

#include "common/atomic_file.hpp"
#include "common/companion/paths.hpp"
#include "common/companion/remedy.hpp"
#include "common/exit_reason.hpp"
#include "common/job_document.hpp"

namespace jobshim {

// Brings the plugin's two files in step with the end of one job.
class CompanionMirror {
public:
    struct Job {
        std::string id;
        FinalWord last;
        std::int64_t since = 0;  // ms since 1970: when the run began
        bool add_exit = false;   // into the job file, for want of a record of our own
    };
    CompanionMirror(CompanionPaths places, Job job);

    // One look, and what is to be done about it. True if something was written. Throws
    // std::system_error or Refusal; a file is as it was then, or whole.
    bool step();
    // One of the files was touched since.
    bool is_due() const;
    bool has_written() const { return has_written_; }

private:
    bool change_file(const CompanionRemedy& remedy, const CompanionSight& sight);
    bool change_index(const CompanionRemedy& remedy, const CompanionSight& sight);
    // Where their new versions are made.
    std::string fresh_file() const;
    std::string fresh_index() const;
    void append_to_log(const std::string& sentence);

    CompanionPaths places_;
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
