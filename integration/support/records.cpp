#include "integration/support/records.hpp"

#include <stdlib.h>

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

/// Opened before there are children, which may not open it: attackers are other users.
std::optional<std::ofstream> store = [] {
    std::optional<std::ofstream> out;
    if (const char* directory = std::getenv("JOBSHIM_RECORDS_DIR"); directory != nullptr) {
        fs::create_directories(directory);
        auto name = (fs::absolute(directory) / "XXXXXX.jsonl").string();
        const Fd made(checked(mkstemps(name.data(), 6), name));
        out.emplace(name, std::ios::binary);
    }
    return out;
}();

void keep(const char* kind, const fs::path& file, int status, std::string_view text) {
    // A test reads the same record again and again.
    static std::set<std::size_t> kept;
    const auto line = Json{
        {"test", Catch::getResultCapture().getCurrentTestName()},
        {"kind", kind},
        {"file", file.string()},
        {"status", status},
        {"text", text}}.dump(-1, ' ', false, Json::error_handler_t::replace);
    if (kept.insert(std::hash<std::string>()(line)).second) *store << line << '\n' << std::flush;
}

void keep_record_in(const fs::path& file) {
    constexpr std::size_t most = 1'000'000;  // there are logs of a gigabyte
    std::error_code ignored;
    if (fs::is_regular_file(file, ignored) && fs::file_size(file, ignored) < most)
        keep_record(file, slurp(file));
}

}  // namespace

void keep_record(const fs::path& file, std::string_view text) {
    const bool may_be_ours = contains(text.substr(0, 200), "{") && contains(text, "\"jobshim\"");
    if (store && may_be_ours) keep("record", file, 0, text);
}

void keep_records_in(const fs::path& directory) {
    if (!store) return;
    std::error_code ignored;
    for (fs::recursive_directory_iterator entry(directory, ignored), end; entry != end;
         entry.increment(ignored)) {
        const auto name = entry->path().filename().string();
        // What lies beside a job file: job.json.corrupt-TIME, job.heartbeat.
        const bool is_other =
            name.starts_with('.') || contains(name, ".json.") || name.ends_with("heartbeat");
        if (!is_other && !entry->is_symlink(ignored)) keep_record_in(entry->path());
    }
}

void keep_forgery(const fs::path& file, std::string_view text) {
    const bool may_be_job = contains(text.substr(0, 200), "{") || contains(text, "\"status\"");
    if (store && may_be_job) keep("forgery", file, 0, text);
}

void keep_output(const Words& argv, const fs::path& cwd, int status, std::string_view out) {
    if (!store) return;
    const auto place_of = [&](std::string_view word) {
        return std::find_if(argv.begin(), argv.end(), [&](const std::string& each) {
            return fs::path(each).filename() == word;
        });
    };
    const bool prints_json = place_of("--json") != argv.end() || place_of("events") != argv.end();
    if (place_of("jobctl") != argv.end() && prints_json) keep("output", argv[0], status, out);
    for (const auto& word : argv)
        if (contains(word, "\"status\"")) keep_forgery("a worker's script", word);
    const auto job = std::find(place_of("jobshim"), argv.end(), "-j");
    if (job != argv.end() && job + 1 != argv.end()) keep_record_in(cwd / job[1]);
}

}  // namespace harness
