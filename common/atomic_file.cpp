#include "common/atomic_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "common/clocks.hpp"
#include "common/posix_error.hpp"
#include "common/system_calls.hpp"

namespace jobshim {

namespace {

FileStamp to_stamp(const struct stat& info) {
    return {info.st_dev,           info.st_ino,          static_cast<mode_t>(info.st_mode & 07777),
            info.st_uid,           info.st_gid,          info.st_size,
            ns_of(mtime_of(info)), ns_of(ctime_of(info))};
}

// Enough for a typical heartbeat file.
constexpr std::size_t usual_text = 2048;

bool unsupported(int error) { return error == EINVAL || error == ENOSYS || error == EOPNOTSUPP; }

}  // namespace

FileStamp stamp_of(int fd, const std::string& name) {
    struct stat info {};
    if (::fstat(fd, &info) != 0) throw_errno("stat " + name);
    return to_stamp(info);
}

std::optional<FileStamp> stamp_at(const std::string& path) {
    struct stat info {};
    if (::lstat(path.c_str(), &info) == 0) return to_stamp(info);
    if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
    throw_errno("stat " + path);
}

std::optional<FileStamp> stamp_if_known(const std::string& path) {
    try {
        return stamp_at(path);
    } catch (const std::system_error&) {
        return std::nullopt;
    }
}

bool is_unchanged(const std::string& path, const FileStamp& stamp) {
    const auto now = stamp_at(path);
    return now && stamp.unchanged(*now);
}

std::string read_from(int fd, off_t offset, std::size_t limit, const std::string& name,
                      std::optional<std::size_t> size) {
    // Read straight into the string: the stack pages that a large buffer touches would stay
    // resident while the shim waits.
    std::string text;
    std::size_t length = 0;
    while (length < limit) {
        const std::size_t first = size ? *size + 1 : usual_text;
        const std::size_t wanted = std::min(length > 0 ? length : first, limit - length);
        text.resize(length + wanted);
        const ssize_t got = ::pread(fd, text.data() + length, wanted, offset);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) throw_errno("read " + name);
        if (got == 0) break;
        length += static_cast<std::size_t>(got);
        offset += got;
        if (size && length >= *size && static_cast<std::size_t>(got) < wanted) break;
    }
    text.resize(length);
    return text;
}

std::optional<FileContents> read_file(const std::string& path, std::size_t limit) {
    // O_NONBLOCK: opening a FIFO must not wait for a writer. It has no effect on a regular file.
    const UniqueFd fd(
        ::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (!fd) {
        if (errno == ENOENT) return std::nullopt;
        throw_errno("open " + path);
    }
    struct stat info {};
    if (::fstat(fd.get(), &info) != 0) throw_errno("stat " + path);
    if (!S_ISREG(info.st_mode)) throw Refusal(path + ": not a regular file");
    if (static_cast<std::uint64_t>(info.st_size) > limit)
        throw Refusal(path + ": larger than " + std::to_string(limit >> 20U) + " MiB");
    const auto size = static_cast<std::size_t>(info.st_size);
    FileContents contents{read_from(fd.get(), 0, limit + 1, path, size), to_stamp(info)};
    if (contents.text.size() > limit)
        throw Refusal(path + ": larger than " + std::to_string(limit >> 20U) + " MiB");
    return contents;
}

void write_all(int fd, std::string_view text, const std::string& name) {
    while (!text.empty()) {
        const ssize_t written = ::write(fd, text.data(), text.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) throw_errno("write " + name);
        text.remove_prefix(static_cast<std::size_t>(written));
    }
}

bool rename_to_free_name(const std::string& from, const std::string& to) {
    if (rename_no_replace(from, to)) return true;
    // link(2) never replaces a file, on any file system that has hard links.
    return unsupported(errno) && ::link(from.c_str(), to.c_str()) == 0 &&
           ::unlink(from.c_str()) == 0;
}

UniqueFd open_directory_to_flush(const std::string& path) {
    UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd && errno != EACCES) throw_errno("open " + path);
    return fd;
}

StagedFile::StagedFile(std::string path, const std::optional<FileStamp>& like)
    : path_(std::move(path)) {
    const int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    fd_.reset(::open(path_.c_str(), flags, 0600));
    if (!fd_ && errno == EEXIST && ::unlink(path_.c_str()) == 0)
        fd_.reset(::open(path_.c_str(), flags, 0600));
    if (!fd_) throw_errno("create " + path_);
    try {
        stamp_ = stamp_of(fd_.get(), path_);
        copy_owner_and_mode(like);
    } catch (...) {
        remove();
        throw;
    }
}

StagedFile::StagedFile(StagedFile&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::move(other.fd_)),
      stamp_(other.stamp_),
      ours_(std::exchange(other.ours_, false)) {}

StagedFile::~StagedFile() {
    if (ours_) ::unlink(path_.c_str());
}

void StagedFile::remove() {
    ours_ = false;
    ::unlink(path_.c_str());
}

void StagedFile::copy_owner_and_mode(const std::optional<FileStamp>& like) {
    if (!like) return;
    if (stamp_.owner != like->owner || stamp_.group != like->group) {
        if (::fchown(fd_.get(), like->owner, like->group) != 0)
            throw_errno("keep the owner of the job file on " + path_);
        stamp_.owner = like->owner;
        stamp_.group = like->group;
        stamp_.mode = 0;  // a change of owner may clear mode bits
    }
    if (stamp_.mode != like->mode) {
        if (::fchmod(fd_.get(), like->mode) != 0)
            throw_errno("keep the mode of the job file on " + path_);
        stamp_.mode = like->mode;
    }
}

bool StagedFile::reserve(off_t bytes) {
    bool reserved = false;
    do {
        reserved = reserve_space(fd_.get(), bytes);
    } while (!reserved && errno == EINTR);
    if (reserved) return true;
    if (unsupported(errno)) return false;
    throw_errno("reserve space in " + path_);
}

void StagedFile::write(std::string_view text) { write_all(fd_.get(), text, path_); }

void StagedFile::flush() {
    if (!flush_to_disk(fd_.get())) throw_errno("flush " + path_);
}

FileStamp StagedFile::stamp() const { return stamp_; }

StagedFile::Commit StagedFile::commit_as_new(const std::string& target) {
    if (rename_to_free_name(path_, target)) {
        ours_ = false;
        return Commit::done;
    }
    if (errno == EEXIST) return Commit::target_exists;
    throw_errno("rename " + path_ + " to " + target);
}

StagedFile::Commit StagedFile::commit_by_exchange(const std::string& target) {
    if (rename_exchange(path_, target)) {
        ours_ = false;  // what is at path_ now may be somebody's only copy
        return Commit::exchanged;
    }
    if (errno == ENOENT) return Commit::target_missing;
    if (!unsupported(errno)) throw_errno("replace " + target);
    if (::rename(path_.c_str(), target.c_str()) != 0)
        throw_errno("rename " + path_ + " to " + target);
    ours_ = false;
    return Commit::done;
}

}  // namespace jobshim
