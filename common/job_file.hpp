// The job file on disk: waits for a torn file, and changes the file without losing what others
// write.
//
// Caveats: only for the holder of the writer lock (heartbeat.hpp). A host may rewrite the file at
// the same time, in place or by rename, and loses nothing: after each write, the version that it
// displaced is compared with the one that it was made from, and merged if somebody else wrote in
// between.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "common/atomic_file.hpp"
#include "common/job_document.hpp"
#include "common/job_files.hpp"

namespace jobshim {

// A failure that concerns a file beside the job file, or the directory. what() names that file, not
// the job file.
class SiblingFileFailure : public std::runtime_error {
public:
    explicit SiblingFileFailure(const std::system_error& error)
        : std::runtime_error(error.what()), error_(error.code().value()) {}
    int error() const { return error_; }  // an errno

private:
    int error_;
};

// True if less text might have been written: the disk or a quota is full, or the text is longer
// than a file may be.
bool is_for_want_of_room(const std::exception& failure);

// When a write of the record is flushed to disk.
enum class SyncPolicy { always, final, never };

class JobFile {
public:
    // Receives messages for people, such as that a torn file was set aside.
    using Notice = std::function<void(const std::string&)>;

    JobFile(JobFiles files, SyncPolicy policy, Notice notice);

    const JobFiles& files() const { return files_; }

    // The current document; nothing if there is no file. A text that is not a JSON object gets one
    // second to become one; then it is set aside as NAME.corrupt-TIME, and the last good copy, if
    // there is one, is returned. Throws Refusal for a file that is too large, too deeply nested, or
    // not a regular file.
    std::optional<JobDocument> load();

    // Throws as `update` does if no version may be that long: because nobody would read it, or by
    // this process's own limit (RLIMIT_FSIZE).
    void require_room_for(std::size_t bytes) const;
    // Reserves disk space for a last version of `bytes` bytes, in place of what was reserved
    // before, which stays if there is not enough. Then throws as `update` does.
    void reserve(std::size_t bytes);
    // Enlarges the reserve if the file has outgrown it.
    void check_reserve(std::size_t for_us);

    // Makes the text to write from the current document (null if there is none). May be called more
    // than once.
    using Edit = std::function<std::string(const JobDocument*)>;
    enum class Write { ordinary, last };
    // Throws std::system_error or Refusal, whose text names the job file, or SiblingFileFailure;
    // the file is then unchanged. Once the new version is in place, nothing is thrown any more.
    void update(const Edit& edit, Write write);

    // Removes a dead writer's temporary files. One that holds the only copy of something the host
    // wrote is moved aside as NAME.displaced-TIME.
    void clear_stale_files();
    // True if this object created the current file.
    bool created_the_file() const { return created_; }
    // Descriptor of the reserve file; -1 if there is none.
    int reserve_descriptor() const { return reserve_ ? reserve_->descriptor() : -1; }

private:
    const Directory& directory() const { return files_.directory; }
    struct Found {
        std::optional<FileStamp> stamp;  // nothing: no such file
        std::optional<JobDocument> document;
        ExtendedAttributes attributes = {};
        bool is_blank = false;  // there is a file, and nothing in it
    };
    Found find();
    std::optional<FileContents> read(const std::string& name) const;
    // Waits until the text of the file is whole; the result has a document only if it became so.
    Found wait_until_whole(const std::string& name, FileContents contents);
    // Renames the file out of the way, never over another file. Returns the new name, or "" if the
    // file is already gone.
    std::string move_aside(const std::string& name, const std::string& kind);
    void set_aside_torn(const std::string& name);
    void clear_stale_file(const std::string& name);

    void stage(std::unique_ptr<StagedFile>& staged, Write write, const Found& base);
    void attempt_update(const Edit& edit, Write write, std::unique_ptr<StagedFile>& staged);
    bool commit(StagedFile& staged, Found& base, const std::string& text);
    bool look_at_displaced(std::unique_ptr<StagedFile> staged, Found& base,
                           const std::string& expected);

    JobFiles files_;
    SyncPolicy policy_;
    Notice notice_;
    std::unique_ptr<StagedFile> reserve_;
    std::size_t reserved_ = 0;
    ExtendedAttributes attributes_;          // of the file, when it was last read
    std::unique_ptr<StagedFile> displaced_;  // the version our write displaced, until merged
    std::optional<FileStamp> last_written_;
    std::optional<std::string> last_good_;  // the text we last wrote
    bool was_there_ = false;                // we found a file that we had not written
    bool created_ = false;
};

}  // namespace jobshim
