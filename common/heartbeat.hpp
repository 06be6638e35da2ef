// The heartbeat file (docs/record.md): a lock that dies with the shim, the time of the last beat,
// and three lines of history.
//
// Only write locks count: whoever may read a file can hold a read lock on it. A file on which
// others hold such locks is replaced by a copy before it is locked, and so is root's copy of a
// user's file.
//
// Caveats: a process loses its POSIX locks on a file when it closes *any* descriptor of that file.
// So a process that holds one never opens the file a second time: the shim reads through its own
// descriptor, and a settler probes through its SettlerLock. A forked child does not inherit the
// locks, so it may write to the descriptor and close it freely.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/job_files.hpp"
#include "common/unique_fd.hpp"
#include "common/verdict.hpp"

namespace jobshim {

// What a reader sees. Probing changes nothing.
struct Probe {
    LivenessLock lock = LivenessLock::no_file;
    std::string text;  // "" if it cannot be read
    // Wall time of the last beat; nothing while the file is empty, because no shim has beaten yet.
    std::optional<std::int64_t> mtime_ns;
    std::optional<std::uint32_t> owner;  // uid of the file's owner
    int lock_holder = 0;                 // its pid as seen from here; 0 if that cannot be known
    std::string obstacle;                // why the lock could not be queried
};
// A file that does not count (job_files.hpp) is no witness: its lock is unavailable, and says why.
Probe probe_heartbeat(const JobFiles& files);

// An open heartbeat file, and the identity that shows whether its name still leads to it.
struct HeartbeatFile {
    UniqueFd fd;
    FileStamp stamp;  // as it was when it was opened
};

// The lock on both bytes, which a shim holds for its whole life.
class HeartbeatHold {
public:
    // Waits up to `patience` for a reader that is settling. Throws JobIsTaken if the job is
    // supervised or still being settled, Refusal if the file is not ours, std::system_error if it
    // cannot be created.
    static HeartbeatHold acquire(const JobFiles& files, std::chrono::milliseconds patience);

    HeartbeatHold(HeartbeatHold&&) noexcept = default;
    HeartbeatHold& operator=(HeartbeatHold&&) noexcept = default;

    // False on a file system without locks; then only process identities show what is alive.
    bool locked() const { return locked_; }
    // The text that the previous run left.
    std::string text() const;
    // What a reader would see without this hold: a free lock.
    Probe probe() const;
    // Empties the file, writes the first line and reserves `space` bytes for later lines.
    void begin(std::string_view first_line, std::size_t space);
    // Undoes `begin` if the job cannot be started: restores what the previous run left, or removes
    // the file if that was nothing. Releases the locks.
    void abandon(std::string_view former_text) noexcept;
    // Throws std::system_error.
    void append(std::string_view line);
    // Writes over what is there. A failure is of no consequence.
    void overwrite(off_t at, std::string_view line) noexcept;
    // Takes the locks again. They are lost when this process closes another descriptor of the file,
    // and an inherited descriptor may be one. Locks that are still held are unaffected.
    void lock_again() noexcept;
    // Touches the file; creates and locks a new one if it was removed or replaced. Never throws: a
    // beat that fails is only a missed beat.
    void beat() noexcept;
    // False if our heartbeat file was removed or replaced and another shim now holds the job's, or
    // a settler does for longer than `patience`.
    bool holds_the_job(std::chrono::milliseconds patience) noexcept;
    // For the worker's line, which the forked child writes. This object owns the descriptor.
    int descriptor() const { return file_.fd.get(); }

    enum class Leave { file, nothing };
    // Closes the descriptor, and so releases the locks.
    void release(Leave leave) noexcept;

private:
    HeartbeatHold(JobFiles files, HeartbeatFile file, bool locked);
    enum class Recreated { yes, not_in_place, settler_has_it, shim_has_it };
    Recreated recreate();

    JobFiles files_;
    HeartbeatFile file_;
    bool locked_ = true;
    std::size_t space_ = 0;
};

// The lock on byte 1, which a reader holds while it settles.
class SettlerLock {
public:
    // Nothing if another settler or a shim holds it. Creates the file if it is missing; throws
    // std::system_error if it cannot.
    static std::optional<SettlerLock> try_take(const JobFiles& files);

    // Like probe_heartbeat, but through the descriptor that holds the lock.
    Probe probe() const;
    // True if the name still leads to the locked file.
    bool still_in_place() const;
    // Taking the lock creates a missing heartbeat file; this removes it again. A shim that opened
    // it meanwhile and waits for us will find it gone when it gets the lock, and create its own.
    void remove_if_empty() const noexcept;

private:
    SettlerLock(JobFiles files, HeartbeatFile file);

    JobFiles files_;
    HeartbeatFile file_;
};

}  // namespace jobshim
