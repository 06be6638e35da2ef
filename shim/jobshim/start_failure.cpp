#include "shim/jobshim/start_failure.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "common/atomic_file.hpp"
#include "common/file_system.hpp"
#include "common/posix_error.hpp"
#include "common/units.hpp"

namespace jobshim {

namespace {

// Nothing, with errno, if it is not there or may not be looked at.
std::optional<struct stat> look_at(const std::string& path) {
    struct stat info {};
    return ::stat(path.c_str(), &info) == 0 ? std::optional(info) : std::nullopt;
}

// What a file's first line asks for; "" if it is no script.
std::string interpreter_of(const std::string& path) {
    const std::string head = head_of(path, 256);  // as much as the kernel reads
    const std::size_t begin = head.find_first_not_of(" \t", 2);
    if (!head.starts_with("#!") || begin == std::string::npos || head[begin] == '\n') return "";
    return head.substr(begin, head.find_first_of(std::string_view(" \t\n\0", 4), begin) - begin);
}

// "is missing": what keeps a file from being executed, as far as it is the file's own. "" if that
// is not seen.
std::string what_is_wrong_with(const std::string& path) {
    const auto info = look_at(path);
    if (!info) {
        switch (errno) {
            case ENOENT:
                return "is missing";
            case EACCES:
                return "lies in a directory that may not be searched";
        }
        return "cannot be looked at (" + errno_text(errno) + ")";
    }
    if (S_ISDIR(info->st_mode)) return "is a directory";
    if (!S_ISREG(info->st_mode)) return "is no regular file";
    if (::faccessat(AT_FDCWD, path.c_str(), X_OK, AT_EACCESS) == 0) return "";
    if (is_mounted_noexec(path)) return "lies on a file system that is mounted noexec";
    if ((info->st_mode & 0111U) != 0) return "may not be executed by this user";
    char mode[32];
    std::snprintf(mode, sizeof mode, "(mode %04o)", info->st_mode & 07777U);
    return std::string("is not executable ") + mode;
}

// The file itself may be executed: then it is what it names that cannot be.
std::string what_is_wrong_behind(const std::string& path) {
    constexpr int levels = 5;  // the kernel follows no more
    std::string words;
    std::string link = path;
    for (int level = 0; level < levels; ++level) {
        const std::string next = interpreter_of(link);
        if (next.empty()) break;
        words += (level == 0 ? "its interpreter " : " is a script whose interpreter ") +
                 printable(next.ends_with('\r') ? next.substr(0, next.size() - 1) : next);
        if (const std::string wrong = what_is_wrong_with(next); !wrong.empty())
            return words + " " + wrong +
                   (next.ends_with('\r') ? " (a carriage return follows its name)" : "");
        link = next;
    }
    if (!head_of(link, 4).starts_with("\x7F"
                                      "ELF"))
        return "";
    return (words.empty() ? "" : words + " cannot be loaded: ") + "its dynamic loader is missing";
}

std::string not_found(const std::string& name, const std::string& path) {
    if (name.empty()) return "an empty name is no command";
    if (path.empty()) {
        const char* set = std::getenv("PATH");
        if (set == nullptr) return "no such file (PATH is not set; /bin and /usr/bin searched)";
        if (*set == '\0') return "no such file (PATH is empty; the working directory searched)";
        return "no such file (PATH searched)";
    }
    struct stat link {};
    if (::lstat(path.c_str(), &link) == 0) return "is a symbolic link to what is not there";
    return "no such file";
}

std::string in_words(const std::string& name, const std::string& path, int error) {
    const auto with_errno = [&](const std::string& words) {
        return words + " (" + errno_text(error) + ")";
    };
    const auto or_errno = [&](const std::string& words) {
        return words.empty() ? errno_text(error) : words;
    };
    switch (error) {
        case ENOENT:
            return look_at(path) ? or_errno(what_is_wrong_behind(path)) : not_found(name, path);
        case EACCES: {
            const std::string wrong = what_is_wrong_with(path);
            return or_errno(wrong.empty() ? what_is_wrong_behind(path) : wrong);
        }
        case ENOTDIR:
            return look_at(path) ? or_errno(what_is_wrong_behind(path))
                                 : with_errno("a part of its path is no directory");
        case ELOOP:
            return look_at(path) ? "its interpreter is a script, and so on, too many times"
                                 : "too many symbolic links, or they lead round in a circle";
        case ENAMETOOLONG:
            return "its name is too long";
        case ENOEXEC:
            return with_errno("no program that this system can run");
        case E2BIG:
            return with_errno("its arguments and its environment take too much space");
        case ETXTBSY:
            return with_errno("somebody has it open for writing");
        case EAGAIN:
            return with_errno("the user's limit of processes is exceeded");
        case ENOMEM:
            return with_errno("there is not enough memory");
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
    // A file that is there, and only what it needs is not, was found.
    const bool found = error != ENOENT || (!path.empty() && look_at(path));
    std::string what = (name.empty() ? "''" : printable(name)) + ": ";
    if (!path.empty() && path != name) what += printable(path) + ": ";
    return {error, found ? 126 : 127, what + in_words(name, path, error)};
}

StartFailure explain_fork_failure(int error) {
    const std::string why = error == EAGAIN ? "a limit of processes is reached" : "it failed";
    return {error, 125,
            "no process could be made for it: " + why + " (fork: " + errno_text(error) + ")"};
}

}  // namespace jobshim
