#include "shim/jobctl/companion/directories.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <set>
#include <system_error>

#include "common/companion/directory_name.hpp"
#include "common/companion/roots.hpp"
#include "common/job_names.hpp"
#include "common/posix_error.hpp"
#include "shim/jobctl/output.hpp"

namespace jobshim {

namespace {

std::vector<CompanionRoot> roots() {
    return companion_roots({.claude_plugin_data = std::getenv("CLAUDE_PLUGIN_DATA"),
                            .claude_config_dir = std::getenv("CLAUDE_CONFIG_DIR"),
                            .home = std::getenv("HOME"),
                            .tmpdir = std::getenv("TMPDIR"),
                            .tmp = std::getenv("TMP"),
                            .temp = std::getenv("TEMP")});
}

// The names in a directory, which need not exist. One that is not for us to read has none.
std::vector<std::string> names_in(const std::string& path) {
    std::vector<std::string> names;
    try {
        if (const auto directory = Directory::open_if_there(path))
            directory->for_each_name([&](std::string_view name) { names.emplace_back(name); });
    } catch (const std::exception&) {
        names.clear();
    }
    std::sort(names.begin(), names.end());
    return names;
}

// The paths of the directories that hold state directories, if they exist.
std::vector<std::string> places() {
    std::vector<std::string> all;
    for (const CompanionRoot& root : roots()) {
        if (!root.each) {
            all.push_back(root.path);
            continue;
        }
        for (const std::string& name : names_in(root.path)) {
            if (!name.ends_with(root.ending)) continue;
            const std::string path = path_in(root.path, name);
            all.push_back(root.below.empty() ? path : path_in(path, root.below));
        }
    }
    return all;
}

// The nearest directory, from this one upwards, that git would take for the top of a work tree; if
// there is none, the given one.
std::string workspace_of(const Directory& given) {
    for (std::string at = given.path(); !at.empty(); at.resize(at.rfind('/')))
        if (Directory::open(at).stamp_if_known(".git")) return at;
    return given.path();
}

// Nothing if there is none, or if it is neither this user's nor ours: its name can be foreseen, and
// so anybody can have made it. Throws as CompanionDirectory does.
std::optional<CompanionDirectory> state_directory(const std::string& path, uid_t user) {
    auto directory = Directory::open_if_there(path);
    if (!directory || (directory->owner() != user && directory->owner() != ::geteuid()) ||
        !is_companion_directory(*directory))
        return std::nullopt;
    return CompanionDirectory(*std::move(directory));
}

// Each directory once, however many paths lead to it.
class Found {
public:
    void add(CompanionDirectory directory) {
        if (std::none_of(all_.begin(), all_.end(), [&](const CompanionDirectory& other) {
                return other.top().is_same_as(directory.top());
            }))
            all_.push_back(std::move(directory));
    }
    std::vector<CompanionDirectory> take() && { return std::move(all_); }

private:
    std::vector<CompanionDirectory> all_;
};

// Where a state directory of that name may be, for a sentence; if it is "", where any may be.
std::string paths_of(const std::string& name) {
    std::string all;
    for (const CompanionRoot& root : roots()) {
        all += all.empty() ? "" : ", ";
        all += name.empty() ? root.describe() : path_in(root.describe(), name);
    }
    return all;
}

void add_of_workspace(Found& found, const std::string& as_written, const Directory& given) {
    const std::string workspace = workspace_of(given);
    const std::string called = companion_name(workspace, workspace);
    bool is_any = false;
    std::exception_ptr failure;
    for (const std::string& place : places()) {
        std::set<std::string> names{called};
        for (const std::string& name : names_in(place))
            if (is_companion_name(name, called)) names.insert(name);
        for (const std::string& name : names) {
            try {
                auto directory = state_directory(path_in(place, name), given.owner());
                if (!directory) continue;
                found.add(*std::move(directory));
                is_any = true;
            } catch (const std::exception&) {
                if (!failure) failure = std::current_exception();
            }
        }
    }
    if (is_any) return;
    if (failure) std::rethrow_exception(failure);
    throw Refusal(as_written +
                  ": not a codex-companion state directory (no state.json, no jobs/), nor a "
                  "workspace that has one (no " +
                  paths_of(called) + ")");
}

}  // namespace

std::vector<CompanionDirectory> own_companion_directories() {
    Found found;
    for (const std::string& place : places())
        for (const std::string& name : names_in(place)) {
            try {
                if (auto directory = state_directory(path_in(place, name), ::geteuid()))
                    found.add(*std::move(directory));
            } catch (const std::system_error& error) {
                // All others: a file, or not for us to enter.
                if (error.code() == std::errc::too_many_files_open) throw;
            } catch (const Refusal&) {
                continue;  // another user's link
            }
        }
    return std::move(found).take();
}

std::vector<CompanionDirectory> companion_directories(const CtlOptions& options) {
    Found found;
    for (const std::string& name : options.companions) {
        const Directory given = Directory::open(name);
        if (is_companion_directory(given))
            found.add(CompanionDirectory(given));
        else
            add_of_workspace(found, name, given);
    }
    if (options.all_states) {
        auto own = own_companion_directories();
        if (own.empty() && options.companions.empty())
            complain("no codex-companion state directory of yours in " + paths_of(""));
        for (CompanionDirectory& directory : own) found.add(std::move(directory));
    }
    return std::move(found).take();
}

}  // namespace jobshim
