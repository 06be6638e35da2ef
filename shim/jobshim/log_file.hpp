// The worker's log: the worker appends to it, and the shim reads its tail back for the record.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "common/directory.hpp"
#include "common/unique_fd.hpp"

namespace jobshim {

class LogFile {
public:
    // The log that the user names: a link, a FIFO or a terminal is the user's own choice. Creates
    // it with mode 0600 if it is missing. Throws std::system_error, or Refusal rather than wait for
    // somebody else.
    explicit LogFile(const std::string& path);
    // A log that nobody has named: made, or our own. Throws likewise, or Refusal.
    LogFile(const Directory& directory, const std::string& name);

    int descriptor() const { return fd_.get(); }
    const std::string& path() const { return path_; }
    std::int64_t offset() const { return offset_; }  // where this run begins

    // The last whole lines of this run that fit into `bytes`, as UTF-8; if the last line alone is
    // longer, its end. Nothing if the log cannot be read back (a FIFO, a terminal, no permission).
    std::optional<std::string> tail(std::size_t bytes) const;

private:
    void share();
    FileStamp look_at_file();

    std::string path_;
    UniqueFd fd_;
    std::int64_t offset_ = 0;
    bool readable_ = true;
};

}  // namespace jobshim
