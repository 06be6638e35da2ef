#pragma once

// Records and jobctl's output, as JSON.

#include <nlohmann/json.hpp>
#include <string>

#include "integration/support/files.hpp"

namespace harness {

using Json = nlohmann::json;

Json read_json(const fs::path& file);
/// The value at a JSON pointer, or "<missing>", so that a CHECK reports what is wrong instead of
/// throwing.
Json at(const Json& value, const std::string& pointer);

}  // namespace harness
