#include "integration/bench/runners.hpp"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <numeric>
#include <random>
#include <stdexcept>

#include "integration/bench/files.hpp"

namespace bench {

namespace {

using Json = nlohmann::json;

Words joined(Words first, const Words& second) {
    first.insert(first.end(), second.begin(), second.end());
    return first;
}

Runner prefix(const std::string& name, const Words& words) {
    return {name, words[0],
            [words](const Words& command, const std::string&) { return joined(words, command); }};
}

Runner shell() {
    return {"bash -c 'COMMAND; exit'", "bash", [](const Words& command, const std::string&) {
                std::string script;  // our own words need no quoting
                for (const std::string& word : command) script += word + " ";
                return Words{"bash", "-c", script + "; exit"};
            }};
}

Runner conmon(const Places& places) {
    Runner runner;
    runner.name = "conmon";
    runner.program = "conmon";
    const std::string directory = places.memory;
    runner.wrap = [directory, self = places.self](const Words& command, const std::string& word) {
        std::string text;
        for (const std::string& each : command) text += (text.empty() ? "" : "\n") + each;
        ::setenv("BENCH_COMMAND", text.c_str(), 1);
        const std::string bundle = directory + "/" + word;
        std::filesystem::create_directory(bundle);
        return Words{"conmon",
                     "--cid",
                     word,
                     "--cuuid",
                     word,
                     "--runtime",
                     self,
                     "--bundle",
                     bundle,
                     "--container-pidfile",
                     bundle + "/pid",
                     "--full-attach",  // keeps its sockets in the bundle
                     "--exit-dir",
                     bundle,
                     "--log-path",
                     "k8s-file:" + bundle + "/log"};
    };
    runner.clean = [directory](const std::string& word) {
        std::filesystem::remove_all(directory + "/" + word);
    };
    return runner;
}

Runner shim(const Places& places, const std::string& directory, const std::string& sync) {
    Runner runner;
    runner.name = "jobshim --sync " + sync + ", " + file_system_of(directory);
    runner.program = places.jobshim;
    runner.wrap = [program = places.jobshim, directory, sync](const Words& command,
                                                              const std::string& word) {
        return joined({program, "--sync", sync, "--job", directory + "/" + word + ".json", "--"},
                      command);
    };
    runner.clean = [directory](const std::string& word) {
        ::unlink((directory + "/" + word + ".json").c_str());
    };
    return runner;
}

// What any durable record must cost: replacing a file so that it survives a power cut.
double replace_durably(const std::string& directory) {
    const std::string text(1500, 'x');  // about the size of a record
    const std::string from = directory + "/replace.new";
    const std::string to = directory + "/replace";
    const auto begin = Clock::now();
    const int file = ::open(from.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    must(file >= 0 && ::write(file, text.data(), text.size()) > 0 && ::fsync(file) == 0 &&
             ::close(file) == 0 && ::rename(from.c_str(), to.c_str()) == 0,
         "replace " + to);
    const int directory_fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(directory_fd >= 0 && ::fsync(directory_fd) == 0 && ::close(directory_fd) == 0,
         "flush " + directory);
    return Microseconds(Clock::now() - begin).count();
}

std::string path_of_true() {
    for (const char* path : {"/usr/bin/true", "/bin/true"})
        if (in_path(path)) return path;
    throw std::runtime_error("no `true` here");
}

struct Samples {
    std::vector<double> wall, cpu, faults;
    bool all_ok = true;
    void add(const Used& used) {
        wall.push_back(used.wall_us);
        cpu.push_back(used.cpu_us);
        faults.push_back(used.faults);
        all_ok = all_ok && used.all_ok;
    }
};

}  // namespace

std::vector<Runner> runners(const Places& places) {
    const auto bare = [](const Words& command, const std::string&) { return command; };
    std::vector<Runner> all{{"posix_spawn", "true", bare},
                            {"vfork", "true", bare, Start::vfork},
                            prefix("tini -s", {"tini", "-s", "--"}),
                            prefix("tini-static -s", {"tini-static", "-s", "--"}),
                            prefix("dumb-init", {"dumb-init", "--"}),
                            prefix("catatonit", {"catatonit", "--"}),
                            prefix("timeout 1h", {"timeout", "1h"}),
                            shell(),
                            conmon(places)};
    std::vector<std::string> directories = places.disks;
    directories.insert(directories.begin(), places.memory);
    for (const std::string& directory : directories)
        for (const char* sync : {"never", "final", "always"})
            all.push_back(shim(places, directory, sync));
    std::vector<Runner> here;
    for (Runner& runner : all) {
        if (in_path(runner.program))
            here.push_back(std::move(runner));
        else
            std::cerr << "bench: no " << runner.program << " here; it is left out\n";
    }
    return here;
}

int act_as_runtime(int argc, char** argv) {
    std::string pid_file;
    for (int i = 1; i + 1 < argc; ++i)
        if (std::string(argv[i]) == "--pid-file") pid_file = argv[i + 1];
    const char* set = std::getenv("BENCH_COMMAND");
    if (pid_file.empty() || set == nullptr) return 0;  // called to stop or remove something
    Words command;
    const std::string text = set;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find('\n', at), text.size());
        command.push_back(text.substr(at, end - at));
        at = end + 1;
    }
    const pid_t pid = start(command);
    std::ofstream(pid_file) << pid;
    return 0;
}

Json measure_runners(const Places& places, int rounds) {
    const Words command{path_of_true()};
    const std::vector<Runner> all = runners(places);
    std::vector<Samples> samples(all.size());
    std::vector<std::vector<double>> replaced(places.disks.size());
    // Each round has its own order, so that no runner always follows the same one. The first round
    // is a warm-up and is not counted.
    std::vector<std::size_t> order(all.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::mt19937 random;
    for (int round = -1; round < rounds; ++round) {
        std::shuffle(order.begin(), order.end(), random);
        for (const std::size_t which : order) {
            const Runner& runner = all[which];
            const std::string word = "w" + std::to_string(round + 1);
            const Used used = run(runner.wrap(command, word), runner.how);
            runner.clean(word);
            if (round >= 0) samples[which].add(used);
        }
        for (std::size_t i = 0; i < places.disks.size(); ++i) {
            const double us = replace_durably(places.disks[i]);
            if (round >= 0) replaced[i].push_back(us);
        }
    }
    Json rows = Json::array();
    for (std::size_t i = 0; i < all.size(); ++i) {
        const Samples& of = samples[i];
        if (!of.all_ok) std::cerr << "bench: " << all[i].name << " did not always exit 0\n";
        const std::size_t calls =
            in_path("strace")
                ? count_system_calls(all[i].wrap(command, "traced"), places.memory + "/trace")
                : 0;
        all[i].clean("traced");
        rows.push_back({{"name", all[i].name},
                        {"wallP50Us", quantile(of.wall, 0.5)},
                        {"wallP10Us", quantile(of.wall, 0.1)},
                        {"cpuP50Us", quantile(of.cpu, 0.5)},
                        {"pageFaults", quantile(of.faults, 0.5)},
                        {"systemCalls", calls}});
    }
    for (std::size_t i = 0; i < places.disks.size(); ++i)
        rows.push_back({{"name", "durable replace alone, " + file_system_of(places.disks[i])},
                        {"wallP50Us", quantile(replaced[i], 0.5)},
                        {"wallP10Us", quantile(replaced[i], 0.1)}});
    return rows;
}

}  // namespace bench
