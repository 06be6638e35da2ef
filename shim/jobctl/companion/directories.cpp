#include "shim/jobctl/companion/directories.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "common/companion/directory_name.hpp"
#include "common/companion/roots.hpp"
#include "common/job_names.hpp"
#include "common/posix_error.hpp"

namespace jobshim {

namespace {

std::vector<std::string> roots() {
    return companion_roots(std::getenv("CLAUDE_PLUGIN_DATA"), std::getenv("TMPDIR"),
                           std::getenv("TMP"), std::getenv("TEMP"));
}

// The nearest directory, from this one upwards, that git would take for the top of a work tree; if
// there is none, the given one.
std::string workspace_of(const Directory& given) {
    for (std::string at = given.path(); !at.empty(); at.resize(at.rfind('/')))
        if (Directory::open(at).stamp_if_known(".git")) return at;
    return given.path();
}

// True if there is a state directory of this user's, or of ours: its name can be foreseen, and so
// anybody can have made it.
bool is_there(const std::string& path, uid_t user) {
    const auto directory = Directory::open_if_there(path);
    return directory && is_companion_directory(*directory) &&
           (directory->owner() == user || directory->owner() == ::geteuid());
}

// In a place that everybody may write to, a directory may be anybody's. --all-states, which just
// looks everywhere, passes those of others by.
std::vector<std::string> directories_in(const std::string& path) {
    std::vector<std::string> found;
    const auto root = Directory::open_if_there(path);
    if (!root) return found;
    root->for_each_name([&](std::string_view name) {
        try {
            const auto directory = root->subdirectory(std::string(name));
            if (directory && directory->owner() == ::geteuid() &&
                is_companion_directory(*directory))
                found.push_back(directory->path());
        } catch (const std::system_error&) {
            return;  // a file, a link, or not for us to enter
        }
    });
    return found;
}

}  // namespace

std::vector<CompanionDirectory> companion_directories(const CtlOptions& options) {
    std::vector<CompanionDirectory> found;
    const auto add = [&](const std::string& path) {
        CompanionDirectory directory(path);
        if (std::none_of(found.begin(), found.end(), [&](const CompanionDirectory& other) {
                return other.top().is_same_as(directory.top());
            }))
            found.push_back(std::move(directory));
    };
    for (const std::string& name : options.companions) {
        const Directory given = Directory::open(name);
        if (is_companion_directory(given)) {
            add(name);
            continue;
        }
        const std::string real = workspace_of(given);
        const std::size_t before = found.size();
        for (const std::string& root : roots())
            if (const std::string path = path_in(root, companion_name(real, real));
                is_there(path, given.owner()))
                add(path);
        if (found.size() == before)
            throw Refusal(name +
                          ": not a codex-companion state directory (no state.json, no jobs/), nor "
                          "a workspace that has one (no " +
                          path_in(roots().front(), companion_name(real, real)) + ")");
    }
    if (options.all_states)
        for (const std::string& root : roots())
            for (const std::string& path : directories_in(root)) add(path);
    return found;
}

}  // namespace jobshim
