// One job that `jobctl wait` waits for, whichever kind it is of.
#pragma once

#include <poll.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "shim/jobctl/commands.hpp"
#include "shim/jobctl/output.hpp"
#include "shim/jobctl/watch.hpp"

namespace jobshim {

class AwaitedJob {
public:
    AwaitedJob() = default;
    virtual ~AwaitedJob() = default;
    AwaitedJob(const AwaitedJob&) = delete;
    AwaitedJob& operator=(const AwaitedJob&) = delete;

    // The first look.
    virtual void begin() = 0;
    // After a sleep: looks again, if there is cause to. Of one that is awaited.
    virtual void go_on(const FileWatch::News& news) = 0;
    // When to go on at the latest; adds what to poll for POLLIN until then besides the watch's
    // descriptor.
    virtual std::chrono::nanoseconds wake_at(std::vector<pollfd>& descriptors) const = 0;

    // Neither: there is no such job, or it is out of reach. That was complained of.
    virtual bool has_ended() const = 0;
    virtual bool is_awaited() const = 0;

    // A job that is still awaited, when the time is over, has none of its own.
    virtual Outcome outcome() const = 0;
    // Nothing for a job that is not there.
    virtual std::optional<JobReport> report() const = 0;
    // How its worker ended; nothing if that is not known.
    virtual std::optional<ExitRecord> end() const = 0;
    virtual void say_timed_out() const = 0;
};

// A job with a file. `deadline`: the end of all waiting.
std::unique_ptr<AwaitedJob> await_job_file(std::string job, const CtlOptions& options,
                                           const Context& context, FileWatch& watch,
                                           std::chrono::nanoseconds deadline);

// A job of codex-companion.
std::unique_ptr<AwaitedJob> await_companion_job(std::string job, const CtlOptions& options,
                                                const Context& context, FileWatch& watch);

}  // namespace jobshim
