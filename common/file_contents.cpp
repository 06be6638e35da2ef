#include "common/file_contents.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "common/clocks.hpp"
#include "common/posix_error.hpp"
#include "common/system_calls.hpp"

namespace jobshim {

namespace {

// Enough for a typical heartbeat file.
constexpr std::size_t usual_text = 2048;

}  // namespace

FileStamp to_stamp(const struct stat& info) {
    return {info.st_dev,           info.st_ino,           static_cast<mode_t>(info.st_mode & 07777),
            info.st_uid,           info.st_gid,           info.st_size,
            ns_of(mtime_of(info)), ns_of(ctime_of(info)), S_ISREG(info.st_mode),
            S_ISLNK(info.st_mode), info.st_nlink};
}

FileStamp stamp_of(int fd, const std::string& name) {
    struct stat info {};
    if (::fstat(fd, &info) != 0) throw_errno("stat " + name);
    return to_stamp(info);
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

void write_all(int fd, std::string_view text, const std::string& name) {
    while (!text.empty()) {
        const ssize_t written = ::write(fd, text.data(), text.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) throw_errno("write " + name);
        text.remove_prefix(static_cast<std::size_t>(written));
    }
}

}  // namespace jobshim
