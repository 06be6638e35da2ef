// What the bench found, as a person reads it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace bench {

std::string as_markdown(const nlohmann::json& found);
std::string as_svg(const nlohmann::json& found);

}  // namespace bench
