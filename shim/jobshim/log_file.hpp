// The worker's log: the worker appends to it, and the shim reads its tail back for the record.
//
// The worker's descriptor can only be written to: a pipe of which it held the reading end would
// never break.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

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

    // For the worker; -1 once it has been released.
    int descriptor() const { return fd_.get(); }
    // To be called once the worker has it. Keeps only a regular file open: of a pipe, whoever reads
    // it is to see the end when the worker closes it.
    void release();
    // The descriptors that must stay open.
    std::vector<int> descriptors() const;
    const std::string& path() const { return path_; }
    std::int64_t offset() const { return offset_; }  // where this run begins

    // Nothing if it cannot be read back.
    std::optional<std::int64_t> size() const;
    // The last whole lines of this run that fit into `bytes`, as UTF-8; if the last line alone is
    // longer, its end. Nothing if the log cannot be read back (a FIFO, a terminal, no permission).
    std::optional<std::string> tail(std::size_t bytes) const;

private:
    void share();
    FileStamp look_at_file();

    std::string path_;
    UniqueFd fd_;
    UniqueFd reader_;  // of the same file; empty if the log cannot be read back
    bool is_regular_ = false;
    std::int64_t offset_ = 0;
};

}  // namespace jobshim
