// What a wrapper costs while its command runs: memory, and how often it wakes up.
#pragma once

#include <nlohmann/json.hpp>

#include "integration/bench/runners.hpp"

namespace bench {

struct RestPlan {
    int copies = 100;     // of each wrapper
    int many = 1000;      // of jobshim only; 0: none
    double seconds = 10;  // how long they are watched
};

nlohmann::json measure_rest(const Places& places, const RestPlan& plan);

}  // namespace bench
