// jobctl over many jobs, beside a loop of Python's json over the same files.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "integration/bench/runners.hpp"

namespace bench {

nlohmann::json measure_readers(const Places& places, const std::vector<int>& counts);

}  // namespace bench
