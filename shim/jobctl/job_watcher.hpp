// One job that is waited for: what it looked like last, and when it is worth another look.
//
// No polling on one host. A shim that lives here is waited for by its pidfd alone, for the job ends
// with it. All else is seen by inotify on the job's directory: a record that is replaced, and the
// heartbeat file that the kernel closes for a dying shim, in another pid namespace too. Where no
// sign may come (another host, a network file system, no watches left) it is looked at every
// second.
//
// Why inotify only where it is needed: to close one takes the kernel some 15 ms, at the very moment
// when somebody waits for us to exit.
#pragma once

#include <poll.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "shim/jobctl/look.hpp"
#include "shim/jobctl/watch.hpp"

namespace jobshim {

class JobWatcher {
public:
    JobWatcher(JobFiles files, FileWatch& watch);

    // What happens between this look and the wait after it is not lost.
    const Settled& look(const Observer& observer, bool settle);
    // Also for a job that seems to be over. True if that is new, so that it takes another look.
    bool watch_files();

    const JobFiles& files() const { return files_; }
    const Settled& seen() const { return seen_; }
    // Nothing more will come of it: it ended, or is certainly dead.
    bool is_over() const { return seen_.now.verdict.ended || seen_.now.verdict.settle; }

    // What to poll for POLLIN besides the watch's descriptor.
    void add_to(std::vector<pollfd>& descriptors) const;
    // True if it is time to look again, by the news or by the clock or because the process ended.
    bool is_due(const FileWatch::News& news, std::chrono::nanoseconds now) const;
    std::chrono::nanoseconds look_again_at() const { return look_again_at_; }

private:
    void ask_orphan_for_its_end(const Observer& observer);
    bool needs_watch() const;
    void plan_next_look();
    ProcessHandle open_process_to_watch() const;
    bool concerns_us(const FileWatch::Change& change) const;

    JobFiles files_;
    std::string heartbeat_name_;
    FileWatch& watch_;
    bool is_watched_ = false;  // or was found to be impossible to watch
    std::optional<FileWatch::WatchId> watch_id_;
    bool is_local_;  // no other host changes its files
    Settled seen_;
    Judgement judgement_ = judge_dead;
    BeatMemory beats_;
    ProcessHandle process_;  // the shim's; the worker's once it is orphaned
    std::chrono::nanoseconds look_again_at_ = end_of_time;
    std::chrono::milliseconds impatience_;
};

}  // namespace jobshim
