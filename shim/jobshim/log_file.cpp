#include "shim/jobshim/log_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "common/atomic_file.hpp"
#include "common/job_files.hpp"
#include "common/posix_error.hpp"
#include "common/units.hpp"

namespace jobshim {

namespace {

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

LogFile::LogFile(const std::string& path) : path_(absolute_path(path)) {
    // The same descriptor is read back at the end, so that what is shown is what was written.
    const int flags = O_APPEND | O_CREAT | O_NOCTTY | O_CLOEXEC;
    fd_.reset(::open(path_.c_str(), O_RDWR | flags, 0600));
    if (!fd_ && errno == EACCES) {
        readable_ = false;
        fd_.reset(::open(path_.c_str(), O_WRONLY | flags, 0600));
    }
    if (!fd_) throw_errno("open the log " + path);
    struct stat info {};
    if (::fstat(fd_.get(), &info) != 0) throw_errno("stat " + path);
    readable_ = readable_ && S_ISREG(info.st_mode);
    if (S_ISREG(info.st_mode)) offset_ = info.st_size;
}

std::optional<std::string> LogFile::tail(std::size_t bytes) const {
    if (!readable_ || bytes == 0) return std::nullopt;
    try {
        const std::int64_t size = stamp_of(fd_.get(), path_).size;
        // Smaller than at the start of this run: it was truncated since, so all of it is newer.
        const std::int64_t first = size < offset_ ? 0 : offset_;
        const std::int64_t begin = std::max(first, size - static_cast<std::int64_t>(bytes));
        const std::string text = read_from(fd_.get(), begin, bytes, path_);
        const bool cut = begin > first && read_from(fd_.get(), begin - 1, 1, path_) != "\n";
        return cut ? without_cut_line(text) : to_utf8(text);
    } catch (const std::system_error&) {
        return std::nullopt;
    }
}

}  // namespace jobshim
