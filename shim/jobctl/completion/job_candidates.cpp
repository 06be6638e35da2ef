#include "shim/jobctl/completion/job_candidates.hpp"

#include <algorithm>
#include <exception>
#include <optional>
#include <set>

#include "common/clocks.hpp"
#include "common/job_document.hpp"
#include "common/units.hpp"
#include "shim/jobctl/look.hpp"
#include "shim/jobctl/selection.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;

// Of a directory of 10,000 jobs, nobody reads more descriptions than these.
constexpr std::size_t most_described = 50;
// It takes a tenth of that, but any of the jobs may have been made to keep us busy.
constexpr milliseconds time_to_describe{100};
constexpr std::size_t largest_record = std::size_t{64} << 10U;
constexpr std::size_t longest_help = 80;

struct FoundJob {
    const Directory* directory;
    std::string name;  // of the job file
    std::int64_t last_sign_ns;
};

void find_jobs(const Directory& directory, std::string_view beginning,
               std::vector<FoundJob>& found) {
    std::set<std::string> heartbeats;
    const std::size_t first = found.size();
    directory.for_each_name([&](std::string_view name) {
        if (name.starts_with('.') || !name.starts_with(beginning)) return;
        if (is_heartbeat_name(name))
            heartbeats.emplace(name);
        else if (name.ends_with(".json") && without_json(name).starts_with(beginning) &&
                 printable(name) == name)
            found.push_back({&directory, std::string(name), 0});
    });
    const auto modified = [&](const std::string& name) {
        const auto stamp = directory.stamp_if_known(name);
        return stamp ? stamp->modified_ns : 0;
    };
    std::for_each(found.begin() + static_cast<std::ptrdiff_t>(first), found.end(),
                  [&](FoundJob& job) {
                      job.last_sign_ns = modified(job.name);
                      // A live job's record may be old, but its heart beats.
                      const std::string heartbeat = heartbeat_name_of(job.name);
                      if (heartbeats.count(heartbeat) != 0)
                          job.last_sign_ns = std::max(job.last_sign_ns, modified(heartbeat));
                  });
}

class Describer {
public:
    // "" if the job is not worth the time.
    std::string describe(const FoundJob& job) {
        if (monotonic_now() >= deadline_) return "";
        try {
            auto contents = job.directory->read_file(job.name, largest_record);
            if (!contents) return "";
            const JobDocument document = JobDocument::parse(std::move(contents->text));
            if (document.fault() != JsonFault::none) return "";
            std::string title = document.string("title").value_or("");
            if (title.empty()) title = document.command_line();
            title = single_spaced(printable(shortened(std::move(title), longest_help)));
            return std::string(word(state_of(job, document))) + (title.empty() ? "" : ": ") + title;
        } catch (const std::exception&) {
            return "";
        }
    }

private:
    State state_of(const FoundJob& job, const JobDocument& document) {
        if (is_final(document.status())) return verdict_on_final(document).state;
        // Elsewhere, to look closely takes a file of our own.
        if (!job.directory->is_local()) return State::unknown;
        if (!context_) {
            context_.emplace();
            context_->observer.here = identity_of_this_process(own_process_stat());
            context_->observer.state_directory = state_directory_if_any();
            context_->observer.hurry(milliseconds(0));
        }
        return look_at(job_files_in(*job.directory, job.name), *context_, false).now.verdict.state;
    }

    std::chrono::nanoseconds deadline_ = monotonic_now() + time_to_describe;
    std::optional<Context> context_;
};

std::vector<Directory> openable(const std::vector<std::string>& paths) {
    std::vector<Directory> directories;
    for (const std::string& path : paths) {
        try {
            for (Directory& directory : open_directories({path}))
                directories.push_back(std::move(directory));
        } catch (const std::exception&) {
            continue;
        }
    }
    return directories;
}

}  // namespace

std::vector<Candidate> job_candidates(const std::vector<std::string>& directories,
                                      std::string_view beginning) {
    const std::vector<Directory> opened = openable(directories);
    std::vector<FoundJob> found;
    for (const Directory& directory : opened) {
        try {
            find_jobs(directory, beginning, found);
        } catch (const std::exception&) {
            continue;
        }
    }
    std::sort(found.begin(), found.end(), [](const FoundJob& a, const FoundJob& b) {
        return a.last_sign_ns != b.last_sign_ns ? a.last_sign_ns > b.last_sign_ns : a.name < b.name;
    });
    std::vector<Candidate> candidates;
    Describer describer;
    for (const FoundJob& job : found)
        candidates.push_back({without_json(job.name), candidates.size() < most_described
                                                          ? describer.describe(job)
                                                          : std::string()});
    return candidates;
}

}  // namespace jobshim
