// The grammar of jobshim's command line: its options, and which of them take a value. Pure.
//
// One table for everything that reads such a line: jobshim itself, jobctl when it looks for a shim
// that is just starting, and the fuzzer, which compares jobshim with a parser of its own.
#pragma once

#include <array>
#include <string_view>

namespace jobshim {

struct ShimOption {
    std::string_view name;        // "--job"
    std::string_view short_name;  // "-j"; "" for none
    std::string_view value;       // as in --help, "FILE"; "" for a flag

    constexpr bool takes_value() const { return !value.empty(); }
};

inline constexpr auto shim_grammar = std::to_array<ShimOption>({
    {"--job", "-j", "FILE"},
    {"--id", "", "ID"},
    {"--title", "", "TEXT"},
    {"--heartbeat-interval", "", "DUR"},
    {"--log", "", "FILE"},
    {"--tail", "", "BYTES"},
    {"--timeout", "", "DUR"},
    {"--signal", "", "SIG"},
    {"--kill-after", "", "DUR"},
    {"--stall-after", "", "DUR"},
    {"--on-shim-death", "", "kill|keep"},
    {"--leftovers", "", "keep|kill"},
    {"--group", "", "own|share"},
    {"--expect-record", "", ""},
    {"--companion", "", "STATE_DIR"},
    {"--detach", "", ""},
    {"--best-effort", "", ""},
    {"--sync", "", "always|final|never"},
    {"--help", "-h", ""},
    {"--version", "", ""},
});

// Finds an option by either of its names; null if there is none.
constexpr const ShimOption* find_shim_option(std::string_view name) {
    for (const ShimOption& option : shim_grammar)
        if (!name.empty() && (name == option.name || name == option.short_name)) return &option;
    return nullptr;
}

}  // namespace jobshim
