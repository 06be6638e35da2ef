// How long it takes until a death is known.
#pragma once

#include <nlohmann/json.hpp>

#include "integration/bench/runners.hpp"

namespace bench {

nlohmann::json measure_latency(const Places& places, int rounds);

}  // namespace bench
