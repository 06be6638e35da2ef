// Files that are replaced whole: a reader never sees half of one.
//
// Caveats: only the holder of the job's writer lock may write: temporary files have fixed names, so
// that the lock holder can find a dead writer's stale files without searching the directory. Only
// where somebody else has put something of that name there does a file get a random one.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/directory.hpp"

namespace jobshim {

// A file that is written under a temporary name and then moved into place. It is created with
// O_EXCL, and removed unless it is committed.
class StagedFile {
public:
    // First removes a dead writer's stale file of the same name; if it cannot be removed, the name
    // gets a random suffix. The file gets the mode and owner of `like`, or 0600 without it, and
    // these extended attributes. Throws if these cannot be set.
    StagedFile(Directory directory, std::string name, const std::optional<FileStamp>& like,
               const ExtendedAttributes& attributes = {});
    ~StagedFile();
    StagedFile(StagedFile&& other) noexcept;
    StagedFile& operator=(StagedFile&& other) = delete;
    StagedFile(const StagedFile&) = delete;
    StagedFile& operator=(const StagedFile&) = delete;

    // Reserves disk space without changing the size; what was reserved before stays. False if the
    // file system cannot; throws on any other failure, such as too little space.
    bool reserve(off_t bytes);
    // Gives back what the text does not need of the reserved space.
    void give_back();
    void become_like(const std::optional<FileStamp>& like, const ExtendedAttributes& attributes);
    // In place of what was written before.
    void write(std::string_view text);
    void flush();

    enum class Commit {
        in_place,   // and nothing is left under our name
        exchanged,  // in place; the old file is now under our name, and stays until `remove`
        target_exists,
        target_missing,
    };
    // Never replaces a file.
    Commit commit_as_new(const std::string& target);
    // Only replaces a file. Where the file system cannot exchange two files, this is a plain rename
    // (in_place).
    Commit commit_by_exchange(const Directory& there, const std::string& target);
    Commit commit_by_exchange(const std::string& target) {
        return commit_by_exchange(directory_, target);
    }

    // Replaces a file in this directory, if there is one.
    void replace(const std::string& target);

    const std::string& name() const { return name_; }
    FileStamp stamp() const;
    int descriptor() const { return fd_.get(); }
    void remove();  // removes whatever is under our name
    // False if it was committed, or if somebody has removed it.
    bool is_still_staged() const;

private:
    std::string path() const { return directory_.path_of(name_); }

    Directory directory_;
    std::string name_;
    UniqueFd fd_;
    FileStamp stamp_;
    ExtendedAttributes attributes_;  // those that it was given
    std::size_t written_ = 0;
    bool has_reserve_ = false;
    bool ours_ = true;  // the destructor must remove name_
};

}  // namespace jobshim
