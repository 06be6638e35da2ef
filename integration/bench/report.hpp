// The bench's results, for people to read.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace bench {

std::string as_markdown(const nlohmann::json& found);
std::string as_svg(const nlohmann::json& found);

}  // namespace bench
