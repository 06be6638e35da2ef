#include "integration/bench/throughput.hpp"

#include <unistd.h>

#include <algorithm>
#include <limits>

#include "integration/bench/files.hpp"

namespace bench {

namespace {

constexpr int rounds = 5;

Words shell(const std::string& script) { return {"sh", "-c", script}; }

Words behind(Words prefix, const Words& command) {
    prefix.insert(prefix.end(), command.begin(), command.end());
    return prefix;
}

}  // namespace

nlohmann::json measure_throughput(const Places& places, int mebibytes) {
    const std::string log = places.memory + "/stream.log";
    const std::string job = places.memory + "/stream.json";
    const Words shim{places.jobshim, "--job", job};
    const auto stream = [](int count) { return "yes | head -c " + std::to_string(count) + "M"; };
    struct Case {
        std::string name;
        int mebibytes;
        Words bare, wrapped;
    };
    const int logged = mebibytes / 4;
    const std::vector<Case> cases{
        {"inherited stdout, /dev/null", mebibytes, shell(stream(mebibytes)),
         behind(behind(shim, {"--"}), shell(stream(mebibytes)))},
        {"`--log` (bare: `>`), tmpfs", logged, shell(stream(logged) + " > " + log),
         behind(behind(shim, {"--log", log, "--"}), shell(stream(logged)))}};
    nlohmann::json rows = nlohmann::json::array();
    for (const Case& one : cases) {
        double bare = std::numeric_limits<double>::max();
        double wrapped = bare;
        for (int i = 0; i < rounds; ++i)
            for (auto [argv, best] : {std::pair(&one.bare, &bare), {&one.wrapped, &wrapped}}) {
                *best = std::min(*best, run(*argv).wall_us / 1000);
                ::unlink(log.c_str());
                ::unlink(job.c_str());
            }
        rows.push_back({{"name", one.name},
                        {"mebibytes", one.mebibytes},
                        {"bareMs", bare},
                        {"jobshimMs", wrapped}});
    }
    return rows;
}

}  // namespace bench
