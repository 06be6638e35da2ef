// jobctl: reads what jobshim writes, and reports the state of a job.
#include <exception>
#include <string>
#include <string_view>
#include <variant>

#include "common/job_files.hpp"
#include "common/posix_error.hpp"
#include "common/say.hpp"
#include "common/system_calls.hpp"
#include "shim/jobctl/commands.hpp"
#include "shim/jobctl/companion/directories.hpp"
#include "shim/jobctl/output.hpp"
#include "shim/jobctl/selection.hpp"

namespace {

using namespace jobshim;

Context gather_context(const CtlOptions& options) {
    Context context;
    context.observer.here = identity_of_this_process(own_process_stat());
    context.observer.state_directory = state_directory_if_any();
    context.directories = options.directories;
    if (context.directories.empty() && !context.observer.state_directory.empty())
        context.directories.push_back(context.observer.state_directory + "/jobs");
    context.is_companion = options.all_states || !options.companions.empty();
    if (context.is_companion) context.companions = companion_directories(options);
    return context;
}

int run(const CtlOptions& options, const Context& context) {
    switch (options.command) {
        case Command::status:
            return exit_status(show_status(options, context));
        case Command::wait:
            return wait_for_jobs(options, context);
        case Command::result:
            return exit_status(show_result(options, context));
        case Command::list:
            return exit_status(list_jobs(options, context));
        case Command::events:
            return exit_status(tell_events(options, context));
        case Command::logs:
            return exit_status(show_log(options, context));
        case Command::cancel:
            return exit_status(cancel_jobs(options, context));
        case Command::settle:
            return exit_status(settle_job(options, context));
        case Command::prune:
            return exit_status(prune_jobs(options, context));
        case Command::doctor:
            return exit_status(run_doctor(options, context));
        case Command::reap:
            return exit_status(reap_jobs(options, context));
        case Command::hook:
            return exit_status(answer_hook(options, context));
        case Command::completion:
            return exit_status(print_completion(options));
    }
    return exit_status(Outcome::own_failure);
}

}  // namespace

int main(int argc, char** argv) {
    const bool is_hook = argc > 1 && std::string_view(argv[1]) == "hook";
    if (was_started_with_privileges()) {
        complain(
            "does not run with more privileges than its caller has (set-user-ID, capabilities)");
        return exit_status(Outcome::own_failure);
    }
    // For the completion scripts, so no command that people would look for.
    if (argc > 2 && std::string_view(argv[1]) == "__complete")
        return exit_status(complete({argv + 2, argv + argc}));
    try {
        const auto parsed = parse_options(argc, argv);
        if (const auto* early_exit = std::get_if<EarlyExit>(&parsed)) {
            write_message(early_exit->err);
            print(early_exit->out);
            return early_exit->status;
        }
        const CtlOptions& options = std::get<CtlOptions>(parsed);
        return run(options, gather_context(options));
    } catch (const AmbiguousJob& ambiguous) {
        say("jobctl", ambiguous.what(), true);
        return usage_exit_status;
    } catch (const std::exception& error) {
        if (is_hook) return 0;  // not a word: it would be taken for something about the command
        complain(error.what());
        return exit_status(Outcome::own_failure);
    }
}
