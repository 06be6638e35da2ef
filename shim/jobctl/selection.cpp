#include "shim/jobctl/selection.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "common/atomic_file.hpp"
#include "common/heartbeat.hpp"
#include "common/job_document.hpp"
#include "common/units.hpp"

namespace jobshim {

namespace {

constexpr std::string_view suffix = ".json";

bool is_path(const std::string& job) {
    return job.find('/') != std::string::npos || job.ends_with(suffix);
}

bool is_not_found(const std::system_error& error) {
    return error.code().value() == ENOENT || error.code().value() == ENOTDIR;
}

// Nothing if part of the path does not exist.
std::optional<JobFiles> files_if_reachable(const std::string& path) {
    try {
        return job_files_of(path);
    } catch (const std::system_error& error) {
        if (is_not_found(error)) return std::nullopt;
        throw;
    }
}

std::optional<JobFiles> files_if_there(const std::string& path) {
    auto files = files_if_reachable(path);
    return files && is_there(*files) ? files : std::nullopt;
}

// Skips duplicates: the same directory may have been given twice, under two names.
void add(std::vector<JobFiles>& found, std::optional<JobFiles> files) {
    if (files && std::none_of(found.begin(), found.end(),
                              [&](const JobFiles& other) { return other.job == files->job; }))
        found.push_back(std::move(*files));
}

std::vector<JobFiles> with_id(const std::string& id, const std::vector<std::string>& directories) {
    std::vector<JobFiles> found;
    for (const std::string& directory : directories)
        add(found, files_if_there(directory + "/" + id + std::string(suffix)));
    return found;
}

template <class Visit>
void for_each_job_name(const std::vector<std::string>& directories, Visit visit) {
    for (const std::string& directory : directories) {
        try {
            for (const std::string& name : job_names_in(directory)) visit(directory + "/" + name);
        } catch (const std::system_error& error) {
            if (!is_not_found(error)) throw;
        }
    }
}

std::vector<JobFiles> with_prefix(const std::string& prefix,
                                  const std::vector<std::string>& directories) {
    std::vector<JobFiles> found;
    for_each_job_name(directories, [&](const std::string& path) {
        if (std::string_view(path).substr(path.rfind('/') + 1).starts_with(prefix))
            add(found, files_if_there(path));
    });
    return found;
}

// "" for a file that has no id or cannot be read.
std::string recorded_id(const std::string& path) {
    try {
        auto contents = read_file(job_files_of(path).job, max_job_file_bytes);
        if (!contents) return "";
        return JobDocument::parse(std::move(contents->text)).string("id").value_or("");
    } catch (const std::exception&) {
        return "";
    }
}

// A record's own id may differ from its file name. This reads every file, so it is tried last.
std::vector<JobFiles> with_recorded_id(const std::string& prefix,
                                       const std::vector<std::string>& directories) {
    std::vector<JobFiles> exact;
    std::vector<JobFiles> longer;
    for_each_job_name(directories, [&](const std::string& path) {
        const std::string id = recorded_id(path);
        if (id.starts_with(prefix)) add(id == prefix ? exact : longer, files_if_there(path));
    });
    return exact.empty() ? longer : exact;
}

std::optional<JobFiles> only_one_of(std::vector<JobFiles> found, const std::string& job) {
    if (found.empty()) return std::nullopt;
    if (found.size() == 1) return std::move(found.front());
    constexpr std::size_t most = 20;
    std::string message = "'" + printable(job) + "' is ambiguous; it could be any of";
    for (std::size_t i = 0; i < std::min(found.size(), most); ++i)
        message += "\n  " + printable(found[i].job);
    if (found.size() > most) message += "\n  and " + std::to_string(found.size() - most) + " more";
    throw AmbiguousJob(message);
}

}  // namespace

bool exists(const std::string& path) {
    struct stat info {};
    return ::lstat(path.c_str(), &info) == 0;
}

bool is_directory(const std::string& path) {
    struct stat info {};
    return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

bool is_there(const JobFiles& files) {
    return stamp_at(files.job) || probe_heartbeat(files.heartbeat).lock == LivenessLock::held;
}

std::optional<JobFiles> select_job(const std::string& job,
                                   const std::vector<std::string>& directories) {
    if (job.empty()) return std::nullopt;
    if (is_path(job)) return files_if_there(job);
    auto found = with_id(job, directories);
    if (found.empty()) found = with_prefix(job, directories);
    if (found.empty()) found = with_recorded_id(job, directories);
    return only_one_of(std::move(found), job);
}

Whereabouts whereabouts_of(const std::string& job, const std::vector<std::string>& directories) {
    Whereabouts where;
    if (is_path(job)) {
        if (const auto files = files_if_reachable(job))
            where.directories.push_back(files->directory);
    } else {
        std::copy_if(directories.begin(), directories.end(), std::back_inserter(where.directories),
                     is_directory);
    }
    where.complete = where.directories.size() == (is_path(job) ? 1 : directories.size());
    return where;
}

std::vector<std::string> job_names_in(const std::string& directory) {
    std::vector<std::string> names;
    for_each_name_in(directory, [&](std::string_view name) {
        if (!name.starts_with('.') && name.ends_with(suffix)) names.emplace_back(name);
    });
    return names;
}

std::vector<std::string> names_in(const std::string& directory) {
    std::vector<std::string> names;
    for_each_name_in(directory, [&](std::string_view name) {
        if (name != "." && name != "..") names.emplace_back(name);
    });
    return names;
}

std::vector<std::string> heartbeat_names_in(const std::string& directory) {
    std::vector<std::string> names;
    if (!is_directory(directory)) return names;
    for_each_name_in(directory, [&](std::string_view name) {
        if (!name.starts_with('.') && name.ends_with(".heartbeat")) names.emplace_back(name);
    });
    return names;
}

std::set<std::string> names_with_stale_files(const std::string& directory) {
    std::set<std::string> names;
    for_each_name_in(directory, [&](std::string_view name) {
        if (std::string job = job_name_of_own(name); !job.empty()) names.insert(std::move(job));
    });
    return names;
}

std::vector<std::string> possible_copies_in(const std::string& directory) {
    std::vector<std::string> names;
    for_each_name_in(directory, [&](std::string_view name) {
        if (!job_name_of_own(name).empty() || name.find(".corrupt-") != std::string_view::npos ||
            name.find(".displaced-") != std::string_view::npos)
            names.emplace_back(name);
    });
    return names;
}

}  // namespace jobshim
