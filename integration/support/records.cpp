#include "integration/support/records.hpp"

#include <stdlib.h>
#include <sys/wait.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <optional>
#include <set>
#include <system_error>

#include "integration/support/descriptors.hpp"
#include "integration/support/error.hpp"
#include "integration/support/json.hpp"
#include "tests/catch.hpp"

namespace harness {
namespace {

/// Null if nothing is to be kept.
std::ofstream* store() {
    static auto opened = [] {
        std::optional<std::ofstream> out;
        if (const char* directory = std::getenv("JOBSHIM_RECORDS_DIR"); directory != nullptr) {
            fs::create_directories(directory);
            auto name = (fs::absolute(directory) / "XXXXXX.jsonl").string();
            const Fd made(checked(mkstemps(name.data(), 6), name));
            out.emplace(name, std::ios::binary);
        }
        return out;
    }();
    return opened ? &*opened : nullptr;
}

void keep(const char* kind, const fs::path& file, int status, std::string_view text) {
    // A test reads the same record again and again.
    static std::set<std::size_t> kept;
    const auto line = Json{
        {"test", Catch::getResultCapture().getCurrentTestName()},
        {"kind", kind},
        {"file", file},
        {"status", status},
        {"text", text}}.dump(-1, ' ', false, Json::error_handler_t::replace);
    if (kept.insert(std::hash<std::string>()(line)).second) *store() << line << '\n' << std::flush;
}

bool may_be_record(std::string_view text) {
    constexpr std::size_t most = 1'000'000;
    return text.size() < most && contains(text.substr(0, 200), "{") &&
           contains(text, "\"jobshim\"");
}

}  // namespace

void keep_record(const fs::path& file, std::string_view text) {
    if (store() != nullptr && may_be_record(text)) keep("record", file, 0, text);
}

void keep_records_in(const fs::path& directory) {
    if (store() == nullptr) return;
    std::error_code ignored;
    for (fs::recursive_directory_iterator entry(directory, ignored), end; entry != end;
         entry.increment(ignored)) {
        const auto name = entry->path().filename().string();
        // What lies beside a job file: job.json.corrupt-TIME, job.heartbeat.
        const bool is_other =
            name.starts_with('.') || contains(name, ".json.") || name.ends_with("heartbeat");
        if (!is_other && entry->is_regular_file(ignored))
            keep_record(entry->path(), slurp(entry->path()));
    }
}

void keep_forgery(const fs::path& file, std::string_view text) {
    const bool may_be_job = contains(text.substr(0, 200), "{") || contains(text, "\"status\"");
    if (store() != nullptr && may_be_job) keep("forgery", file, 0, text);
}

void keep_output(const Words& argv, const fs::path& cwd, int status, std::string_view out) {
    if (store() == nullptr) return;
    const auto place_of = [&](std::string_view word) {
        return std::find_if(argv.begin(), argv.end(), [&](const std::string& each) {
            return fs::path(each).filename() == word;
        });
    };
    if (place_of("jobctl") != argv.end() && place_of("--json") != argv.end())
        keep("output", argv.at(0), status, out);
    for (const auto& word : argv)
        if (contains(word, "\"status\"")) keep_forgery("a worker's script", word);
    const auto job = std::find(place_of("jobshim"), argv.end(), "-j");
    if (job != argv.end() && job + 1 != argv.end()) {
        const auto file = cwd / job[1];
        std::error_code ignored;
        if (fs::is_regular_file(file, ignored)) keep_record(file, slurp(file));
    }
}

}  // namespace harness
