// The commands of jobctl, each in a file named after the command. They print to standard output,
// complain to standard error, and throw when jobctl itself fails.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/companion/state_directory.hpp"
#include "common/observation.hpp"
#include "shim/jobctl/options.hpp"
#include "shim/jobctl/outcome.hpp"

namespace jobshim {

// What main knows and the commands need. Built once.
struct Context {
    Observer observer;
    std::vector<std::string> directories;  // of job files: --dir, else the default
    // State directories of codex-companion; if they are requested, only they count.
    bool is_companion = false;
    std::vector<CompanionDirectory> companions;
    // The users of whom it was said that their jobs are only looked at. Copies share it.
    std::shared_ptr<std::set<std::uint32_t>> only_looked_at =
        std::make_shared<std::set<std::uint32_t>>();
};

Outcome show_status(const CtlOptions& options, const Context& context);
Outcome show_result(const CtlOptions& options, const Context& context);
Outcome list_jobs(const CtlOptions& options, const Context& context);
Outcome tell_events(const CtlOptions& options, const Context& context);
Outcome show_log(const CtlOptions& options, const Context& context);
Outcome cancel_jobs(const CtlOptions& options, const Context& context);
Outcome settle_job(const CtlOptions& options, const Context& context);
Outcome reap_jobs(const CtlOptions& options, const Context& context);
Outcome prune_jobs(const CtlOptions& options, const Context& context);
Outcome run_doctor(const CtlOptions& options, const Context& context);
// Whoever calls it says nothing if it fails: a hook must not hold up its agent.
Outcome answer_hook(const CtlOptions& options, const Context& context);
Outcome print_completion(const CtlOptions& options);
// Prints what may be typed next; never complains. `line` is the program that is being called and
// its arguments, up to the one at the cursor, of which only what is left of the cursor.
Outcome complete(const std::vector<std::string>& line);

// Returns an exit status rather than an Outcome, because of --mirror.
int wait_for_jobs(const CtlOptions& options, const Context& context);

}  // namespace jobshim
