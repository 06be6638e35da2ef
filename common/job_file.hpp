// The job file on disk: read with patience, changed without losing what others write into it.
//
// Caveats: for the holder of the writer lock only (heartbeat.hpp). A host that rewrites the file
// at the same time, in place or by rename, loses nothing: what a write of ours displaced is
// compared with what it was made from, and merged again if somebody was faster.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "common/atomic_file.hpp"
#include "common/job_document.hpp"
#include "common/job_files.hpp"

namespace jobshim {

// A failure of a file beside the job file, or of its directory. what() tells that one, and not the
// job file.
class FailureBesideJobFile : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

// When a write of the record is flushed to the disk.
enum class SyncPolicy { always, final, never };

class JobFile {
public:
    // Gets notes for people: a torn file that was set aside, for one.
    using Notice = std::function<void(const std::string&)>;

    JobFile(JobFiles files, SyncPolicy policy, Notice notice);

    const JobFiles& files() const { return files_; }

    // What is there now; nothing if there is no file. A text that is no JSON object is given a
    // second, then set aside as NAME.corrupt-TIME (and the last good copy, if there is one, is
    // what is returned). Throws Refusal for a file that is too large or too deep, or no file.
    std::optional<JobDocument> load();

    // Keeps space on the disk for a last version of so many bytes. Throws for want of it, as
    // `update` does.
    void reserve(std::size_t bytes);
    // Renews the reserve if the file has grown past it.
    void check_reserve(std::size_t for_us);

    // The text to write, made from the document that is there (or, if there is none, from null).
    // May be called more than once.
    using Edit = std::function<std::string(const JobDocument*)>;
    enum class Write { ordinary, last };
    // Throws std::system_error or Refusal, whose text tells the job file, or FailureBesideJobFile;
    // then the file is as it was. Once the new version is in
    // its place nothing is thrown any more.
    void update(const Edit& edit, Write write);

    // A dead writer's temporary files. One that holds what a host wrote, and that is nowhere else,
    // is moved aside as NAME.displaced-TIME.
    void clear_stale_files();
    // True if this object made the file that is there.
    bool made_the_file() const { return made_new_; }
    // Of the reserved space; -1 if there is none.
    int reserve_descriptor() const { return reserve_ ? reserve_->descriptor() : -1; }

private:
    struct Found {
        std::optional<FileStamp> stamp;  // nothing: there is no file
        std::optional<JobDocument> document;
    };
    Found find();
    // Waits until the text under `path` is whole; a document only if it became so.
    Found wait_until_whole(const std::string& path, FileContents contents);
    // Out of the way, under a new name, never over another file. "" if it has gone by itself.
    std::string move_aside(const std::string& path, const std::string& kind);
    void set_aside_torn(const std::string& path);
    void clear_stale_file(const std::string& path);

    std::unique_ptr<StagedFile> stage(Write write, const Found& base);
    bool arrive(StagedFile& staged, Found& base, const std::string& text);
    bool look_at_displaced(std::unique_ptr<StagedFile> staged, Found& base,
                           const std::string& expected);

    JobFiles files_;
    SyncPolicy policy_;
    Notice notice_;
    std::unique_ptr<StagedFile> reserve_;
    std::size_t reserved_ = 0;
    std::unique_ptr<StagedFile> displaced_;  // what a write of ours displaced, until it is merged
    std::optional<FileStamp> last_written_;
    std::optional<std::string> last_good_;  // as it was last written
    bool was_there_ = false;                // somebody else's file
    bool made_new_ = false;
};

}  // namespace jobshim
