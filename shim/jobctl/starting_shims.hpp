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
#include "shim/jobctl/file_watch.hpp"

namespace jobshim {

// How long to doubt an end that was there from the beginning: as long as it takes from the fork to
// the lock on a busy machine.
constexpr std::chrono::milliseconds grace_time{100};
// A shim that has not taken its job after this time will not: it waits for less than that, for a
// reader that is settling the job.
constexpr std::chrono::milliseconds start_time{10'000};

// What a jobshim command line says about the job file. Pure.
struct NamedJob {
    std::string file;       // --job
    std::string id;         // --id
    std::string companion;  // --companion
};
NamedJob job_named_by(const std::vector<std::string>& arguments);

// Those that were started a moment ago by the job's owner or by root, and mean this very file: the
// one that their words lead to from where they are. `last` is the shim named in the record; it is
// not one of them.
struct StartingShims {
    std::vector<ProcessHandle> handles;
    // When to look again, even if none of them has ended (monotonic).
    std::chrono::nanoseconds until = end_of_time;
};
StartingShims find_starting_shims(const JobFiles& files, const ShimIdentity& last);

}  // namespace jobshim
