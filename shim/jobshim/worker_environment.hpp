// The worker's environment: the shim's own, but for what must name the worker or its job.
#pragma once

#include <string>
#include <vector>

namespace jobshim {

// The shim's environment for execve(2), with JOBSHIM_JOB_FILE set to `job_file`; if that is "",
// without it: it would name the job that the shim itself runs in. Points into the environment and
// into itself, so it cannot be copied.
class WorkerEnvironment {
public:
    explicit WorkerEnvironment(const std::string& job_file);

    WorkerEnvironment(const WorkerEnvironment&) = delete;
    WorkerEnvironment& operator=(const WorkerEnvironment&) = delete;

    // Null-terminated.
    char** data() { return entries_.data(); }

    // Some variables are meant for one process and name it: sd_listen_fds(3),
    // sd_watchdog_enabled(3). Those that name the shim are meant for the worker. Call in the
    // worker's process.
    void retarget_pids(int shim_pid);

private:
    std::string assignment_;
    std::vector<char*> entries_;
};

}  // namespace jobshim
