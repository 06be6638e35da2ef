// What a worker writes in a stream: does a byte of it pass through the shim?
#pragma once

#include <nlohmann/json.hpp>

#include "integration/bench/runners.hpp"

namespace bench {

// So many MiB to what stdout is, and a quarter of that to a log on the tmpfs; bare and behind the
// shim in turn. The best of each counts.
nlohmann::json measure_throughput(const Places& places, int mebibytes);

}  // namespace bench
