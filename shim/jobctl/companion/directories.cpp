#include "shim/jobctl/companion/directories.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "common/companion/directory_name.hpp"
#include "common/companion/look.hpp"
#include "common/companion/paths.hpp"
#include "common/job_names.hpp"
#include "common/posix_error.hpp"
#include "shim/jobctl/look.hpp"
#include "shim/jobctl/selection.hpp"

namespace jobshim {

namespace {

// A directory in a place that everybody may write to may be anybody's. --all-states, which just
// looks everywhere, must not act on its contents.
bool is_our_own_directory(const std::string& path) {
    struct stat info {};
    return ::lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode) && info.st_uid == ::geteuid();
}

std::string real_path(const std::string& path) {
    auto real = resolved(path);
    if (!real) throw_errno("open directory " + path, ENOENT);
    return *std::move(real);
}

std::vector<std::string> roots() {
    return companion_roots(std::getenv("CLAUDE_PLUGIN_DATA"), std::getenv("TMPDIR"),
                           std::getenv("TMP"), std::getenv("TEMP"));
}

// The nearest directory, from this one upwards, that git would take for the top of a work tree; if
// there is none, the given one.
std::string workspace_of(const std::string& real) {
    for (std::string at = real; !at.empty(); at.resize(at.rfind('/')))
        if (exists(path_in(at, ".git"))) return at;
    return real;
}

std::vector<std::string> directories_in(const std::string& root) {
    std::vector<std::string> found;
    if (!is_directory(root)) return found;
    for (const std::string& name : names_in(root))
        if (const std::string path = path_in(root, name);
            is_our_own_directory(path) && is_companion_directory(path))
            found.push_back(path);
    return found;
}

}  // namespace

std::vector<std::string> companion_directories(const CtlOptions& options) {
    std::vector<std::string> found;
    const auto add = [&](const std::string& path) {
        std::string real = real_path(path);
        if (std::find(found.begin(), found.end(), real) == found.end())
            found.push_back(std::move(real));
    };
    for (const std::string& name : options.companions) {
        if (is_companion_directory(name)) {
            add(name);
            continue;
        }
        const std::string real = workspace_of(real_path(name));
        const std::size_t before = found.size();
        for (const std::string& root : roots())
            if (const std::string path = path_in(root, companion_name(real, real));
                is_directory(path))
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
