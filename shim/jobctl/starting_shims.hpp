// Finds, by their command lines, shims that were started for a job but do not hold its lock yet.
//
// Why: a host that runs the same job again starts jobshim and waits at once. For a moment the
// record still describes the previous run, and no lock contradicts it.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "common/job_files.hpp"
#include "common/observation.hpp"
#include "common/process_handle.hpp"

namespace jobshim {

// How long to doubt an end that was there from the beginning: as long as it takes from the fork to
// the lock on a busy machine.
constexpr std::chrono::milliseconds grace_time{100};

// What a jobshim command line says about the job file. Pure.
struct NamedJob {
    std::string file;  // --job
    std::string id;    // --id
};
NamedJob job_named_by(const std::vector<std::string>& arguments);

// A pidfd for each. `last` is the shim named in the record; it is not one of them.
std::vector<ProcessHandle> find_starting_shims(const JobFiles& files, const ShimIdentity& last,
                                               const Observer& observer);

}  // namespace jobshim
