// The heartbeat file (SPEC section 3): a lock that dies with the shim, a time of last beat, and
// three lines of history.
//
// Caveats: a POSIX lock is lost when its process closes *any* descriptor of the file. So a process
// that holds one never opens the path a second time: the shim reads through its own descriptor, a
// settler probes through its SettlerLock. The locks are not inherited by a forked child, which may
// write to and close the descriptor freely.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/atomic_file.hpp"
#include "common/unique_fd.hpp"
#include "common/verdict.hpp"

namespace jobshim {

// What a reader sees. Looking changes nothing.
struct Probe {
    LifeLock lock = LifeLock::no_file;
    std::string text;  // "" if it cannot be read
    // Of the last beat, wall time; nothing while the file is blank, for no shim has beaten yet.
    std::optional<std::int64_t> mtime_ns;
    std::optional<std::uint32_t> owner;  // uid of the file's
    std::string obstacle;                // why the lock could not be looked at
};
Probe probe_heartbeat(const std::string& path);

// A descriptor, and which file it is: a name that leads elsewhere is told by one look at the name.
struct HeartbeatFile {
    UniqueFd fd;
    dev_t device;
    ino_t inode;
};

// Both bytes, held by a shim for its whole life.
class HeartbeatHold {
public:
    // Waits up to `patience` for a reader that is settling. Throws Refusal if the job is
    // supervised already, or the file is not ours; std::system_error if it cannot be made.
    static HeartbeatHold acquire(const std::string& path, std::chrono::milliseconds patience);

    HeartbeatHold(HeartbeatHold&&) noexcept = default;
    HeartbeatHold& operator=(HeartbeatHold&&) noexcept = default;

    // False on a file system without locks; then only identities tell who lives.
    bool locked() const { return locked_; }
    // What the run before left.
    std::string text() const;
    // As a reader would see it if this hold were not there: a free lock.
    Probe probe() const;
    // Empties the file, writes the first line and keeps `space` bytes for what is to come.
    void begin(std::string_view first_line, std::size_t space);
    // Takes `begin` back, if the job cannot be started: the file is as the run before left it, or
    // gone if that left none. The locks go.
    void abandon(std::string_view former_text) noexcept;
    // Throws std::system_error.
    void append(std::string_view line);
    // Takes the locks again, which are lost once this process has closed another descriptor of the
    // file; one of the inherited may be such. Nothing happens to those that are held.
    void lock_again() noexcept;
    // Touches the file; makes and locks a new one if it was removed or replaced. Never throws: a
    // beat that fails is a beat that is missed.
    void beat() noexcept;
    // False if another shim holds the job's heartbeat file, for ours was removed or replaced. Waits
    // up to `patience` for a reader that is settling.
    bool holds_the_job(std::chrono::milliseconds patience) noexcept;
    // For the worker's line, which its child writes. Belongs to this object.
    int descriptor() const { return file_.fd.get(); }

    enum class Leave { file, nothing };
    // The locks go with the descriptor.
    void release(Leave leave) noexcept;

private:
    HeartbeatHold(std::string path, HeartbeatFile file, bool locked);
    enum class Remade { yes, not_in_place, settler_has_it, shim_has_it };
    Remade remake();

    std::string path_;
    HeartbeatFile file_;
    bool locked_ = true;
    std::size_t space_ = 0;
};

// Byte 1, taken by a reader for the moment of settling.
class SettlerLock {
public:
    // Nothing if another settler or a shim holds it (or a shim lives). The file is made if it is
    // missing. Throws std::system_error where it may not be.
    static std::optional<SettlerLock> try_take(const std::string& path);

    // As probe_heartbeat, through the descriptor that holds the lock.
    Probe probe() const;
    // The path still leads to the file that is locked.
    bool still_in_place() const;
    // Where there was no heartbeat file, taking the lock has made one. A shim that has opened it
    // meanwhile and waits for us finds it gone when it gets the lock, and makes its own.
    void remove_if_empty() const noexcept;

private:
    SettlerLock(std::string path, HeartbeatFile file);

    std::string path_;
    HeartbeatFile file_;
};

}  // namespace jobshim
