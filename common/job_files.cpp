#include "common/job_files.hpp"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <memory>

#include "common/posix_error.hpp"

namespace jobshim {

namespace {

constexpr std::string_view own_mark = ".jobshim-";

}  // namespace

std::string absolute_path(const std::string& path) {
    if (!path.empty() && path.front() == '/') return path;
    const auto cwd = current_directory();
    if (!cwd) throw_errno("get the current directory");
    return *cwd + "/" + path;
}

std::optional<std::string> current_directory() {
    const std::unique_ptr<char, decltype(&std::free)> path(::getcwd(nullptr, 0), &std::free);
    return path ? std::optional<std::string>(path.get()) : std::nullopt;
}

void for_each_name_in(const std::string& directory,
                      const std::function<void(std::string_view)>& visit) {
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(::opendir(directory.c_str()), &::closedir);
    if (!stream) throw_errno("open directory " + directory);
    errno = 0;
    while (const dirent* entry = ::readdir(stream.get())) {
        visit(entry->d_name);
        errno = 0;
    }
    if (errno != 0) throw_errno("read directory " + directory);
}

JobFiles job_files_of(const std::string& path) {
    std::string at = absolute_path(path);
    JobFiles files;
    for (int links = 0;; ++links) {
        const std::size_t slash = at.rfind('/');
        files.name = at.substr(slash + 1);
        if (path.empty() || files.name.empty() || files.name == "." || files.name == "..")
            throw Refusal("job file '" + path + "': not a file name");
        const std::string directory = slash == 0 ? "/" : at.substr(0, slash);
        const std::unique_ptr<char, decltype(&std::free)> real(
            ::realpath(directory.c_str(), nullptr), &std::free);
        if (!real) throw_errno("open " + path + " (directory " + directory + ")");
        files.directory = real.get();
        files.job = path_in(files.directory, files.name);

        std::array<char, PATH_MAX> target;
        const ssize_t length = ::readlink(files.job.c_str(), target.data(), target.size());
        if (length < 0) break;  // not a symlink, or not there yet
        if (links == 40) throw_errno("open " + path, ELOOP);
        const std::string_view link(target.data(), static_cast<std::size_t>(length));
        at = link.starts_with('/') ? std::string(link) : files.directory + "/" + std::string(link);
    }
    files.heartbeat = without_json(files.job) + ".heartbeat";
    files.cancel = files.job + ".cancel";
    files.fresh = own_path_beside(files, "new");
    files.merged = own_path_beside(files, "merged");
    files.reserve = own_path_beside(files, "reserve");
    return files;
}

std::string own_path_beside(const JobFiles& files, std::string_view what) {
    return path_in(files.directory, "." + files.name).append(own_mark).append(what);
}

std::string job_name_of_own(std::string_view name) {
    const std::size_t end = name.rfind(own_mark);
    if (!name.starts_with('.') || end == std::string_view::npos || end < 2) return "";
    return std::string(name.substr(1, end - 1));
}

std::string state_directory(const char* xdg_state_home, const char* home) {
    // The XDG Base Directory Specification: a relative path is ignored.
    if (xdg_state_home != nullptr && *xdg_state_home == '/')
        return std::string(xdg_state_home) + "/jobshim";
    if (home != nullptr && *home == '/') return std::string(home) + "/.local/state/jobshim";
    throw Refusal("no state directory: neither XDG_STATE_HOME nor HOME is an absolute path");
}

std::string state_directory() {
    return state_directory(std::getenv("XDG_STATE_HOME"), std::getenv("HOME"));
}

std::string state_directory_if_any() {
    try {
        return state_directory();
    } catch (const Refusal&) {
        return "";
    }
}

void make_directories(const std::string& path) {
    if (::mkdir(path.c_str(), 0700) == 0) return;
    int error = errno;
    const std::size_t slash = path.rfind('/');
    if (error == ENOENT && slash != std::string::npos && slash > 0) {
        make_directories(path.substr(0, slash));
        if (::mkdir(path.c_str(), 0700) == 0) return;
        error = errno;
    }
    struct stat info {};
    if (error == EEXIST && ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return;
    throw_errno("create directory " + path, error == EEXIST ? ENOTDIR : error);
}

std::string unrecorded_file(const std::string& state_directory, const ShimIdentity& shim) {
    return state_directory + "/unrecorded/" + shim.boot_id + "-" + std::to_string(shim.pid) + "-" +
           (shim.start_time ? std::to_string(*shim.start_time) : "") + ".heartbeat";
}

}  // namespace jobshim
