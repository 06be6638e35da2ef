#include "integration/bench/readers.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <fstream>
#include <iostream>

#include "integration/bench/files.hpp"

namespace bench {

namespace {

using Json = nlohmann::json;

constexpr const char* python_loop =
    "import json, os, sys\n"
    "for name in os.listdir(sys.argv[1]):\n"
    "    with open(os.path.join(sys.argv[1], name)) as file:\n"
    "        json.load(file)\n";

std::string name_of(int number) { return "job-" + std::to_string(number); }

// Fills the directory with `count` jobs: copies of one that jobshim has just run, renamed.
void fill(const Places& places, const std::string& directory, int count) {
    const std::string first = directory + "/" + name_of(0) + ".json";
    run({places.jobshim, "--sync", "never", "--job", first, "--", "true"});
    const std::string text = text_of(first);
    const std::string id = "\"" + name_of(0) + "\"";
    const std::size_t at = text.find(id);
    must(at != std::string::npos, "make a record to copy");
    for (int i = 1; i < count; ++i) {
        std::string other = text;
        other.replace(at, id.size(), "\"" + name_of(i) + "\"");
        std::ofstream(directory + "/" + name_of(i) + ".json") << other;
    }
}

double best_of(int times, const Words& argv) {
    std::vector<double> ms;
    for (int i = 0; i < times; ++i) ms.push_back(run(argv).wall_us / 1000);
    return quantile(ms, 0);
}

}  // namespace

Json measure_readers(const Places& places, const std::vector<int>& counts) {
    Json rows = Json::array();
    for (const int count : counts) {
        std::cerr << "bench: " << count << " jobs\n";
        const TempDirectory directory(places.disk());
        fill(places, directory.path, count);
        const int times = count > 10'000 ? 2 : 5;
        Json row{{"jobs", count},
                 {"listMs", best_of(times, {places.jobctl, "list", "--dir", directory.path})}};
        Words status{places.jobctl, "status", "--dir", directory.path};
        for (int i = 0; i < count; ++i) status.push_back(name_of(i));
        // More names than that do not fit on one command line.
        if (count <= 20'000) row["statusMs"] = best_of(times, status);
        const std::string broken = directory / "broken.json";
        if (in_path("python3"))
            row["pythonMs"] = best_of(times, {"python3", "-c", python_loop, directory.path});
        // As a power cut leaves it, and so old that no writer can still be at it.
        std::ofstream(broken) << R"({"id": "broken", "sta)";
        const timespec long_ago[2] = {{1'700'000'000, 0}, {1'700'000'000, 0}};
        must(::utimensat(AT_FDCWD, broken.c_str(), long_ago, 0) == 0, "age " + broken);
        row["listWithBrokenMs"] = best_of(times, {places.jobctl, "list", "--dir", directory.path});
        rows.push_back(std::move(row));
    }
    return rows;
}

}  // namespace bench
