// The grammar of jobshim's command line: its options, and which of them take a value. Pure.
//
// One table for everything that reads such a line: jobshim itself, jobctl when it looks for a shim
// that is just starting or completes a command line, and the fuzzer, which compares jobshim with a
// parser of its own.
#pragma once

#include <array>
#include <string_view>

namespace jobshim {

struct ShimOption {
    std::string_view name;        // "--job"
    std::string_view short_name;  // "-j"; "" for none
    std::string_view value;       // as in --help, "FILE", "kill|keep"; "" for a flag
    std::string_view help;

    constexpr bool takes_value() const { return !value.empty(); }
};

inline constexpr auto shim_grammar = std::to_array<ShimOption>({
    {"--job", "-j", "FILE",
     "Job file ($XDG_STATE_HOME/jobshim/jobs/ID.json, else below ~/.local/state)"},
    {"--id", "", "ID", "Id of the job (the one in the file, else the file's name, else generated)"},
    {"--title", "", "TEXT", "Title for jobctl to show (the command)"},
    {"--heartbeat-interval", "", "DUR", "How often to touch the heartbeat file, 100ms to 1h (5s)"},
    {"--log", "", "FILE", "Append the worker's stdout and stderr to FILE (inherit both)"},
    {"--tail", "", "BYTES", "How much of the end of the log to record, 0 to 65536 (2048)"},
    {"--timeout", "", "DUR", "Signal the worker after DUR (never)"},
    {"--signal", "", "SIG", "First signal to send on timeout (TERM)"},
    {"--kill-after", "", "DUR", "Send KILL if the worker is still alive DUR later (10s; 0: never)"},
    {"--stall-after", "", "DUR",
     "Have jobctl call the job stalled when the worker's log has not grown and it has used no CPU "
     "for DUR; nothing is done about it (never)"},
    {"--on-shim-death", "", "kill|keep", "What to do with the worker if the shim dies (kill)"},
    {"--leftovers", "", "keep|kill",
     "What to do with processes left in the worker's own group when it ends (keep)"},
    {"--group", "", "own|share",
     "The worker's process group (own without a controlling terminal, share with one)"},
    {"--expect-record", "", "",
     "The worker writes its own final status; exit 0 without one is a failure"},
    {"--companion", "", "STATE_DIR",
     "Also record the end in this codex-companion state directory; the job file goes into its "
     "jobshim directory (implies --expect-record and --group own)"},
    {"--detach", "", "", "Run in the background, and print the id once COMMAND has started"},
    {"--best-effort", "", "", "If the record cannot be kept, say so and run COMMAND anyway"},
    {"--sync", "", "always|final|never", "Which writes of the record to flush to disk (final)"},
    {"--help", "-h", "", "Print this help and exit"},
    {"--version", "", "", "Print the version and exit"},
});

// Finds an option by either of its names; null if there is none.
constexpr const ShimOption* find_shim_option(std::string_view name) {
    for (const ShimOption& option : shim_grammar)
        if (!name.empty() && (name == option.name || name == option.short_name)) return &option;
    return nullptr;
}

}  // namespace jobshim
