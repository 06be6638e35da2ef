#include "integration/support/records.hpp"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
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
const Fd store = [] {
    const char* directory = std::getenv("JOBSHIM_RECORDS_DIR");
    if (directory == nullptr) return Fd();
    fs::create_directories(directory);
    auto name = (fs::absolute(directory) / "XXXXXX.jsonl").string();
    return Fd(checked(mkostemps(name.data(), 6, O_APPEND | O_CLOEXEC), name));
}();
bool is_open(const Fd& fd) { return fd.get() >= 0; }

constexpr std::size_t most = 1'000'000;  // there are logs of a gigabyte

void keep(const char* kind, const fs::path& file, int status, std::string_view text) {
    if (text.size() > most) return;
    // A test reads the same record again and again.
    static std::set<std::size_t> kept;
    const auto line = Json{
        {"test", Catch::getResultCapture().getCurrentTestName()},
        {"kind", kind},
        {"file", file.string()},
        {"status", status},
        {"text", text}}.dump(-1, ' ', false, Json::error_handler_t::replace);
    if (!kept.insert(std::hash<std::string>()(line)).second) return;
    // In one call: a test's children keep records as well.
    const auto whole = line + '\n';
    checked(write(store.get(), whole.data(), whole.size()), "keep a record");
}

void keep_record_in(const fs::path& file) {
    std::error_code ignored;
    if (fs::is_regular_file(file, ignored) && fs::file_size(file, ignored) < most)
        keep_record(file, slurp(file));
}

}  // namespace

void keep_record(const fs::path& file, std::string_view text) {
    const bool may_be_ours = contains(text.substr(0, 200), "{") && contains(text, "\"jobshim\"");
    if (is_open(store) && may_be_ours) keep("record", file, 0, text);
}

void keep_records_in(const fs::path& directory) {
    if (!is_open(store)) return;
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
    const bool is_request = contains(file.filename().string(), ".cancel");
    if (is_open(store) && may_be_job && !is_request) keep("forgery", file, 0, text);
}

void keep_output(const Words& argv, const fs::path& cwd, int status, std::string_view out) {
    if (!is_open(store)) return;
    const auto place_of = [&](std::string_view word) {
        return std::find_if(argv.begin(), argv.end(), [&](const std::string& each) {
            return fs::path(each).filename() == word;
        });
    };
    const auto has = [&](std::string_view word) { return place_of(word) != argv.end(); };
    const bool prints_json =
        (has("--json") || has("events")) && !has("__complete") && !has("--help");
    if (place_of("jobctl") != argv.end() && prints_json) keep("output", argv[0], status, out);
    for (const auto& word : argv)
        if (contains(word, "\"status\"")) keep_forgery("a worker's script", word);
    const auto job = std::find(place_of("jobshim"), argv.end(), "-j");
    if (job != argv.end() && job + 1 != argv.end()) keep_record_in(cwd / job[1]);
}

}  // namespace harness
