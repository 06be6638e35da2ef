// What it costs to start a short program: by itself, and behind each of a row of wrappers.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "integration/bench/process.hpp"

namespace bench {

// Where everything is.
struct Places {
    std::string jobshim, jobctl, self;
    std::string memory;              // a folder on a tmpfs
    std::vector<std::string> disks;  // folders on disks, one at least

    const std::string& disk() const { return disks.front(); }
};

struct Runner {
    std::string name;
    std::string program;  // which must be in the PATH
    // What to run so that `command` runs behind it. The word is new for every run.
    std::function<Words(const Words& command, const std::string& word)> wrap;
    Start how = Start::posix_spawn;
    // Removes what the run with this word has left.
    std::function<void(const std::string& word)> clean = [](const std::string&) {};
};

// Those that are installed; of the others stderr tells.
std::vector<Runner> runners(const Places& places);

// Part of `main`: what conmon takes for a container runtime. Starts COMMAND of the environment
// (BENCH_COMMAND, words divided by line feeds) and writes its pid where conmon wants it.
int act_as_runtime(int argc, char** argv);

// One row a runner, and one for each disk, interleaved, each so often.
nlohmann::json measure_runners(const Places& places, int rounds);

}  // namespace bench
