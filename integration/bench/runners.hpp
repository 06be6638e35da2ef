// What it costs to start a short program, bare and behind each of several wrappers.
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
    std::string memory;              // a directory on a tmpfs
    std::vector<std::string> disks;  // directories on disks, at least one

    const std::string& disk() const { return disks.front(); }
};

struct Runner {
    std::string name;
    std::string program;  // must be in the PATH
    // The command line that runs `command` behind the wrapper. `word` is new for every run.
    std::function<Words(const Words& command, const std::string& word)> wrap;
    Start how = Start::posix_spawn;
    // Removes what the run with this word left behind.
    std::function<void(const std::string& word)> clean = [](const std::string&) {};
};

// The installed ones; stderr names the others.
std::vector<Runner> runners(const Places& places);

// Part of `main`: what conmon takes for a container runtime. Starts the command in the
// environment's BENCH_COMMAND (words separated by line feeds) and writes its pid where conmon wants
// it.
int act_as_runtime(int argc, char** argv);

// One row per runner and one per disk, interleaved, `rounds` times each.
nlohmann::json measure_runners(const Places& places, int rounds);

}  // namespace bench
