#include "shim/jobshim/command_search.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

namespace jobshim {

namespace {

constexpr const char* path_if_unset = "/bin:/usr/bin";

}  // namespace

std::string CommandSearch::next() {
    if (is_over_ || name_.empty()) return "";
    if (name_.find('/') != std::string::npos) {
        is_over_ = true;
        return name_;
    }
    const char* set = std::getenv("PATH");
    const std::string search = set != nullptr ? set : path_if_unset;
    while (at_ <= search.size()) {
        const std::size_t end = std::min(search.find(':', at_), search.size());
        const std::string directory = search.substr(at_, end - at_);
        at_ = end + 1;
        std::string candidate = (directory.empty() ? "" : directory + "/") + name_;
        struct stat info {};
        if (::stat(candidate.c_str(), &info) == 0 || errno == EACCES || !may_be_elsewhere(errno))
            return candidate;
    }
    is_over_ = true;
    return "";
}

bool may_be_elsewhere(int error) {
    switch (error) {
        case EACCES:
        case ENOENT:
        case ENOTDIR:
        case ESTALE:
        case ENODEV:
        case ETIMEDOUT:
            return true;
    }
    return false;
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
