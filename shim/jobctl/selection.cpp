#include "shim/jobctl/selection.hpp"

#include <algorithm>
#include <cerrno>
#include <set>

#include "common/heartbeat.hpp"
#include "common/job_document.hpp"
#include "common/units.hpp"
#include "shim/jobctl/record_budget.hpp"

namespace jobshim {

namespace {

constexpr std::string_view suffix = ".json";

bool is_path(const std::string& job) {
    return job.find('/') != std::string::npos || job.ends_with(suffix);
}

std::optional<JobFiles> files_if_there(JobFiles files) {
    return is_there(files) ? std::optional(std::move(files)) : std::nullopt;
}

// Nothing if part of the path does not exist.
std::optional<JobFiles> files_if_reachable(const std::string& path) {
    try {
        return job_files_of(path);
    } catch (const std::system_error& error) {
        if (error.code().value() == ENOENT || error.code().value() == ENOTDIR) return std::nullopt;
        throw;
    }
}

// Skips duplicates: the same directory may have been given twice, under two names.
class Found {
public:
    void add(std::optional<JobFiles> files) {
        if (files && paths_.insert(files->path).second) all.push_back(std::move(*files));
    }
    std::vector<JobFiles> all;

private:
    std::set<std::string> paths_;
};

std::vector<JobFiles> with_id(const std::string& id, const std::vector<Directory>& directories) {
    Found found;
    if (id.find('/') != std::string::npos) return {};
    for (const Directory& directory : directories)
        found.add(files_if_there(job_files_of(directory, id + std::string(suffix))));
    return std::move(found.all);
}

std::vector<JobFiles> with_prefix(const std::string& prefix,
                                  const std::vector<Directory>& directories) {
    Found found;
    for (const Directory& directory : directories)
        for (const std::string& name : job_names_in(directory))
            if (name.starts_with(prefix)) found.add(files_if_there(job_files_of(directory, name)));
    return std::move(found.all);
}

// "" for a file that has no id or cannot be read.
std::string recorded_id(const Directory& directory, const std::string& name, RecordBudget& budget) {
    try {
        auto contents = directory.read_file(name, budget.limit());
        if (!contents) return "";
        budget.spend(contents->text.size());
        return JobDocument::parse(std::move(contents->text)).string("id").value_or("");
    } catch (const std::exception&) {
        return "";
    }
}

// A record's own id may differ from its file name. This reads every file, so it is tried last.
std::vector<JobFiles> with_recorded_id(const std::string& prefix,
                                       const std::vector<Directory>& directories) {
    Found exact;
    Found longer;
    RecordBudget budget;
    for (const Directory& directory : directories)
        for (const std::string& name : job_names_in(directory)) {
            const std::string id = recorded_id(directory, name, budget);
            if (id.starts_with(prefix))
                (id == prefix ? exact : longer).add(files_if_there(job_files_of(directory, name)));
        }
    return std::move(exact.all.empty() ? longer.all : exact.all);
}

std::optional<JobFiles> only_one_of(std::vector<JobFiles> found, const std::string& job) {
    if (found.empty()) return std::nullopt;
    if (found.size() == 1) return std::move(found.front());
    constexpr std::size_t most = 20;
    std::string message = "'" + printable(job) + "' is ambiguous; it could be any of";
    for (std::size_t i = 0; i < std::min(found.size(), most); ++i)
        message += "\n  " + printable(found[i].path);
    if (found.size() > most) message += "\n  and " + std::to_string(found.size() - most) + " more";
    throw AmbiguousJob(message);
}

}  // namespace

bool is_there(const JobFiles& files) {
    return files.directory.stamp_at(files.name) ||
           probe_heartbeat(files).lock == LivenessLock::held;
}

std::optional<JobFiles> select_job(const std::string& job, const std::vector<std::string>& paths) {
    if (job.empty()) return std::nullopt;
    if (is_path(job)) {
        auto files = files_if_reachable(job);
        return files ? files_if_there(*std::move(files)) : std::nullopt;
    }
    const std::vector<Directory> directories = open_directories(paths);
    // One's own job comes before another user's that has been given a better name.
    std::vector<JobFiles> others;
    for (const auto find : {&with_id, &with_prefix, &with_recorded_id}) {
        std::vector<JobFiles> found = find(job, directories);
        const auto first_other = std::stable_partition(
            found.begin(), found.end(), [](const JobFiles& files) { return files.may_act(); });
        if (others.empty()) others.assign(first_other, found.end());
        found.erase(first_other, found.end());
        if (!found.empty()) return only_one_of(std::move(found), job);
    }
    return only_one_of(std::move(others), job);
}

std::vector<Directory> open_directories(const std::vector<std::string>& paths) {
    std::vector<Directory> directories;
    for (const std::string& path : paths)
        if (auto directory = Directory::open_if_there(path))
            directories.push_back(*std::move(directory));
    return directories;
}

Whereabouts whereabouts_of(const std::string& job, const std::vector<std::string>& paths) {
    Whereabouts where;
    if (is_path(job)) {
        if (const auto files = files_if_reachable(job))
            where.directories.push_back(files->directory);
        where.complete = !where.directories.empty();
    } else {
        where.directories = open_directories(paths);
        where.complete = where.directories.size() == paths.size();
    }
    return where;
}

namespace {

template <class Wanted>
std::vector<std::string> names_that(const Directory& directory, Wanted is_wanted) {
    std::vector<std::string> names;
    directory.for_each_name([&](std::string_view name) {
        if (is_wanted(name)) names.emplace_back(name);
    });
    return names;
}

}  // namespace

std::vector<std::string> job_names_in(const Directory& directory) {
    return names_that(directory, [](std::string_view name) {
        return !name.starts_with('.') && name.ends_with(suffix);
    });
}

std::vector<std::string> heartbeat_names_in(const Directory& directory) {
    return names_that(directory, [](std::string_view name) {
        return !name.starts_with('.') && name.ends_with(".heartbeat");
    });
}

std::map<std::string, std::string> stale_files_in(const Directory& directory) {
    std::map<std::string, std::string> found;
    directory.for_each_name([&](std::string_view name) {
        if (std::string job = job_name_of_own(name); !job.empty())
            found.emplace(std::move(job), name);
    });
    return found;
}

std::vector<std::string> possible_copies_in(const Directory& directory) {
    return names_that(directory, [](std::string_view name) {
        return !job_name_of_own(name).empty() || name.find(".corrupt-") != std::string_view::npos ||
               name.find(".displaced-") != std::string_view::npos ||
               name.find(".cancel-") != std::string_view::npos;
    });
}

}  // namespace jobshim
