#pragma once

// Small file systems for tests of what can go wrong with them: tmpfs, or ext4 and xfs on a disk in
// memory (a loop device over an unnamed file). They can be filled to the last block and inode, and
// their power can be cut.
//
// Caveats
//  - Mounts are made in a mount namespace that this test process enters for good and that
//    everything it starts shares; a loop device frees its memory by itself when its last user is
//    gone. So nothing stays behind, even if the process is killed.
//  - Needs root; check why_no_volume() first.

#include <cstddef>
#include <memory>
#include <string>

#include "integration/support.hpp"

namespace harness {

/// Why a volume of this type ("tmpfs", "ext4", "xfs") is impossible here; empty if it is not.
std::string why_no_volume(const std::string& type);
/// True if it is; says so.
bool missing(const std::string& type);

/// A block device of this size, all zeros, in memory.
class LoopDevice {
public:
    explicit LoopDevice(std::size_t bytes);
    const std::string& path() const { return path_; }

private:
    std::string path_;
    Fd device_;
};

/// Mounts something over `where`, a directory or a file, until this is destroyed.
class Mount {
public:
    Mount(const std::string& source, fs::path where, const std::string& type,
          unsigned long flags = 0, const std::string& options = {});
    ~Mount();
    Mount(const Mount&) = delete;
    Mount& operator=(const Mount&) = delete;
    /// Waits while it is busy; fails the test if it stays busy.
    void unmount();
    const fs::path& path() const { return where_; }

private:
    fs::path where_;
    bool mounted_ = true;
};

/// Mounts a read-only view of `where` over itself: files already open stay writable, files opened
/// by name are not, as on a mount that an administrator made read-only.
std::unique_ptr<Mount> read_only_over(const fs::path& where);

/// While this exists, nothing can be created, renamed or removed in a directory, not even by root
/// and not even by a program that has it open; files that are open can still be written.
class Immutable {
public:
    explicit Immutable(fs::path directory);
    ~Immutable();
    Immutable(const Immutable&) = delete;
    Immutable& operator=(const Immutable&) = delete;
    /// False if the file system has no such attribute.
    bool is_set() const { return is_set_; }

private:
    fs::path directory_;
    bool is_set_ = false;
};

struct VolumeSize {
    std::size_t bytes = 0;   ///< 0: the smallest sensible size for the type
    std::size_t inodes = 0;  ///< 0: the file system's default; xfs has no limit to set
};

/// A new file system, mounted on a directory that is created for it.
class Volume {
public:
    Volume(const fs::path& where, std::string type, VolumeSize size = {});
    ~Volume();
    Volume(const Volume&) = delete;
    Volume& operator=(const Volume&) = delete;

    const fs::path& path() const { return where_; }
    const std::string& device() const { return device_->path(); }  ///< not for a tmpfs
    void mount(const std::string& options = {});
    void unmount();
    /// Flushes everything written so far to the disk.
    void sync() const;
    /// Anything not flushed is lost at the next unmount; until then all writes fail. Not for a
    /// tmpfs.
    void cut_power() const;

private:
    fs::path where_;
    std::string type_;
    std::unique_ptr<LoopDevice> device_;
    std::unique_ptr<Mount> mount_;
};

/// Fills a file system to the last block, with `file`.
void use_up_space(const fs::path& file);
/// Uses up its inodes, with files in `directory`, which is created.
void use_up_inodes(const fs::path& directory);

}  // namespace harness
