#include "shim/jobctl/log_place.hpp"

#include <exception>
#include <utility>

namespace jobshim {

namespace {

bool leads_here(const std::string& directory, const JobFiles& files) {
    try {
        const auto there = Directory::open_if_there(directory);
        return there && there->is_same_as(files.directory);
    } catch (const std::exception&) {
        return false;
    }
}

}  // namespace

std::optional<LogPlace> place_of_log(const RunRecord& run, const JobFiles& files) {
    const SplitPath log = split_path(run.log->file);
    const std::string job_directory =
        run.heartbeat_file.empty() ? "" : split_path(run.heartbeat_file).directory;
    const ActingAs acting(files.owners_identity);
    const bool has_not_moved = acting && !job_directory.empty() && leads_here(job_directory, files);
    if (log.directory == job_directory)
        return LogPlace{files.directory, log.name, true, has_not_moved};
    auto directory = acting ? Directory::open_if_there(log.directory) : std::nullopt;
    if (!directory) return std::nullopt;
    if (directory->is_same_as(files.directory))
        return LogPlace{files.directory, log.name, true, has_not_moved};
    return LogPlace{*std::move(directory), log.name, false, has_not_moved};
}

}  // namespace jobshim
