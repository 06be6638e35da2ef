#include "common/atomic_file.hpp"

#include <fcntl.h>

#include <cerrno>
#include <utility>

#include "common/posix_error.hpp"
#include "common/system_calls.hpp"

namespace jobshim {

namespace {

bool unsupported(int error) { return error == EINVAL || error == ENOSYS || error == EOPNOTSUPP; }

}  // namespace

StagedFile::StagedFile(Directory directory, std::string name, const std::optional<FileStamp>& like)
    : directory_(std::move(directory)), name_(std::move(name)) {
    constexpr int flags = O_RDWR | O_CREAT | O_EXCL;
    fd_ = directory_.open_file(name_, flags);
    if (!fd_ && errno == EEXIST) {
        // In a directory that others may write to, what is there may be theirs to keep.
        if (!directory_.remove(name_)) name_ = directory_.random_name_like(name_);
        fd_ = directory_.open_file(name_, flags);
    }
    if (!fd_) throw_errno("create " + path());
    try {
        stamp_ = stamp_of(fd_.get(), path());
        copy_owner_and_mode(like);
    } catch (...) {
        remove();
        throw;
    }
}

StagedFile::StagedFile(StagedFile&& other) noexcept
    : directory_(other.directory_),
      name_(std::move(other.name_)),
      fd_(std::move(other.fd_)),
      stamp_(other.stamp_),
      ours_(std::exchange(other.ours_, false)) {}

StagedFile::~StagedFile() {
    if (ours_) directory_.remove(name_);
}

void StagedFile::remove() {
    ours_ = false;
    directory_.remove(name_);
}

void StagedFile::copy_owner_and_mode(const std::optional<FileStamp>& like) {
    if (!like) return;
    if (stamp_.owner != like->owner || stamp_.group != like->group) {
        if (!directory_.change_owner(fd_.get(), like->owner, like->group))
            throw_errno("keep the owner of the job file on " + path());
        stamp_.owner = like->owner;
        stamp_.group = like->group;
        stamp_.mode = 0;  // a change of owner may clear mode bits
    }
    // No set-ID bit: what runs with it should be nobody's record.
    const mode_t mode = like->mode & 0777U;
    if (stamp_.mode != mode) {
        if (!directory_.change_mode(fd_.get(), mode))
            throw_errno("keep the mode of the job file on " + path());
        stamp_.mode = mode;
    }
}

bool StagedFile::reserve(off_t bytes) {
    bool reserved = false;
    do {
        reserved = reserve_space(fd_.get(), bytes);
    } while (!reserved && errno == EINTR);
    if (reserved) return true;
    if (unsupported(errno)) return false;
    throw_errno("reserve space in " + path());
}

void StagedFile::write(std::string_view text) { write_all(fd_.get(), text, path()); }

void StagedFile::flush() {
    if (!flush_to_disk(fd_.get())) throw_errno("flush " + path());
}

FileStamp StagedFile::stamp() const { return stamp_; }

StagedFile::Commit StagedFile::commit_as_new(const std::string& target) {
    if (directory_.rename_to_free_name(name_, target)) {
        ours_ = false;
        return Commit::in_place;
    }
    if (errno == EEXIST) return Commit::target_exists;
    throw_errno("rename " + path() + " to " + directory_.path_of(target));
}

void StagedFile::replace(const std::string& target) {
    if (!directory_.rename(name_, directory_, target))
        throw_errno("rename " + path() + " to " + directory_.path_of(target));
    ours_ = false;
}

StagedFile::Commit StagedFile::commit_by_exchange(const Directory& there,
                                                  const std::string& target) {
    if (directory_.exchange(name_, there, target)) {
        ours_ = false;  // what has our name now may be somebody's only copy
        return Commit::exchanged;
    }
    if (errno == ENOENT) return Commit::target_missing;
    if (!unsupported(errno)) throw_errno("replace " + there.path_of(target));
    if (!directory_.rename(name_, there, target))
        throw_errno("rename " + path() + " to " + there.path_of(target));
    ours_ = false;
    return Commit::in_place;
}

}  // namespace jobshim
