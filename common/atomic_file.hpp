// Files that are read whole and replaced whole. A reader never sees half of one.
//
// Caveats: nothing here follows a symlink in the last place of a path. Only the holder of the
// job's writer lock may write: the names of the temporary files are fixed, so that whoever holds
// the lock knows a dead writer's stale files without looking through the directory.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/unique_fd.hpp"

namespace jobshim {

// Which file it is, and whose.
struct FileStamp {
    dev_t device = 0;
    ino_t inode = 0;
    mode_t mode = 0600;
    uid_t owner = 0;
    gid_t group = 0;
    off_t size = 0;
    std::int64_t modified_ns = 0;  // mtime and ctime
    std::int64_t changed_ns = 0;

    // Nobody has touched it, as far as its times tell.
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
// Not through a symlink. Nothing if there is none; throws if that cannot be told.
std::optional<FileStamp> stamp_at(const std::string& path);

// Nothing if there is no such file. Throws std::system_error, or Refusal for what is no regular
// file or longer than `limit`; never waits for a FIFO's other end.
std::optional<FileContents> read_file(const std::string& path, std::size_t limit);

// Everything from `offset` on; throws std::system_error naming `name`. With `size`, of a regular
// file, a read that ends behind so many bytes was the last one.
std::string read_from(int fd, off_t offset, std::size_t limit, const std::string& name,
                      std::optional<std::size_t> size = std::nullopt);

// Throws std::system_error naming `name`; short writes are gone on with.
void write_all(int fd, std::string_view text, const std::string& name);

// A rename that never replaces. False (with errno) if there is no such file, or one of the new
// name.
bool rename_to_free_name(const std::string& from, const std::string& to);

// For the fsync by which a rename in it outlives a power cut. Nothing for a directory that may be
// written and not read: it cannot be flushed. Throws std::system_error.
UniqueFd open_directory_to_flush(const std::string& path);

// A file on its way to its place: made with O_EXCL, and removed unless it arrives.
class StagedFile {
public:
    // A leaving of a dead writer under the same name is removed first. `like` gives mode and owner;
    // without it: 0600. Throws if these cannot be had.
    StagedFile(std::string path, const std::optional<FileStamp>& like);
    ~StagedFile();
    StagedFile(StagedFile&& other) noexcept;
    StagedFile& operator=(StagedFile&& other) = delete;
    StagedFile(const StagedFile&) = delete;
    StagedFile& operator=(const StagedFile&) = delete;

    // Sets disk space aside without changing the size. Throws for want of space; false where the
    // file system cannot.
    bool reserve(off_t bytes);
    void take_after(const std::optional<FileStamp>& like);
    void write(std::string_view text);
    void flush();

    enum class Arrival {
        done,       // in its place, where there was no file
        exchanged,  // in its place; what was there lies under our path now, and stays until
                    // `remove`
        there_was_one,
        there_was_none,
    };
    // Never over a file that is there.
    Arrival arrive_as_new(const std::string& target);
    // Never where there is none. Where the file system cannot exchange, it is a rename (done).
    Arrival arrive_in_exchange(const std::string& target);

    const std::string& path() const { return path_; }
    FileStamp stamp() const;
    int descriptor() const { return fd_.get(); }
    void remove();  // what lies under our path

private:
    std::string path_;
    UniqueFd fd_;
    FileStamp stamp_;
    bool ours_ = true;  // something under path_ is ours to remove
};

}  // namespace jobshim
