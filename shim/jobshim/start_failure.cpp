#include "shim/jobshim/start_failure.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <optional>

#include "common/file_contents.hpp"
#include "common/file_system.hpp"
#include "common/posix_error.hpp"
#include "common/unique_fd.hpp"
#include "common/units.hpp"
#include "shim/jobshim/command_search.hpp"
#include "shim/jobshim/exit_statuses.hpp"

namespace jobshim {

namespace {

// Nothing, with errno set, if it does not exist or cannot be examined.
std::optional<struct stat> look_at(const std::string& path) {
    struct stat info {};
    return ::stat(path.c_str(), &info) == 0 ? std::optional(info) : std::nullopt;
}

// The interpreter that a file's first line names; "" if it is not a script.
std::string interpreter_of(const std::string& path) {
    const std::string head = head_of(path, 256);  // as much as the kernel reads
    const std::size_t begin = head.find_first_not_of(" \t", 2);
    if (!head.starts_with("#!") || begin == std::string::npos || head[begin] == '\n') return "";
    return head.substr(begin, head.find_first_of(std::string_view(" \t\n\0", 4), begin) - begin);
}

// What keeps the file itself from being executed, such as "is missing"; "" if nothing is found.
std::string what_is_wrong_with(const std::string& path) {
    const auto info = look_at(path);
    if (!info) {
        switch (errno) {
            case ENOENT:
                return "is missing";
            case EACCES:
                return "is in a directory that cannot be searched";
        }
        return "cannot be examined (" + errno_text(errno) + ")";
    }
    if (S_ISDIR(info->st_mode)) return "is a directory";
    if (!S_ISREG(info->st_mode)) return "is not a regular file";
    if (::faccessat(AT_FDCWD, path.c_str(), X_OK, AT_EACCESS) == 0) return "";
    const bool is_known = errno == EACCES;  // else the question itself was refused, by a filter
    if (is_mounted_noexec(path)) return "is on a file system mounted noexec";
    if ((info->st_mode & 0111U) != 0) return is_known ? "cannot be executed by this user" : "";
    char mode[32];
    std::snprintf(mode, sizeof mode, "(mode %04o)", info->st_mode & 07777U);
    return std::string("is not executable ") + mode;
}

// For a file that could itself be executed: what is wrong with the interpreter or loader it names.
std::string what_is_wrong_behind(const std::string& path) {
    constexpr int levels = 5;  // the kernel follows no more than this
    std::string words;
    std::string link = path;
    for (int level = 0; level < levels; ++level) {
        const std::string next = interpreter_of(link);
        if (next.empty()) break;
        words += (level == 0 ? "its interpreter " : " is a script whose interpreter ") +
                 printable(next.ends_with('\r') ? next.substr(0, next.size() - 1) : next);
        if (const std::string wrong = what_is_wrong_with(next); !wrong.empty())
            return words + " " + wrong +
                   (next.ends_with('\r') ? " (its name ends in a carriage return)" : "");
        link = next;
    }
    if (!head_of(link, 4).starts_with("\x7F"
                                      "ELF"))
        return "";
    return (words.empty() ? "" : words + " cannot be loaded: ") + "its dynamic loader is missing";
}

std::string describe(const std::string& name, const std::string& path, int error) {
    const auto with_errno = [&](const std::string& words) {
        return words + " (" + errno_text(error) + ")";
    };
    const auto or_errno = [&](const std::string& words) {
        return words.empty() ? errno_text(error) : words;
    };
    switch (error) {
        case ENOENT:
            return look_at(path) ? or_errno(what_is_wrong_behind(path))
                                 : describe_not_found(name, path);
        case EACCES: {
            const std::string wrong = what_is_wrong_with(path);
            return or_errno(wrong.empty() ? what_is_wrong_behind(path) : wrong);
        }
        case ENOTDIR:
            return look_at(path) ? or_errno(what_is_wrong_behind(path))
                                 : with_errno("a component of its path is not a directory");
        case ELOOP:
            return look_at(path) ? "its interpreter is a script too, and so on, for too many levels"
                                 : "too many symbolic links, or a loop of them";
        case ENAMETOOLONG:
            return "its name is too long";
        case ENOEXEC:
            return with_errno("not a program that this system can run");
        case E2BIG:
            return with_errno("its arguments and environment are too long");
        case ETXTBSY:
            return with_errno("it is open for writing");
        case EAGAIN:
            return with_errno("the user's process limit has been reached");
        case ENOMEM:
            return with_errno("not enough memory");
    }
    return errno_text(error);
}

}  // namespace

std::string head_of(const std::string& path, std::size_t length) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!fd) return "";
    try {
        return read_from(fd.get(), 0, length, path);
    } catch (const std::system_error&) {
        return "";
    }
}

StartFailure explain_start_failure(const std::string& name, const std::string& path, int error) {
    // A file that exists was found, even if something that it needs does not exist.
    const bool found = error != ENOENT || (!path.empty() && look_at(path));
    std::string what = (name.empty() ? "''" : printable(name)) + ": ";
    if (!path.empty() && path != name) what += printable(path) + ": ";
    return {error, found ? cannot_execute : no_such_command, what + describe(name, path, error)};
}

StartFailure explain_fork_failure(int error) {
    const std::string why = error == EAGAIN ? "a process limit has been reached" : "it failed";
    return {error, own_failure,
            "cannot create a process for it: " + why + " (fork: " + errno_text(error) + ")"};
}

}  // namespace jobshim
