// jobctl over many jobs, compared with a Python loop that reads the same files as JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "integration/bench/runners.hpp"

namespace bench {

nlohmann::json measure_readers(const Places& places, const std::vector<int>& counts);

}  // namespace bench
