#include "common/companion/look.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "common/companion/index.hpp"
#include "common/job_names.hpp"
#include "common/json_text.hpp"
#include "common/posix_error.hpp"
#include "common/torn_file.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;

constexpr std::size_t log_limit = std::size_t{1} << 20U;

TheirFile their_file(std::string text, FileStamp stamp) {
    const JsonScan scan = scan_json_object(text);
    TheirFile file{std::move(text), stamp, scan.fault == JsonFault::none};
    if (scan.fault != JsonFault::malformed || scan.close == 0 || file.text[scan.open] != '{')
        return file;
    file.whole = file.has_trailing_text = true;
    file.text.resize(scan.close + 1);
    file.text += '\n';
    return file;
}

}  // namespace

bool is_companion_directory(const std::string& path) {
    for (const char* name : {"state.json", "jobs", "jobshim", "broker.json"}) {
        struct stat info {};
        if (::lstat(path_in(path, name).c_str(), &info) == 0) return true;
    }
    return false;
}

std::optional<TheirFile> read_theirs(const std::string& path, milliseconds patience) {
    TornPatience left(patience);
    for (;;) {
        auto contents = read_file(path, max_job_file_bytes);
        if (!contents) return std::nullopt;
        auto file = their_file(std::move(contents->text), contents->stamp);
        if (file.whole || left.is_over_for(path, file.stamp)) return file;
        left.pause();
    }
}

CompanionView look_at_companion(const CompanionPaths& paths, const std::string& id,
                                milliseconds patience) {
    CompanionView view;
    // The index first, because the plugin removes a job's file before its entry.
    if (auto index = read_theirs(paths.index, patience); index && index->whole) {
        view.index_is_whole = true;
        view.index_has_trailing_text = index->has_trailing_text;
        view.entry = CompanionIndex::parse(std::move(index->text))->find(id);
    }
    if (auto file = read_theirs(paths.job_file(id), patience)) {
        view.file_exists = true;
        view.file_has_trailing_text = file->has_trailing_text;
        if (file->whole) view.job = JobDocument::parse(std::move(file->text));
    }
    return view;
}

bool log_says_cancelled(const CompanionPaths& paths, const std::string& id, std::int64_t since) {
    try {
        const UniqueFd log(::open(paths.log_file(id).c_str(),
                                  O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
        if (!log) return false;
        const FileStamp stamp = stamp_of(log.get(), paths.log_file(id));
        const auto limit = static_cast<off_t>(log_limit);
        return says_cancelled(read_from(log.get(), std::max<off_t>(0, stamp.size - limit),
                                        log_limit, paths.log_file(id)),
                              since);
    } catch (const std::system_error&) {
        return false;
    }
}

}  // namespace jobshim
