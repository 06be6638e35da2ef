#pragma once

// Records and what jobctl prints, as JSON.

#include <nlohmann/json.hpp>
#include <string>

#include "integration/support/files.hpp"

namespace harness {

using Json = nlohmann::json;

Json read_json(const fs::path& file);
/// The value at a JSON pointer, or "<missing>": a CHECK then says what is wrong instead of
/// throwing.
Json at(const Json& value, const std::string& pointer);

}  // namespace harness
