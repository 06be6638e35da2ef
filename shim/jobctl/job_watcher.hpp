// One job that is being waited for: what the last look found, and when it is worth looking again.
//
// No polling on a single host. A shim that runs here is waited for by its pidfd alone, because the
// job ends with it. Everything else shows up through inotify on the job's directory: a record being
// replaced, and the heartbeat file that the kernel closes when a shim dies, even in another pid
// namespace. Where events may not arrive (another host, a network file system, no watches left),
// the job is looked at every second.
//
// inotify is used only where it is needed, because closing an inotify descriptor takes the kernel
// some 15 ms, at the very moment when somebody is waiting for us to exit.
#pragma once

#include <poll.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "shim/jobctl/file_watch.hpp"
#include "shim/jobctl/look.hpp"

namespace jobshim {

class JobWatcher {
public:
    JobWatcher(JobFiles files, FileWatch& watch);

    // Changes between this look and the following wait are not missed.
    const Settled& look(const Context& context, bool settle);
    // Also works for a job that seems to be over. True if the watch is new, so that another look is
    // needed.
    bool watch_files();

    const JobFiles& files() const { return files_; }
    const Settled& seen() const { return seen_; }
    // No more is to be expected: the job has ended, or is certainly dead.
    bool is_over() const { return seen_.now.verdict.ended || seen_.now.verdict.settle; }

    // Adds the descriptors to poll for POLLIN besides the watch's own.
    void add_to(std::vector<pollfd>& descriptors) const;
    // True if it is time to look again: because of the news or the clock, or because the process
    // ended.
    bool is_due(const FileWatch::News& news, std::chrono::nanoseconds now) const;
    std::chrono::nanoseconds look_again_at() const { return look_again_at_; }

private:
    std::optional<Conclusion> conclude(const Observation& seen, int own_pid);
    bool needs_watch() const;
    void plan_next_look();
    ProcessHandle open_process_to_watch() const;
    bool concerns_us(const FileWatch::Change& change) const;

    JobFiles files_;
    FileWatch& watch_;
    bool is_watched_ = false;  // or watching turned out to be impossible
    std::optional<FileWatch::WatchId> watch_id_;
    bool is_local_;  // no other host changes its files
    Settled seen_;
    std::optional<Eyewitness> eyewitness_;  // outlives `process_`, should the settling fail
    BeatMemory beats_;
    ProcessHandle process_;  // the shim's, or the worker's once it is orphaned
    std::chrono::nanoseconds look_again_at_ = end_of_time;
    std::chrono::milliseconds retry_delay_;
};

}  // namespace jobshim
