// What a worker streams: does a byte of it pass through the shim?
#pragma once

#include <nlohmann/json.hpp>

#include "integration/bench/runners.hpp"

namespace bench {

// Streams this many MiB to the inherited stdout, and a quarter of that to a log on the tmpfs,
// alternately bare and behind the shim. The best of each counts.
nlohmann::json measure_throughput(const Places& places, int mebibytes);

}  // namespace bench
