#include "shim/jobshim/command_search.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

namespace jobshim {

namespace {

constexpr const char* path_if_unset = "/bin:/usr/bin";

}  // namespace

FoundCommand find_command(const std::string& name) {
    if (name.find('/') != std::string::npos) return {name, 0};
    if (name.empty()) return {"", ENOENT};
    const char* set = std::getenv("PATH");
    const std::string search = set != nullptr ? set : path_if_unset;
    FoundCommand not_for_us{"", ENOENT};
    for (std::size_t at = 0; at <= search.size();) {
        const std::size_t end = std::min(search.find(':', at), search.size());
        const std::string directory = search.substr(at, end - at);
        at = end + 1;
        std::string candidate = (directory.empty() ? "" : directory + "/") + name;
        struct stat info {};
        if (::stat(candidate.c_str(), &info) == 0) {
            if (S_ISREG(info.st_mode) &&
                ::faccessat(AT_FDCWD, candidate.c_str(), X_OK, AT_EACCESS) == 0)
                return {candidate, 0};
            errno = EACCES;
        }
        switch (errno) {
            case ENOENT:
            case ENOTDIR:
            case ESTALE:
            case ENODEV:
            case ETIMEDOUT:
                continue;
            case EACCES:  // exists, but not for us; a later directory may have a better one
                if (not_for_us.path.empty()) not_for_us = {candidate, EACCES};
                continue;
        }
        return {candidate, errno};
    }
    return not_for_us;
}

std::string describe_not_found(const std::string& name, const std::string& path) {
    if (name.empty()) return "an empty name is not a command";
    if (path.empty()) {
        const char* set = std::getenv("PATH");
        if (set == nullptr) return "not found (PATH is not set; searched /bin and /usr/bin)";
        if (*set == '\0') return "not found (PATH is empty; searched the working directory)";
        return "not found in PATH";
    }
    struct stat link {};
    if (::lstat(path.c_str(), &link) == 0) return "is a dangling symbolic link";
    return "no such file";
}

}  // namespace jobshim
