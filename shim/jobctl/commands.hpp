// The commands of jobctl, each in a file of its own name. They print to standard output, complain
// to standard error, and throw what is jobctl's own failure.
#pragma once

#include <string>
#include <vector>

#include "common/observation.hpp"
#include "shim/jobctl/options.hpp"
#include "shim/jobctl/outcome.hpp"

namespace jobshim {

// What main knows and the commands need. Made once.
struct Context {
    Observer observer;
    std::vector<std::string> directories;  // of job files; --dir, else the default one
    // State directories of codex-companion; where these are asked for, they alone count.
    bool is_companion = false;
    std::vector<std::string> companions;
};

Outcome show_status(const CtlOptions& options, const Context& context);
Outcome show_result(const CtlOptions& options, const Context& context);
Outcome list_jobs(const CtlOptions& options, const Context& context);
Outcome show_log(const CtlOptions& options, const Context& context);
Outcome cancel_job(const CtlOptions& options, const Context& context);
Outcome settle_job(const CtlOptions& options, const Context& context);
Outcome reap_jobs(const CtlOptions& options, const Context& context);
Outcome prune_jobs(const CtlOptions& options, const Context& context);
Outcome show_abilities(const CtlOptions& options, const Context& context);  // doctor

// An exit status and not an outcome, for --mirror.
int wait_for_jobs(const CtlOptions& options, const Context& context);

}  // namespace jobshim
