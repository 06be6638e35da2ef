// bench: what jobshim costs, compared with a bare start and with other wrappers, all in one run. A
// Markdown table goes to stdout, the same as JSON and a plot to files. Its figures decide nothing:
// counts that do not depend on time have a test of their own (integration/budget_test.cpp).

#include <signal.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <list>
#include <stdexcept>
#include <thread>

#include "integration/bench/files.hpp"
#include "integration/bench/latency.hpp"
#include "integration/bench/process.hpp"
#include "integration/bench/readers.hpp"
#include "integration/bench/report.hpp"
#include "integration/bench/rest.hpp"
#include "integration/bench/runners.hpp"
#include "integration/bench/throughput.hpp"

namespace bench {
namespace {

constexpr const char* usage = R"(usage: bench --bin DIR --out DIR [OPTIONS]
  --bin DIR        where jobshim and jobctl are
  --out DIR        where bench.json and bench.svg go
  --short          few rounds and copies, and no readers: a smoke run, not a measurement
  --rounds N       starts of each wrapper (300); a tenth as many deaths, at least 5
  --runs N         repeat the start measurements N times (1) and show each run's ratios
  --copies N       copies at rest, of each wrapper (100)
  --many N         copies at rest of jobshim alone (1000; 0: none)
  --seconds N      how long to watch idle processes (10)
  --huge           read 100,000 jobs, too
  --tmpfs DIR      a directory on a tmpfs (/dev/shm)
  --disk DIR       a directory on a disk, may be repeated (the one for the results)
)";

struct Options {
    std::string bin, out;
    std::string memory = "/dev/shm";
    std::vector<std::string> disks;
    int rounds = 300;
    int runs = 1;
    int mebibytes = 4096;  // of streamed output
    RestPlan rest;
    std::vector<int> jobs{100, 1000, 10'000};
};

int number(const std::string& text) {
    int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || value < 0)
        throw std::invalid_argument("invalid number '" + text + "'");
    return value;
}

Options parse(const Words& words) {
    Options options;
    for (std::size_t i = 0; i < words.size(); ++i) {
        const std::string& word = words[i];
        const auto value = [&]() -> const std::string& {
            if (i + 1 == words.size()) throw std::invalid_argument(word + " needs a value");
            return words[++i];
        };
        if (word == "--bin") {
            options.bin = value();
        } else if (word == "--out") {
            options.out = value();
        } else if (word == "--short") {
            options.rounds = 20;
            options.mebibytes = 256;
            options.rest = {10, 0, 2};
            options.jobs.clear();
        } else if (word == "--rounds") {
            options.rounds = number(value());
        } else if (word == "--runs") {
            options.runs = std::max(number(value()), 1);
        } else if (word == "--copies") {
            options.rest.copies = number(value());
        } else if (word == "--many") {
            options.rest.many = number(value());
        } else if (word == "--seconds") {
            options.rest.seconds = number(value());
        } else if (word == "--huge") {
            options.jobs.push_back(100'000);
        } else if (word == "--tmpfs") {
            options.memory = value();
        } else if (word == "--disk") {
            options.disks.push_back(value());
        } else {
            throw std::invalid_argument("unknown: " + word);
        }
    }
    if (options.bin.empty() || options.out.empty())
        throw std::invalid_argument("--bin and --out are needed");
    if (options.disks.empty()) options.disks.push_back(options.out);
    return options;
}

void measure(const Options& options) {
    namespace fs = std::filesystem;
    become_subreaper();
    fs::create_directories(options.out);
    const TempDirectory memory(fs::canonical(options.memory));
    std::list<TempDirectory> disks;
    Places places;
    for (const std::string& disk : options.disks)
        places.disks.push_back(disks.emplace_back(fs::canonical(disk)).path);
    // The measured programs must neither find the user's jobs nor leave any there.
    ::setenv("XDG_STATE_HOME", memory.path.c_str(), 1);
    const fs::path bin = fs::canonical(options.bin);
    places.jobshim = bin / "jobshim";
    places.jobctl = bin / "jobctl";
    places.self = fs::canonical("/proc/self/exe");
    places.memory = memory.path;
    utsname names{};
    ::uname(&names);
    nlohmann::json found{{"kernel", names.release},
                         {"cores", std::thread::hardware_concurrency()},
                         {"rounds", options.rounds}};
    std::cerr << "bench: starts\n";
    for (int run = 0; run < options.runs; ++run)
        found["runners"].push_back(measure_runners(places, options.rounds));
    std::cerr << "bench: latencies\n";
    found["latency"] = measure_latency(places, std::max(options.rounds / 10, 5));
    std::cerr << "bench: at rest\n";
    found["rest"] = measure_rest(places, options.rest);
    std::cerr << "bench: streams\n";
    found["throughput"] = measure_throughput(places, options.mebibytes);
    if (!options.jobs.empty()) found["readers"] = measure_readers(places, options.jobs);
    std::ofstream(options.out + "/bench.json") << found.dump(2) << '\n';
    std::ofstream(options.out + "/bench.svg") << as_svg(found);
    std::cout << as_markdown(found);
    std::cerr << "bench: also written: " << options.out << "/bench.json and bench.svg\n";
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
    try {
        // Called by conmon as its runtime: our own arguments begin with a dash.
        if (argc > 1 && argv[1][0] != '-') return bench::act_as_runtime(argc, argv);
        const bench::Words words(argv + 1, argv + argc);
        if (std::find(words.begin(), words.end(), "--help") != words.end()) {
            std::cout << bench::usage;
            return 0;
        }
        bench::measure(bench::parse(words));
    } catch (const std::invalid_argument& error) {
        std::cerr << "bench: " << error.what() << '\n' << bench::usage;
        return 2;
    } catch (const std::exception& error) {
        std::cerr << "bench: " << error.what() << '\n';
        // The resting processes that were started would go on forever.
        for (const bench::Process& process : bench::descendants()) ::kill(process.pid, SIGKILL);
        return 1;
    }
}
