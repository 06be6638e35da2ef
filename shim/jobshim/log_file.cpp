#include "shim/jobshim/log_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "common/clocks.hpp"
#include "common/job_files.hpp"
#include "common/posix_error.hpp"
#include "common/system_calls.hpp"
#include "common/units.hpp"

namespace jobshim {

namespace {

// For the reader of a FIFO to open it, or for another process to give up its lease.
constexpr std::chrono::milliseconds open_patience{1000};
constexpr std::chrono::milliseconds open_tick{10};

// Of what has this path; nothing if that cannot be determined.
std::optional<FileStamp> stamp_of_path(const std::string& path) {
    try {
        const SplitPath split = split_path(path);
        return Directory::open(split.directory).stamp_at(split.name);
    } catch (const std::exception&) {
        return std::nullopt;
    }
}

// Readers follow no link, so the record names where the links led. They may lead elsewhere by now:
// then it names what the user named.
std::string path_without_links(const std::string& named, int fd) {
    std::string path = real_path(named);
    const auto there = stamp_of_path(path);
    return there && there->same_file(stamp_of(fd, named)) ? path : named;
}

[[noreturn]] void throw_cannot_open(const std::string& path) {
    const int error = errno;
    const auto there = stamp_of_path(path);
    const bool is_foreign = there && there->owner != ::geteuid();
    throw_errno(
        "open the log " + path + (is_foreign ? " of uid " + std::to_string(there->owner) : ""),
        error);
}

mode_t type_of(const std::string& named) {
    struct stat info {};
    return ::stat(named.c_str(), &info) == 0 ? info.st_mode & S_IFMT : 0;
}

// Does not wait for anybody for long.
UniqueFd open_by_name(const std::string& named) {
    const auto deadline = monotonic_now() + open_patience;
    for (;;) {
        UniqueFd fd(::open(named.c_str(),
                           O_WRONLY | O_APPEND | O_CREAT | O_NOCTTY | O_CLOEXEC | O_NONBLOCK,
                           0600));
        if (fd) return fd;
        const int error = errno;
        const bool may_change =
            error == EWOULDBLOCK || (error == ENXIO && type_of(named) == S_IFIFO);
        errno = error;
        if (!may_change || monotonic_now() >= deadline) return fd;
        pause_for(open_tick);
    }
}

// `text` starts in the middle of a line.
std::string without_cut_line(const std::string& text) {
    const std::size_t feed = text.find('\n');
    if (feed != std::string::npos && feed + 1 < text.size()) return to_utf8(text.substr(feed + 1));
    // A single line, longer than the limit: its end, from a whole character on, marked as cut.
    std::size_t begin = 0;
    while (begin < text.size() && (static_cast<unsigned char>(text[begin]) & 0xC0U) == 0x80)
        ++begin;
    return "\u2026" + to_utf8(text.substr(begin));
}

}  // namespace

LogFile::LogFile(const std::string& path) {
    // By the name that was given: the kernel may refuse a link or a FIFO of another user's.
    const std::string named = absolute_path(path);
    fd_ = open_by_name(named);
    if (!fd_ && errno == ENXIO) {
        const mode_t type = type_of(named);
        if (type == S_IFIFO || type == S_IFSOCK)
            throw Refusal(path + (type == S_IFIFO ? ": a pipe that nobody reads" : ": a socket") +
                          ", and cannot be the log");
        errno = ENXIO;
    }
    if (!fd_ && errno == EWOULDBLOCK)
        throw Refusal(path + ": another process has a lease on it, and does not give it up");
    if (!fd_) throw_cannot_open(named);
    path_ = path_without_links(named, fd_.get());
    share();
    look_at_file();
}

LogFile::LogFile(const Directory& directory, const std::string& name)
    : path_(directory.path_of(name)) {
    fd_ = directory.open_file(name, O_WRONLY | O_APPEND | O_CREAT);
    if (!fd_) throw_cannot_open(path_);
    const FileStamp stamp = look_at_file();
    if (!stamp.is_regular || stamp.names > 1)
        throw Refusal(path_ + ": not a file of its own, and cannot be the log");
    if (stamp.owner != ::geteuid())
        throw Refusal(path_ + ": belongs to uid " + std::to_string(stamp.owner) +
                      ", and cannot be the log");
    share();
}

void LogFile::share() {
    // O_NONBLOCK was for the opening; the worker shares this descriptor.
    if (::fcntl(fd_.get(), F_SETFL, O_APPEND) != 0) throw_errno("set up " + path_);
}

FileStamp LogFile::look_at_file() {
    const FileStamp stamp = stamp_of(fd_.get(), path_);
    is_regular_ = stamp.is_regular;
    if (!is_regular_) return stamp;
    offset_ = stamp.size;
    // Through the descriptor, so that what is shown is what was written, whatever has the name.
    reader_ = reopen_for_reading(fd_.get());
    return stamp;
}

void LogFile::release() {
    if (!is_regular_) fd_.reset();
}

std::vector<int> LogFile::descriptors() const {
    std::vector<int> open;
    for (const UniqueFd* fd : {&fd_, &reader_})
        if (*fd) open.push_back(fd->get());
    return open;
}

std::optional<std::int64_t> LogFile::size() const {
    struct stat info {};
    return reader_ && ::fstat(reader_.get(), &info) == 0 ? std::optional(info.st_size)
                                                         : std::nullopt;
}

std::optional<std::string> LogFile::tail(std::size_t bytes) const {
    if (!reader_ || bytes == 0) return std::nullopt;
    try {
        const std::int64_t size = stamp_of(reader_.get(), path_).size;
        // Smaller than at the start of this run: it was truncated since, so all of it is newer.
        const std::int64_t first = size < offset_ ? 0 : offset_;
        const std::int64_t begin = std::max(first, size - static_cast<std::int64_t>(bytes));
        const std::string text = read_from(reader_.get(), begin, bytes, path_);
        const bool cut = begin > first && read_from(reader_.get(), begin - 1, 1, path_) != "\n";
        return cut ? without_cut_line(text) : to_utf8(text);
    } catch (const std::system_error&) {
        return std::nullopt;
    }
}

}  // namespace jobshim
