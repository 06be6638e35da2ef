// A job that `jobctl wait` waits for, of either kind.
#pragma once

#include <poll.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "shim/jobctl/commands.hpp"
#include "shim/jobctl/file_watch.hpp"
#include "shim/jobctl/output.hpp"

namespace jobshim {

class AwaitedJob {
public:
    AwaitedJob() = default;
    virtual ~AwaitedJob() = default;
    AwaitedJob(const AwaitedJob&) = delete;
    AwaitedJob& operator=(const AwaitedJob&) = delete;

    // Takes the first look.
    virtual void begin() = 0;
    // Called after each sleep while the job is awaited; looks again if there is reason to.
    virtual void update(const FileWatch::News& news) = 0;
    // When to call update() at the latest. Adds the descriptors to poll for POLLIN until then,
    // besides the watch's own.
    virtual std::chrono::nanoseconds wake_at(std::vector<pollfd>& descriptors) const = 0;

    // Neither is true if there is no such job, or if it cannot be examined; a complaint was printed
    // then.
    virtual bool has_ended() const = 0;
    virtual bool is_awaited() const = 0;

    // Outcome::timed_out for a job that is still awaited when the time is up.
    virtual Outcome outcome() const = 0;
    // Nothing if the job is not there.
    virtual std::optional<JobReport> report() const = 0;
    // How its worker ended; nothing if that is unknown.
    virtual std::optional<ExitRecord> end() const = 0;
    virtual void say_timed_out() const = 0;
};

// A job with a job file. All waiting ends at `deadline`.
std::unique_ptr<AwaitedJob> await_job_file(std::string job, const CtlOptions& options,
                                           const Context& context, FileWatch& watch,
                                           std::chrono::nanoseconds deadline);

// A job of codex-companion.
std::unique_ptr<AwaitedJob> await_companion_job(std::string job, const CtlOptions& options,
                                                const Context& context, FileWatch& watch);

}  // namespace jobshim
