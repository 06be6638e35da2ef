// jobshim: runs a worker as its child and records how it ended. The life of a job is in job.cpp.

#include <unistd.h>

#include <exception>
#include <utility>

#include "common/file_contents.hpp"
#include "common/say.hpp"
#include "common/system_calls.hpp"
#include "shim/jobshim/descriptors.hpp"
#include "shim/jobshim/exit_statuses.hpp"
#include "shim/jobshim/job.hpp"
#include "shim/jobshim/launcher.hpp"
#include "shim/jobshim/options.hpp"
#include "shim/jobshim/process_attributes.hpp"
#include "shim/jobshim/signal_gate.hpp"

int main(int argc, char** argv) {
    using namespace jobshim;
    if (was_started_with_privileges()) {
        say("jobshim",
            "does not run with more privileges than its caller has (set-user-ID, capabilities)");
        return own_failure;
    }
    try {
        const CommandLine line = parse_command_line(argc, argv);
        if (!line.options) {
            write_message(line.err);
            write_all(STDOUT_FILENO, line.out, "standard output");
            return line.exit_status;
        }
        const SignalGate signals;
        name_this_process("jobshim");  // waiters find it by this name, whatever the file's
        const bool has_output = ensure_standard_streams();
        Launcher::Detached detached;
        if (line.options->detach) detached = Launcher::detach(signals, has_output);
        if (detached.exit_status) return *detached.exit_status;
        const End end = run_job(*line.options, std::move(detached.launcher), signals);
        if (end.signal != 0 && ::getpid() != 1) die_by(end.signal);
        return end.exit_status;
    } catch (const std::exception& error) {
        say("jobshim", error.what());
        return own_failure;
    }
}
