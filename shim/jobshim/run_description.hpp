// What a run's record says of the run itself: who supervises it, and what it was told to do.
#pragma once

#include <optional>
#include <string>

#include "common/job_document.hpp"
#include "common/job_files.hpp"
#include "shim/jobshim/options.hpp"
#include "shim/jobshim/setup.hpp"

namespace jobshim {

// Pure. `before`: the job file as it was; nothing if there was none.
JobEdit describe_run(const ShimOptions& options, const RunContext& context, const JobFiles& files,
                     const std::string& id, const std::optional<JobDocument>& before);

}  // namespace jobshim
