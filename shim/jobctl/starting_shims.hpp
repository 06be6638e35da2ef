// Finds shims that were started for a job and do not hold its lock yet, by their command lines.
//
// Why: a host that runs the same job again spawns jobshim and waits at once. For a moment the
// record still tells of the last run and no lock says otherwise.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "common/job_files.hpp"
#include "common/observation.hpp"
#include "common/process_handle.hpp"

namespace jobshim {

// How long an end that is there from the beginning is doubted: from a fork to the lock, on a busy
// machine.
constexpr std::chrono::milliseconds grace_time{100};

// What a command line of jobshim says of the job file. Pure.
struct NamedJob {
    std::string file;  // --job
    std::string id;    // --id
};
NamedJob job_named_by(const std::vector<std::string>& arguments);

// A pidfd for each. `last`: the shim that the record tells of, which is none of them.
std::vector<ProcessHandle> find_starting_shims(const JobFiles& files, const ShimIdentity& last,
                                               const Observer& observer);

}  // namespace jobshim
