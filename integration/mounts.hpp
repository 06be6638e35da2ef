#pragma once

// Small file systems for tests of what goes wrong with one: tmpfs, or ext4 and xfs on a disk of
// memory (a loop device on a file without a name). They can be filled to the last block and inode,
// and their power can be cut.
//
// Caveats
//  - Mounts are made in a mount namespace of this test process, which it enters for good and which
//    all that it starts share; a loop device lets go of its memory by itself with its last user.
//    So nothing stays behind, even if the process is killed.
//  - Needs root; ask why_no_volume() first.

#include <cstddef>
#include <memory>
#include <string>

#include "integration/support.hpp"

namespace harness {

/// Why there can be none of this type ("tmpfs", "ext4", "xfs") here; empty if there can.
std::string why_no_volume(const std::string& type);

/// A block device of so many bytes, all zero, in memory.
class LoopDevice {
public:
    explicit LoopDevice(std::size_t bytes);
    const std::string& path() const { return path_; }

private:
    std::string path_;
    Fd device_;
};

/// Something is mounted over `where`, a folder or a file, until this goes.
class Mount {
public:
    Mount(const std::string& source, fs::path where, const std::string& type,
          unsigned long flags = 0, const std::string& options = {});
    ~Mount();
    Mount(const Mount&) = delete;
    Mount& operator=(const Mount&) = delete;
    /// Waits while it is busy; fails the test if it stays so.
    void unmount();
    const fs::path& path() const { return where_; }

private:
    fs::path where_;
    bool mounted_ = true;
};

/// Over `where`, a read-only view of itself: what is open stays writable, what is opened by name
/// does not, as on a mount that an administrator made read-only.
std::unique_ptr<Mount> read_only_over(const fs::path& where);

struct VolumeSize {
    std::size_t bytes = 0;   ///< 0: the least that is sensible for the type
    std::size_t inodes = 0;  ///< 0: the file system's own choice; xfs has no limit to set
};

/// A new file system, mounted at a folder that is made for it.
class Volume {
public:
    Volume(const fs::path& where, std::string type, VolumeSize size = {});
    ~Volume();
    Volume(const Volume&) = delete;
    Volume& operator=(const Volume&) = delete;

    const fs::path& path() const { return where_; }
    const std::string& device() const { return device_->path(); }  ///< not of a tmpfs
    void mount(const std::string& options = {});
    void unmount();
    /// All that was written so far reaches the disk.
    void sync() const;
    /// What nobody flushed is gone with the next unmount; all writes fail until then. Not a tmpfs.
    void cut_power() const;

private:
    fs::path where_;
    std::string type_;
    std::unique_ptr<LoopDevice> device_;
    std::unique_ptr<Mount> mount_;
};

/// Uses up a file system's space to the last block, into `file`.
void use_up_space(const fs::path& file);
/// Uses up its inodes, by files in `folder`, which is made.
void use_up_inodes(const fs::path& folder);

}  // namespace harness
