#include "common/heartbeat.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "common/clocks.hpp"
#include "common/heartbeat_lines.hpp"
#include "common/posix_error.hpp"
#include "common/system_calls.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;

struct Bytes {
    off_t first;
    off_t count;
};
constexpr Bytes liveness_byte{0, 1};
constexpr Bytes writer_byte{1, 1};
constexpr Bytes both_bytes{0, 2};
constexpr std::size_t text_limit = std::size_t{4} << 20U;

struct flock byte_lock(short type, Bytes bytes) {
    struct flock lock {};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = bytes.first;
    lock.l_len = bytes.count;
    return lock;
}

enum class Locked { yes, busy, no_locks_here };

// Locks all of the bytes or none.
Locked try_lock_bytes(int fd, Bytes bytes, const std::string& path) {
    struct flock lock = byte_lock(F_WRLCK, bytes);
    int result = 0;
    do {
        result = ::fcntl(fd, F_SETLK, &lock);
    } while (result != 0 && errno == EINTR);
    if (result == 0) return Locked::yes;
    if (errno == EAGAIN || errno == EACCES) return Locked::busy;
    if (errno == ENOLCK || errno == ENOSYS || errno == EOPNOTSUPP || errno == EINVAL)
        return Locked::no_locks_here;
    throw_errno("lock " + path);
}

// For messages only: no decision depends on it.
std::string describe_holder(int fd, Bytes bytes) {
    struct flock lock = byte_lock(F_WRLCK, bytes);
    if (::fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK && lock.l_pid > 0)
        return " by pid " + std::to_string(lock.l_pid);
    return "";
}

void refuse_foreign(int fd, const std::string& path) {
    const std::string head = read_from(fd, 0, heartbeat_magic.size(), path);
    if (head == heartbeat_magic.substr(0, head.size())) return;
    // A power cut may leave a file with its size, but all of it zeros.
    const std::string text = read_from(fd, 0, text_limit, path);
    if (text.find_first_not_of('\0') != std::string::npos || text.size() == text_limit)
        throw Refusal(path + ": exists and is not a jobshim heartbeat file");
}

// Throws Refusal for a file that is not a heartbeat file.
HeartbeatFile open_or_create(const std::string& path, int more_flags) {
    UniqueFd fd(::open(
        path.c_str(),
        O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | more_flags, 0600));
    if (!fd) throw_errno("open " + path);
    struct stat info {};
    if (::fstat(fd.get(), &info) != 0) throw_errno("stat " + path);
    if (!S_ISREG(info.st_mode)) throw Refusal(path + ": not a regular file");
    refuse_foreign(fd.get(), path);
    return {std::move(fd), info.st_dev, info.st_ino};
}

bool leads_to(const std::string& path, const HeartbeatFile& file) {
    const auto there = stamp_at(path);
    return there && there->device == file.device && there->inode == file.inode;
}

Probe probe_descriptor(int fd, const std::string& path) {
    Probe probe;
    struct flock lock = byte_lock(F_WRLCK, liveness_byte);
    if (::fcntl(fd, F_GETLK, &lock) != 0) {
        probe.lock = LivenessLock::unavailable;
        probe.obstacle = "Locks cannot be queried (" + errno_text(errno) + ")";
    } else {
        probe.lock = lock.l_type == F_UNLCK ? LivenessLock::free : LivenessLock::held;
    }
    struct stat info {};
    if (::fstat(fd, &info) == 0) {
        if (info.st_size > 0) probe.mtime_ns = ns_of(mtime_of(info));
        probe.owner = info.st_uid;
    }
    try {
        probe.text = read_from(fd, 0, text_limit, path);
    } catch (const std::system_error&) {
        probe.text.clear();  // an unreadable history counts as none; the lock was still seen
    }
    return probe;
}

}  // namespace

Probe probe_heartbeat(const std::string& path) {
    const UniqueFd fd(
        ::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (fd) return probe_descriptor(fd.get(), path);
    Probe probe;
    if (errno == ENOENT) return probe;
    probe.lock = LivenessLock::unavailable;
    probe.obstacle = "Its heartbeat file cannot be read (" + errno_text(errno) + ")";
    struct stat info {};
    if (::lstat(path.c_str(), &info) == 0) probe.mtime_ns = ns_of(mtime_of(info));
    return probe;
}

HeartbeatHold::HeartbeatHold(std::string path, HeartbeatFile file, bool locked)
    : path_(std::move(path)), file_(std::move(file)), locked_(locked) {}

HeartbeatHold HeartbeatHold::acquire(const std::string& path, milliseconds patience) {
    const auto deadline = monotonic_now() + patience;
    for (;;) {
        HeartbeatFile file = open_or_create(path, 0);
        const int fd = file.fd.get();
        const Locked locked = try_lock_bytes(fd, both_bytes, path);
        if (locked == Locked::busy && try_lock_bytes(fd, liveness_byte, path) == Locked::busy)
            throw JobIsTaken("this job is already supervised" + describe_holder(fd, liveness_byte) +
                             " (" + path + " is locked)");
        // If the file was removed or replaced between open and lock, two shims would each lock a
        // file of their own.
        if (!leads_to(path, file)) continue;
        if (locked == Locked::busy) {
            while (try_lock_bytes(fd, writer_byte, path) == Locked::busy) {
                if (monotonic_now() >= deadline)
                    throw JobIsTaken("this job is being settled" +
                                     describe_holder(fd, writer_byte) + " (" + path +
                                     " is locked)");
                // Polled: a blocking lock request could not be given up at the deadline.
                pause_for(milliseconds(2));
            }
            if (!leads_to(path, file)) continue;
        }
        return {path, std::move(file), locked != Locked::no_locks_here};
    }
}

std::string HeartbeatHold::text() const { return read_from(file_.fd.get(), 0, text_limit, path_); }

Probe HeartbeatHold::probe() const {
    Probe probe = probe_descriptor(file_.fd.get(), path_);  // F_GETLK ignores our own lock
    probe.lock = locked_ ? LivenessLock::free : LivenessLock::unavailable;
    return probe;
}

void HeartbeatHold::abandon(std::string_view former_text) noexcept {
    try {
        if (former_text.empty()) {
            release(Leave::nothing);
            return;
        }
        // If `begin` was not called there is nothing to undo, and no reason to take the risk: death
        // or a full disk between the two calls would cost the previous run its recorded end.
        if (text() != former_text && ::ftruncate(file_.fd.get(), 0) == 0) append(former_text);
    } catch (const std::exception&) {
        // The failure that led here is the one to report.
    }
    file_.fd.reset();
}

void HeartbeatHold::begin(std::string_view first_line, std::size_t space) {
    // Truncate only a file with content: on ext4 the call costs a journal transaction.
    if (stamp_of(file_.fd.get(), path_).size > 0 && ::ftruncate(file_.fd.get(), 0) != 0)
        throw_errno("empty " + path_);
    if (::fcntl(file_.fd.get(), F_SETFL, O_APPEND) != 0) throw_errno("set up " + path_);
    space_ = first_line.size() + space;
    if (!reserve_space(file_.fd.get(), static_cast<off_t>(space_)) &&
        (errno == ENOSPC || errno == EDQUOT || errno == EIO || errno == EFBIG))
        throw_errno("reserve space in " + path_);
    write_all(file_.fd.get(), first_line, path_);
}

void HeartbeatHold::append(std::string_view line) { write_all(file_.fd.get(), line, path_); }

void HeartbeatHold::lock_again() noexcept {
    if (!locked_) return;
    try {
        if (try_lock_bytes(file_.fd.get(), both_bytes, path_) != Locked::busy) return;
        // Whichever process holds one of them now will look at this process next, see that it is
        // alive, and let go.
        try_lock_bytes(file_.fd.get(), liveness_byte, path_);
        try_lock_bytes(file_.fd.get(), writer_byte, path_);
    } catch (const std::exception&) {
        return;  // as in beat(): the next beat tries again
    }
}

void HeartbeatHold::beat() noexcept {
    lock_again();
    ::futimens(file_.fd.get(), nullptr);
    try {
        if (!leads_to(path_, file_)) recreate();
    } catch (const std::exception&) {
        // The next beat tries again; until then readers rely on the shim's identity.
        return;
    }
}

bool HeartbeatHold::holds_the_job(milliseconds patience) noexcept {
    try {
        const auto deadline = monotonic_now() + patience;
        while (locked_ && !leads_to(path_, file_)) {
            const Recreated recreated = recreate();
            if (recreated == Recreated::shim_has_it) return false;
            if (recreated == Recreated::settler_has_it) {
                if (monotonic_now() >= deadline) return false;
                pause_for(milliseconds(2));
            }
        }
    } catch (const std::exception&) {
        return true;  // nobody else can hold a file that cannot be accessed
    }
    return true;
}

HeartbeatHold::Recreated HeartbeatHold::recreate() {
    // Copy the history from the old descriptor: its file still exists, without a name.
    const std::string history = text();
    HeartbeatFile file = open_or_create(path_, O_APPEND);
    const int fd = file.fd.get();
    if (locked_ && try_lock_bytes(fd, liveness_byte, path_) != Locked::yes)
        return Recreated::shim_has_it;
    // A settler will see that the shim is alive, and let go.
    if (locked_ && try_lock_bytes(fd, writer_byte, path_) != Locked::yes)
        return Recreated::settler_has_it;
    if (!leads_to(path_, file)) return Recreated::not_in_place;
    if (::ftruncate(fd, 0) != 0) throw_errno("empty " + path_);
    reserve_space(fd, static_cast<off_t>(space_));
    write_all(fd, history, path_);
    // Closing the old descriptor drops no lock on the new file, which is a different inode.
    file_ = std::move(file);
    return Recreated::yes;
}

void HeartbeatHold::release(Leave leave) noexcept {
    try {
        if (leave == Leave::nothing && leads_to(path_, file_)) ::unlink(path_.c_str());
    } catch (const std::exception&) {
        // The job is over all the same, and a stale file is harmless.
    }
    file_.fd.reset();
}

SettlerLock::SettlerLock(std::string path, HeartbeatFile file)
    : path_(std::move(path)), file_(std::move(file)) {}

std::optional<SettlerLock> SettlerLock::try_take(const std::string& path) {
    for (int attempt = 0; attempt < 100; ++attempt) {
        HeartbeatFile file = open_or_create(path, O_APPEND);
        if (try_lock_bytes(file.fd.get(), writer_byte, path) == Locked::busy) return std::nullopt;
        if (leads_to(path, file)) return SettlerLock(path, std::move(file));
    }
    return std::nullopt;
}

Probe SettlerLock::probe() const { return probe_descriptor(file_.fd.get(), path_); }

bool SettlerLock::still_in_place() const { return leads_to(path_, file_); }

void SettlerLock::remove_if_empty() const noexcept {
    try {
        if (still_in_place() && stamp_of(file_.fd.get(), path_).size == 0) ::unlink(path_.c_str());
    } catch (const std::exception&) {
        // The job is settled all the same, and a stale file is harmless.
    }
}

}  // namespace jobshim
