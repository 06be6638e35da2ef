// The contents of a file, and what identifies a file and the state it is in. On descriptors only:
// files in a job's directory are opened by directory.hpp.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/extended_attributes.hpp"

namespace jobshim {

// Identifies a file and the state it is in.
struct FileStamp {
    dev_t device = 0;
    ino_t inode = 0;
    mode_t mode = 0600;  // without the type
    uid_t owner = 0;
    gid_t group = 0;
    off_t size = 0;
    std::int64_t modified_ns = 0;  // mtime and ctime
    std::int64_t changed_ns = 0;
    bool is_regular = true;
    bool is_link = false;  // symbolic
    nlink_t names = 1;

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
    ExtendedAttributes attributes = {};  // only if they were asked for
};

FileStamp to_stamp(const struct stat& info);
FileStamp stamp_of(int fd, const std::string& name);  // throws std::system_error

// Reads from `offset` to the end, but at most `limit` bytes; throws std::system_error naming
// `name`. `size` is the size of a regular file: it saves the extra read that would only find the
// end.
std::string read_from(int fd, off_t offset, std::size_t limit, const std::string& name,
                      std::optional<std::size_t> size = std::nullopt);

// Continues after short writes. Throws std::system_error naming `name`.
void write_all(int fd, std::string_view text, const std::string& name);

}  // namespace jobshim
