#include "common/atomic_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "common/posix_error.hpp"
#include "common/system_calls.hpp"

namespace jobshim {

namespace {

constexpr mode_t unknown_mode = ~mode_t{0};

bool unsupported(int error) { return error == EINVAL || error == ENOSYS || error == EOPNOTSUPP; }

}  // namespace

StagedFile::StagedFile(Directory directory, std::string name, const std::optional<FileStamp>& like,
                       const ExtendedAttributes& attributes)
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
        // A umask may have taken its owner's rights, and with them those of every reader.
        if (!like && (stamp_.mode & 0600U) != 0600 && !directory_.change_mode(fd_.get(), 0600))
            throw_errno("change the mode of " + path());
        become_like(like, attributes);
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
      attributes_(std::move(other.attributes_)),
      written_(other.written_),
      has_reserve_(other.has_reserve_),
      ours_(std::exchange(other.ours_, false)) {}

StagedFile::~StagedFile() {
    if (is_still_staged()) directory_.remove(name_);
}

void StagedFile::remove() {
    ours_ = false;
    directory_.remove(name_);
}

bool StagedFile::is_still_staged() const {
    const auto there = ours_ ? directory_.stamp_if_known(name_) : std::nullopt;
    return there && there->same_file(stamp_);
}

void StagedFile::become_like(const std::optional<FileStamp>& like,
                             const ExtendedAttributes& attributes) {
    if (!like) return;
    if (stamp_.owner != like->owner || stamp_.group != like->group) {
        if (!directory_.change_owner(fd_.get(), like->owner, like->group))
            throw_errno("keep the owner of the job file on " + path());
        stamp_.owner = like->owner;
        stamp_.group = like->group;
        stamp_.mode = unknown_mode;  // a change of owner may clear mode bits
    }
    // No set-ID bit: what runs with it should be nobody's record.
    const mode_t mode = like->mode & 0777U;
    // While the file is its owner's alone, a list that the directory gave it lets nobody in.
    const bool drops_inherited_list = stamp_.mode != mode;
    if (attributes != attributes_ || drops_inherited_list) {
        std::string failed;
        if (!directory_.change_attributes(fd_.get(), attributes, attributes_, drops_inherited_list,
                                          failed))
            throw_errno("keep " + failed + " of the job file on " + path());
        // An access control list sets mode bits.
        if (!attributes.empty()) stamp_.mode = unknown_mode;
        attributes_ = attributes;
    }
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
    has_reserve_ = has_reserve_ || reserved;
    if (reserved) return true;
    if (unsupported(errno)) return false;
    throw_errno("reserve space in " + path());
}

void StagedFile::give_back() {
    // If that fails, the file takes more space than it needs, and is as good.
    if (has_reserve_) (void)!::ftruncate(fd_.get(), static_cast<off_t>(written_));
}

void StagedFile::write(std::string_view text) {
    const bool is_again = written_ > 0;
    if (is_again &&
        (::lseek(fd_.get(), 0, SEEK_SET) < 0 ||
         (written_ > text.size() && ::ftruncate(fd_.get(), static_cast<off_t>(text.size())) != 0)))
        throw_errno("write " + path());
    written_ = text.size();
    write_all(fd_.get(), text, path());
}

void StagedFile::flush() {
    // A file system that has nothing to flush says so each time.
    if (!flush_to_disk(fd_.get()) && !unsupported(errno)) throw_errno("flush " + path());
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
