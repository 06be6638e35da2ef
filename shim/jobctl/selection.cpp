#include "shim/jobctl/selection.hpp"

#include <algorithm>
#include <set>

#include "common/heartbeat.hpp"
#include "common/job_document.hpp"
#include "common/units.hpp"
#include "shim/jobctl/output.hpp"
#include "shim/jobctl/record_budget.hpp"

namespace jobshim {

namespace {

constexpr std::string_view suffix = ".json";

bool is_path(const std::string& job) { return job.find('/') != std::string::npos; }
bool may_be_path(const std::string& job) { return is_path(job) || job.ends_with(suffix); }

std::optional<JobFiles> files_if_there(JobFiles files) {
    return is_there(files) ? std::optional(std::move(files)) : std::nullopt;
}

// Skips duplicates: links may lead to the same file.
class Found {
public:
    void add(std::optional<JobFiles> files) {
        if (files && paths_.insert(files->path).second) all.push_back(*std::move(files));
    }
    std::vector<JobFiles> all;

private:
    std::set<std::string> paths_;
};

std::vector<JobFiles> named_exactly(const std::string& job,
                                    const std::vector<Directory>& directories) {
    Found found;
    if (may_be_path(job))
        if (auto files = job_files_if_reachable(job)) found.add(files_if_there(*std::move(files)));
    for (const Directory& directory : directories) {
        try {
            found.add(files_if_there(job_files_of(directory, job + std::string(suffix))));
        } catch (const std::exception&) {
            if (found.all.empty()) throw;  // what is here does not depend on them
        }
    }
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

struct Candidates {
    std::vector<JobFiles> exact;
    std::vector<JobFiles> longer;  // their ids only begin so
};

// A record's own id may differ from its file name, and so may the id that jobshim made of that.
// This reads every file.
Candidates search(const std::string& id, const std::vector<Directory>& directories) {
    Found exact;
    Found longer;
    RecordBudget budget;
    for (const Directory& directory : directories)
        for (const std::string& name : job_names_in(directory)) {
            const std::string recorded = recorded_id(directory, name, budget);
            if (recorded == id || job_id_from_name(name) == id)
                exact.add(files_if_there(job_files_of(directory, name)));
            else if (recorded.starts_with(id) || name.starts_with(id))
                longer.add(files_if_there(job_files_of(directory, name)));
        }
    return {std::move(exact.all), std::move(longer.all)};
}

// One's own job comes before another user's that has been given a better name.
class Choice {
public:
    explicit Choice(const std::string& job) : job_(job) {}

    // The only one of one's own jobs. Remembers other users', if it is the first to find any.
    std::optional<JobFiles> own_of(std::vector<JobFiles> found) {
        const auto first_other = std::stable_partition(
            found.begin(), found.end(), [](const JobFiles& files) { return files.may_act(); });
        if (others_.empty()) others_.assign(first_other, found.end());
        found.erase(first_other, found.end());
        return only_one_of(std::move(found));
    }
    std::optional<JobFiles> another_users() { return only_one_of(std::move(others_)); }

private:
    std::optional<JobFiles> only_one_of(std::vector<JobFiles> found) const;

    const std::string& job_;
    std::vector<JobFiles> others_;
};

std::optional<JobFiles> Choice::only_one_of(std::vector<JobFiles> found) const {
    if (found.empty()) return std::nullopt;
    if (found.size() == 1) return std::move(found.front());
    constexpr std::size_t most = 20;
    std::string message = "'" + printable(job_) + "' is ambiguous; it could be any of";
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

namespace {

// A file that is here can be named even if the directories cannot be read.
std::vector<Directory> directories_for(const std::string& job,
                                       const std::vector<std::string>& paths) {
    try {
        return open_each_once(paths);
    } catch (const std::exception&) {
        const auto here = may_be_path(job) ? job_files_if_reachable(job) : std::nullopt;
        if (!here || !is_there(*here)) throw;
        return {};
    }
}

}  // namespace

std::optional<JobFiles> select_job(const std::string& job, const std::vector<std::string>& paths,
                                   Match match) {
    if (job.empty()) return std::nullopt;
    if (is_path(job)) {
        auto files = job_files_if_reachable(job);
        return files ? files_if_there(*std::move(files)) : std::nullopt;
    }
    const std::vector<Directory> directories = directories_for(job, paths);
    Choice choice(job);
    if (auto files = choice.own_of(named_exactly(job, directories))) return files;
    Candidates found = search(job, directories);
    if (auto files = choice.own_of(std::move(found.exact))) return files;
    if (match == Match::or_beginning && !may_be_path(job))
        if (auto files = choice.own_of(std::move(found.longer))) return files;
    return choice.another_users();
}

void complain_of_no_exact_job(const std::string& job, const std::vector<std::string>& paths) {
    const auto longer =
        is_path(job) ? std::vector<JobFiles>() : search(job, open_each_once(paths)).longer;
    if (longer.empty()) return complain_of_no_such_job(job);
    complain(printable(job) + ": no such job (" + printable(without_json(longer.front().name)) +
             " begins so, but here the whole id is needed)");
}

std::vector<Directory> open_directories(const std::vector<std::string>& paths) {
    std::vector<Directory> directories;
    for (const std::string& path : paths)
        if (auto directory = Directory::open_if_there(path))
            directories.push_back(*std::move(directory));
    return directories;
}

std::vector<Directory> open_each_once(const std::vector<std::string>& paths) {
    std::vector<Directory> directories;
    for (Directory& directory : open_directories(paths))
        if (std::none_of(directories.begin(), directories.end(),
                         [&](const Directory& other) { return other.is_same_as(directory); }))
            directories.push_back(std::move(directory));
    return directories;
}

Whereabouts whereabouts_of(const std::string& job, const std::vector<std::string>& paths) {
    Whereabouts where;
    if (!is_path(job)) {
        where.directories = open_directories(paths);
        where.complete = where.directories.size() == paths.size();
    }
    if (may_be_path(job)) {
        const auto files = job_files_if_reachable(job);
        if (files) where.directories.push_back(files->directory);
        where.complete = where.complete && files;
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
        return !name.starts_with('.') && is_heartbeat_name(name);
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
