// Parsers of option values that both programs take; CLI11 reports what they refuse.
#pragma once

#include <CLI/Error.hpp>
#include <chrono>
#include <string>

#include "common/units.hpp"

namespace jobshim {

// Throws CLI::ValidationError.
inline std::chrono::milliseconds duration_value(const std::string& text) {
    const auto duration = parse_duration(text);
    if (!duration)
        throw CLI::ValidationError("invalid duration '" + text + "' (examples: 500ms, 10s, 5m)");
    return *duration;
}

}  // namespace jobshim
