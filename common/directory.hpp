// A directory that was opened once, and the only door to the files in it.
//
// Everything is done relative to its descriptor, by plain names, and no symbolic link is followed.
// So nobody who may rename or replace the directory, or one above it, can lead a step elsewhere;
// and a directory that is moved while a job runs is still the job's.
//
// Caveats: `path()` is where it was found. It is for people and records, never for the system.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "common/file_contents.hpp"
#include "common/identity.hpp"
#include "common/unique_fd.hpp"

namespace jobshim {

// Whose it is and where it leads, of one and the same link.
struct SymbolicLink {
    uid_t owner = 0;
    std::string target;
};

// Copies share one descriptor.
class Directory {
public:
    // Symbolic links on the way are followed once, and only those of root and of the effective
    // user. Throws std::system_error, or Refusal for another user's link.
    static Directory open(const std::string& path);
    // Nothing if there is no such directory.
    static std::optional<Directory> open_if_there(const std::string& path);
    // Creates it and missing parents, with mode 0700; nothing in a directory of another user's (not
    // root's), or where everybody may rename it. Throws std::system_error or Refusal.
    static Directory make(const std::string& path);
    // A directory in this one, which is not a symbolic link; nothing if there is none.
    std::optional<Directory> subdirectory(const std::string& name) const;
    Directory make_subdirectory(const std::string& name) const;

    // The same directory, in which each step that changes something is done with this identity
    // (identity.hpp), and so does no more than that user could.
    Directory as(const std::optional<Identity>& identity) const;
    const std::optional<Identity>& identity() const { return identity_; }
    // The same, in which even looking is done with that identity: for whoever writes what it reads.
    Directory strictly() const;

    const std::string& path() const { return opened_->path; }
    std::string path_of(std::string_view name) const;
    uid_t owner() const { return opened_->owner; }
    gid_t group() const { return opened_->group; }
    mode_t mode() const { return opened_->mode; }
    // False if it was removed: no path will ever lead to it again.
    bool still_exists() const;
    bool is_same_as(const Directory& other) const {
        return opened_->device == other.opened_->device && opened_->inode == other.opened_->inode;
    }
    // file_system.hpp
    bool is_local() const;
    // May be good for lookups only (O_PATH).
    int descriptor() const { return opened_->fd.get(); }

    // ---- steps. `name` is a plain name: one with a slash is refused (Refusal).

    // Never follows a symbolic link, never blocks on a FIFO, never gets a terminal. Empty, with
    // errno, if it fails.
    UniqueFd open_file(const std::string& name, int flags, mode_t mode = 0600) const;
    // Nothing if there is no such file; throws std::system_error if that cannot be determined.
    std::optional<FileStamp> stamp_at(const std::string& name) const;
    // Likewise, but also nothing if that cannot be determined.
    std::optional<FileStamp> stamp_if_known(const std::string& name) const;
    // True if the file is still there and nobody has touched it. Throws like stamp_at.
    bool is_unchanged(const std::string& name, const FileStamp& stamp) const;
    // Nothing if there is no such file. Throws std::system_error, Refusal for a file that is not
    // regular, or TooLarge for one that is longer than `limit`.
    enum class Attributes { read, ignored };
    std::optional<FileContents> read_file(const std::string& name, std::size_t limit,
                                          Attributes attributes = Attributes::ignored) const;
    // Nothing if there is no symbolic link of that name.
    std::optional<SymbolicLink> link_at(const std::string& name) const;

    // These return false, with errno, if they fail.
    bool rename(const std::string& from, const Directory& there, const std::string& to) const;
    // Never replaces a file: EEXIST. ENOENT if `from` does not exist.
    bool rename_to_free_name(const std::string& from, const std::string& to) const;
    // EINVAL, ENOSYS or EOPNOTSUPP if the file system cannot.
    bool exchange(const std::string& one, const Directory& there, const std::string& other) const;
    bool remove(const std::string& name) const;
    // Never replaces a file: EEXIST.
    bool make_link(const std::string& target, const std::string& name) const;
    // Also to a group that the owner is not in, as a directory may have given it to the file.
    bool change_owner(int fd, uid_t owner, gid_t group) const;
    bool change_mode(int fd, mode_t mode) const;
    // See set_extended_attributes.
    bool change_attributes(int fd, const ExtendedAttributes& wanted, const ExtendedAttributes& has,
                           bool drop_inherited_list, std::string& failed) const;

    bool may_write() const;
    // A name that nobody can foresee, and so nobody can have taken.
    static std::string random_name_like(const std::string& name);

    // For fsync, so that a rename survives a power cut. Nothing for a directory that may be written
    // but not read: it cannot be flushed. Throws std::system_error.
    UniqueFd open_to_flush() const;
    // Calls visit(name) for each entry, in no order, without "." and "..". Throws
    // std::system_error.
    void for_each_name(const std::function<void(std::string_view)>& visit) const;

private:
    struct Opened {
        UniqueFd fd;
        std::string path;
        uid_t owner;
        gid_t group;
        mode_t mode;
        dev_t device;
        ino_t inode;
        mutable std::optional<bool> is_local;
    };
    explicit Directory(std::shared_ptr<const Opened> opened) : opened_(std::move(opened)) {}
    static Directory from(UniqueFd fd, std::string path);
    UniqueFd open_to_read() const;
    template <class Look>
    auto look(Look look_up) const;

    std::shared_ptr<const Opened> opened_;
    std::optional<Identity> identity_;
    bool is_strict_ = false;
};

// Where a path leads, whoever made the links: only for people, and to compare. What does not exist
// leads to itself.
std::string real_path(const std::string& path);

// Nothing if it does not exist, or cannot be looked at.
std::optional<uid_t> owner_of_directory(const std::string& path);

// As in path_resolution(7).
constexpr int most_links = 40;
// Throws Refusal for a symbolic link that belongs to neither the effective user nor root.
void refuse_foreign_link(const std::string& link, uid_t owner);

// Nothing, with errno set, if it cannot be determined. Exact bytes.
std::optional<std::string> current_directory();

// A path made absolute textually; nothing is resolved. Throws std::system_error.
std::string absolute_path(const std::string& path);

// The directory and the name in a path; Refusal for a path that cannot name a file (empty, or
// ending in a slash). Both are as written, made absolute.
struct SplitPath {
    std::string directory;
    std::string name;
};
SplitPath split_path(const std::string& path);

}  // namespace jobshim
