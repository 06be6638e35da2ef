// Files that are read whole and replaced whole: a reader never sees half of one.
//
// Caveats: nothing here follows a symlink in the last component of a path. Only the holder of the
// job's writer lock may write: temporary files have fixed names, so that the lock holder can find a
// dead writer's stale files without searching the directory.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/unique_fd.hpp"

namespace jobshim {

// Identifies a file and the state it is in.
struct FileStamp {
    dev_t device = 0;
    ino_t inode = 0;
    mode_t mode = 0600;
    uid_t owner = 0;
    gid_t group = 0;
    off_t size = 0;
    std::int64_t modified_ns = 0;  // mtime and ctime
    std::int64_t changed_ns = 0;

    // True if nobody has touched the file, as far as its size and times show.
    bool unchanged(const FileStamp& now) const {
        return same_file(now) && size == now.size && modified_ns == now.modified_ns &&
               changed_ns == now.changed_ns;
    }
    bool same_file(const FileStamp& other) const {
        return device == other.device && inode == other.inode;
    }
};

struct FileContents {
    std::string text;
    FileStamp stamp;
};

FileStamp stamp_of(int fd, const std::string& name);  // throws
// Does not follow a symlink. Nothing if there is no such file; throws if that cannot be determined.
std::optional<FileStamp> stamp_at(const std::string& path);

// Likewise, but also nothing if that cannot be determined.
std::optional<FileStamp> stamp_if_known(const std::string& path);
// True if the file is still there and nobody has touched it. Throws like stamp_at.
bool is_unchanged(const std::string& path, const FileStamp& stamp);

// Nothing if there is no such file. Throws std::system_error, or Refusal for a file that is not
// regular or is longer than `limit`. Never blocks on a FIFO.
std::optional<FileContents> read_file(const std::string& path, std::size_t limit);

// Reads from `offset` to the end, but at most `limit` bytes; throws std::system_error naming
// `name`. `size` is the size of a regular file: it saves the extra read that would only find the
// end.
std::string read_from(int fd, off_t offset, std::size_t limit, const std::string& name,
                      std::optional<std::size_t> size = std::nullopt);

// Continues after short writes. Throws std::system_error naming `name`.
void write_all(int fd, std::string_view text, const std::string& name);

// A rename that never replaces a file. False (with errno) if `from` does not exist or `to` does.
bool rename_to_free_name(const std::string& from, const std::string& to);

// Opens a directory for fsync, so that a rename in it survives a power cut. Nothing for a directory
// that may be written but not read: it cannot be flushed. Throws std::system_error.
UniqueFd open_directory_to_flush(const std::string& path);

// A file that is written under a temporary name and then moved into place. It is created with
// O_EXCL, and removed unless it is committed.
class StagedFile {
public:
    // First removes a dead writer's stale file of the same name. The file gets the mode and owner
    // of `like`, or 0600 without it. Throws if these cannot be set.
    StagedFile(std::string path, const std::optional<FileStamp>& like);
    ~StagedFile();
    StagedFile(StagedFile&& other) noexcept;
    StagedFile& operator=(StagedFile&& other) = delete;
    StagedFile(const StagedFile&) = delete;
    StagedFile& operator=(const StagedFile&) = delete;

    // Reserves disk space without changing the size. False if the file system cannot; throws on any
    // other failure, such as too little space.
    bool reserve(off_t bytes);
    void copy_owner_and_mode(const std::optional<FileStamp>& like);
    void write(std::string_view text);
    void flush();

    enum class Commit {
        done,       // in place, and nothing is left under our path
        exchanged,  // in place; the old file is now under our path, and stays until `remove`
        target_exists,
        target_missing,
    };
    // Never replaces a file.
    Commit commit_as_new(const std::string& target);
    // Only replaces a file. Where the file system cannot exchange two files, this is a plain rename
    // (done).
    Commit commit_by_exchange(const std::string& target);

    const std::string& path() const { return path_; }
    FileStamp stamp() const;
    int descriptor() const { return fd_.get(); }
    void remove();  // removes whatever is under our path

private:
    std::string path_;
    UniqueFd fd_;
    FileStamp stamp_;
    bool ours_ = true;  // the destructor must remove path_
};

}  // namespace jobshim
