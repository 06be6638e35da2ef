#include "common/companion/look.hpp"

#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "common/companion/index.hpp"
#include "common/json_text.hpp"
#include "common/posix_error.hpp"
#include "common/torn_file.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;

constexpr std::size_t log_limit = std::size_t{1} << 20U;

TheirFile their_file(const std::string& path, std::string text, FileStamp stamp) {
    const JsonScan scan = scan_json_object(text);
    if (scan.is_beyond_bounds()) throw Refusal(path + ": " + scan.describe_fault());
    TheirFile file{std::move(text), stamp, scan.fault == JsonFault::none};
    if (scan.fault != JsonFault::malformed || scan.close == 0 || file.text[scan.open] != '{')
        return file;
    file.whole = file.has_trailing_text = true;
    file.text.resize(scan.close + 1);
    file.text += '\n';
    return file;
}

bool is_record(const JobDocument& document) {
    return document.value("status") || document.value("id");
}

}  // namespace

JobDocument in_our_words(JobDocument record) {
    if (record.status() != Status::other) return record;
    const auto word = record.string("status");
    const char* const ours = word == "pending"    ? "\"queued\""
                             : word == "canceled" ? "\"cancelled\""
                                                  : nullptr;
    return ours == nullptr ? record : JobDocument::parse(record.with({{"status", ours}}));
}

std::optional<TheirFile> read_theirs(const Directory& directory, const std::string& name,
                                     milliseconds patience, std::size_t limit) {
    TornPatience left(patience);
    for (;;) {
        auto contents = directory.read_file(name, limit);
        if (!contents) return std::nullopt;
        auto file = their_file(directory.path_of(name), std::move(contents->text), contents->stamp);
        if (file.whole || left.is_over_for(directory, name, file.stamp)) return file;
        left.pause();
    }
}

IndexSight look_at_index(const CompanionDirectory& state, milliseconds patience) {
    auto file = read_theirs(state.top(), CompanionDirectory::index, patience);
    if (!file) return {};
    IndexSight sight{file->stamp, file->has_trailing_text, std::nullopt};
    if (file->whole) sight.index = CompanionIndex::parse(std::move(file->text));
    return sight;
}

CompanionView look_at_companion(const CompanionDirectory& state, const std::string& id,
                                milliseconds patience) {
    return look_at_companion(state, id, patience, look_at_index(state, patience));
}

CompanionView look_at_companion(const CompanionDirectory& state, const std::string& id,
                                milliseconds patience, const IndexSight& index, std::size_t limit) {
    CompanionView view;
    if (index.index) {
        view.index_is_whole = true;
        view.index_has_trailing_text = index.has_trailing_text;
        if (auto entry = index.index->find(id)) view.entry = in_our_words(std::move(*entry));
    }
    const auto jobs = state.jobs();
    if (!jobs) return view;
    if (auto file = read_theirs(*jobs, CompanionDirectory::job_name(id), patience, limit)) {
        const bool has_trailing_text = file->has_trailing_text;
        if (file->whole) {
            auto job = JobDocument::parse(std::move(file->text));
            if (!is_record(job)) return view;
            view.job = in_our_words(std::move(job));
        }
        view.file_exists = true;
        view.file_has_trailing_text = has_trailing_text;
    }
    return view;
}

bool log_says_cancelled(const CompanionDirectory& state, const std::string& id,
                        std::int64_t since) {
    try {
        const auto jobs = state.jobs();
        const std::string name = CompanionDirectory::log_name(id);
        const UniqueFd log = jobs ? jobs->open_file(name, O_RDONLY) : UniqueFd();
        if (!log) return false;
        const FileStamp stamp = stamp_of(log.get(), name);
        if (!stamp.is_regular || !counts_for(state.parties().owner, stamp.owner)) return false;
        const auto limit = static_cast<off_t>(log_limit);
        return says_cancelled(
            read_from(log.get(), std::max<off_t>(0, stamp.size - limit), log_limit, name), since);
    } catch (const std::system_error&) {
        return false;
    }
}

}  // namespace jobshim
