#include "common/heartbeat.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "common/atomic_file.hpp"
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
// Whoever locks the copy again in time would keep us at it.
constexpr int most_replacements = 3;
constexpr std::size_t text_limit = std::size_t{4} << 20U;
constexpr std::size_t most_read_by_others = std::size_t{1} << 20U;

std::string path_of(const JobFiles& files) { return files.path_of(files.heartbeat); }

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
Locked try_lock_bytes(int fd, Bytes bytes, const JobFiles& files) {
    struct flock lock = byte_lock(F_WRLCK, bytes);
    int result = 0;
    do {
        result = ::fcntl(fd, F_SETLK, &lock);
    } while (result != 0 && errno == EINTR);
    if (result == 0) return Locked::yes;
    if (errno == EAGAIN || errno == EACCES) return Locked::busy;
    if (errno == ENOLCK || errno == ENOSYS || errno == EOPNOTSUPP || errno == EINVAL)
        return Locked::no_locks_here;
    throw_errno("lock " + path_of(files));
}

// Who holds a write lock on one of the bytes: F_RDLCK, because a read lock stands in nobody's way
// here. l_type is F_UNLCK if nobody does. -1, with errno, if that cannot be queried.
int query_lock(int fd, Bytes bytes, struct flock& lock) {
    lock = byte_lock(F_RDLCK, bytes);
    return ::fcntl(fd, F_GETLK, &lock);
}

// For messages only: no decision depends on it.
std::string describe_holder(int fd, Bytes bytes) {
    struct flock lock {};
    if (query_lock(fd, bytes, lock) == 0 && lock.l_type != F_UNLCK && lock.l_pid > 0)
        return " by pid " + std::to_string(lock.l_pid);
    return "";
}

void refuse_foreign_owner(const FileStamp& stamp, const JobFiles& files) {
    if (!counts_for(files.owner(), stamp.owner) && stamp.owner != files.parties.actor)
        throw Refusal(path_of(files) + ": belongs to uid " + std::to_string(stamp.owner) +
                      ", and the job to uid " + std::to_string(files.owner()));
}

void refuse_foreign(const HeartbeatFile& file, const JobFiles& files) {
    const std::string path = path_of(files);
    if (!file.stamp.is_regular) throw Refusal(path + ": not a regular file");
    refuse_foreign_owner(file.stamp, files);
    if (file.stamp.names > 1) throw Refusal(path + ": has another name as well (a hard link)");
    const std::string head = read_from(file.fd.get(), 0, heartbeat_magic.size(), path);
    if (head == heartbeat_magic.substr(0, head.size())) return;
    // A power cut may leave a file with its size, but all of it zeros.
    const std::string text = read_from(file.fd.get(), 0, text_limit, path);
    if (text.find_first_not_of('\0') != std::string::npos || text.size() == text_limit)
        throw Refusal(path + ": exists and is not a jobshim heartbeat file");
}

bool leads_to(const JobFiles& files, const HeartbeatFile& file) {
    const auto there = files.directory.stamp_at(files.heartbeat);
    return there && there->same_file(file.stamp);
}

// Throws Refusal for a file that is not a heartbeat file.
HeartbeatFile open_or_create(const JobFiles& files, int more_flags) {
    UniqueFd fd = files.directory.open_file(files.heartbeat, O_RDWR | O_CREAT | more_flags);
    const std::string path = path_of(files);
    if (!fd) {
        const int error = errno;
        if (const auto there = files.directory.stamp_if_known(files.heartbeat))
            refuse_foreign_owner(*there, files);
        throw_errno("open " + path, error);
    }
    HeartbeatFile file{std::move(fd), {}};
    file.stamp = stamp_of(file.fd.get(), path);
    refuse_foreign(file, files);
    // A umask may have taken its owner's rights, and with them those of every reader.
    if (file.stamp.size == 0 && (file.stamp.mode & 0600U) != 0600)
        (void)files.directory.change_mode(file.fd.get(), 0600);
    return file;
}

// Puts a copy that only we can open in place of a heartbeat file of our own that nobody holds a
// write lock on, or that does not count because others may write to it: that is an empty one.
// False for a file of another's: what another wrote must not become our word.
bool replace_by_our_own(const JobFiles& files, const HeartbeatFile& file) {
    const auto& identity = files.directory.identity();
    if (file.stamp.owner != (identity ? identity->user : files.parties.actor)) return false;
    StagedFile ours(files.directory, own_name_beside(files.heartbeat, "own"), std::nullopt);
    if (files.is_evidence(file.stamp))
        ours.write(read_from(file.fd.get(), 0, text_limit, path_of(files)));
    // Or somebody else has just done the same.
    if (leads_to(files, file)) ours.replace(files.heartbeat);
    return true;
}

// True if only read locks are in the way.
bool is_only_read(int fd, Bytes bytes) {
    struct flock lock {};
    return query_lock(fd, bytes, lock) == 0 && lock.l_type == F_UNLCK;
}

// What was reserved for lines that will not be written any more.
void give_back_space(int fd, const std::string& path) {
    (void)!::ftruncate(fd, stamp_of(fd, path).size);
}

Probe probe_descriptor(int fd, const JobFiles& files) {
    Probe probe;
    struct flock lock {};
    if (query_lock(fd, liveness_byte, lock) != 0) {
        probe.lock = LivenessLock::unavailable;
        probe.obstacle = "Locks cannot be queried (" + errno_text(errno) + ")";
    } else if (lock.l_type == F_UNLCK) {
        probe.lock = LivenessLock::free;
    } else {
        probe.lock = LivenessLock::held;
        // 0: in another pid namespace. -1: not by a process, but by an open file description.
        probe.lock_holder = std::max(0, static_cast<int>(lock.l_pid));
    }
    try {
        const std::string path = path_of(files);
        const FileStamp stamp = stamp_of(fd, path);
        if (stamp.size > 0) probe.mtime_ns = stamp.modified_ns;
        probe.owner = stamp.owner;
        if (!files.is_evidence(stamp)) {
            probe = {};
            probe.lock = LivenessLock::unavailable;
            probe.obstacle =
                "Its heartbeat file does not count (" +
                (!stamp.is_regular || stamp.names > 1 ? std::string("it is not a file of its own")
                 : files.counts(stamp)                ? std::string("others may write to it")
                                       : "it belongs to uid " + std::to_string(stamp.owner)) +
                ")";
            return probe;
        }
        probe.text = read_from(fd, 0, most_read_by_others, path);
    } catch (const std::system_error&) {
        probe.text.clear();  // an unreadable history counts as none; the lock was still seen
    }
    return probe;
}

}  // namespace

Probe probe_heartbeat(const JobFiles& files) {
    const UniqueFd fd = files.directory.open_file(files.heartbeat, O_RDONLY);
    if (fd) return probe_descriptor(fd.get(), files);
    Probe probe;
    if (errno == ENOENT) return probe;
    probe.lock = LivenessLock::unavailable;
    probe.obstacle = "Its heartbeat file cannot be read (" + errno_text(errno) + ")";
    const auto stamp = files.directory.stamp_if_known(files.heartbeat);
    if (stamp && files.is_evidence(*stamp)) probe.mtime_ns = stamp->modified_ns;
    return probe;
}

HeartbeatHold::HeartbeatHold(JobFiles files, HeartbeatFile file, bool locked)
    : files_(std::move(files)), file_(std::move(file)), locked_(locked) {}

HeartbeatHold HeartbeatHold::acquire(const JobFiles& files, milliseconds patience) {
    const auto deadline = monotonic_now() + patience;
    const std::string path = path_of(files);
    int replacements = 0;
    for (;;) {
        HeartbeatFile file = open_or_create(files, 0);
        const int fd = file.fd.get();
        const Locked locked = try_lock_bytes(fd, both_bytes, files);
        const bool is_in_the_way =
            locked == Locked::busy ? is_only_read(fd, both_bytes) : !files.is_evidence(file.stamp);
        if (is_in_the_way && replacements++ < most_replacements && replace_by_our_own(files, file))
            continue;
        if (locked == Locked::busy && try_lock_bytes(fd, liveness_byte, files) == Locked::busy)
            throw JobIsTaken("this job is already supervised" + describe_holder(fd, liveness_byte) +
                             " (" + path + " is locked)");
        // If the file was removed or replaced between open and lock, two shims would each lock a
        // file of their own.
        if (!leads_to(files, file)) continue;
        if (locked == Locked::busy) {
            while (try_lock_bytes(fd, writer_byte, files) == Locked::busy) {
                if (monotonic_now() >= deadline)
                    throw JobIsTaken("this job is being settled" +
                                     describe_holder(fd, writer_byte) + " (" + path +
                                     " is locked)");
                // Polled: a blocking lock request could not be given up at the deadline.
                pause_for(milliseconds(2));
            }
            if (!leads_to(files, file)) continue;
        }
        // Whoever may write to it could forge the job's history.
        if ((file.stamp.mode & 0077U) != 0) (void)files.directory.change_mode(fd, 0600);
        return {files, std::move(file), locked != Locked::no_locks_here};
    }
}

std::string HeartbeatHold::text() const {
    return read_from(file_.fd.get(), 0, text_limit, path_of(files_));
}

Probe HeartbeatHold::probe() const {
    Probe probe = probe_descriptor(file_.fd.get(), files_);  // F_GETLK ignores our own lock
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
    if (stamp_of(file_.fd.get(), path_of(files_)).size > 0 && ::ftruncate(file_.fd.get(), 0) != 0)
        throw_errno("empty " + path_of(files_));
    if (::fcntl(file_.fd.get(), F_SETFL, O_APPEND) != 0) throw_errno("set up " + path_of(files_));
    space_ = first_line.size() + space;
    if (!reserve_space(file_.fd.get(), static_cast<off_t>(space_)) &&
        (errno == ENOSPC || errno == EDQUOT || errno == EIO || errno == EFBIG))
        throw_errno("reserve space in " + path_of(files_));
    write_all(file_.fd.get(), first_line, path_of(files_));
}

void HeartbeatHold::append(std::string_view line) {
    write_all(file_.fd.get(), line, path_of(files_));
}

void HeartbeatHold::overwrite(off_t at, std::string_view line) noexcept {
    // With O_APPEND, Linux appends what pwrite(2) is told to write elsewhere.
    const int fd = file_.fd.get();
    if (::fcntl(fd, F_SETFL, 0) != 0) return;
    (void)!::pwrite(fd, line.data(), line.size(), at);
    (void)::fcntl(fd, F_SETFL, O_APPEND);
}

void HeartbeatHold::lock_again() noexcept {
    if (!locked_) return;
    try {
        if (try_lock_bytes(file_.fd.get(), both_bytes, files_) != Locked::busy) return;
        // Whichever process holds one of them now will look at this process next, see that it is
        // alive, and let go.
        try_lock_bytes(file_.fd.get(), liveness_byte, files_);
        try_lock_bytes(file_.fd.get(), writer_byte, files_);
    } catch (const std::exception&) {
        return;  // as in beat(): the next beat tries again
    }
}

void HeartbeatHold::beat() noexcept {
    lock_again();
    ::futimens(file_.fd.get(), nullptr);
    try {
        const auto there = files_.directory.stamp_at(files_.heartbeat);
        if (!there || !there->same_file(file_.stamp))
            recreate();
        else if (others_may_write(there->mode))
            (void)files_.directory.change_mode(file_.fd.get(), 0600);  // a chmod of everything here
    } catch (const std::exception&) {
        // The next beat tries again; until then readers rely on the shim's identity.
        return;
    }
}

bool HeartbeatHold::holds_the_job(milliseconds patience) noexcept {
    try {
        const auto deadline = monotonic_now() + patience;
        while (locked_ && !leads_to(files_, file_)) {
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
    HeartbeatFile file = open_or_create(files_, O_APPEND);
    const int fd = file.fd.get();
    if (locked_ && try_lock_bytes(fd, liveness_byte, files_) != Locked::yes)
        return Recreated::shim_has_it;
    // A settler will see that the shim is alive, and let go.
    if (locked_ && try_lock_bytes(fd, writer_byte, files_) != Locked::yes)
        return Recreated::settler_has_it;
    if (!leads_to(files_, file)) return Recreated::not_in_place;
    if (::ftruncate(fd, 0) != 0) throw_errno("empty " + path_of(files_));
    reserve_space(fd, static_cast<off_t>(space_));
    write_all(fd, history, path_of(files_));
    // Closing the old descriptor drops no lock on the new file, which is a different inode.
    file_ = std::move(file);
    return Recreated::yes;
}

void HeartbeatHold::release(Leave leave) noexcept {
    try {
        if (leave == Leave::nothing && leads_to(files_, file_))
            files_.directory.remove(files_.heartbeat);
        if (leave == Leave::file) give_back_space(file_.fd.get(), path_of(files_));
    } catch (const std::exception&) {
        // The job is over all the same, and a stale file is harmless.
    }
    file_.fd.reset();
}

SettlerLock::SettlerLock(JobFiles files, HeartbeatFile file)
    : files_(std::move(files)), file_(std::move(file)) {}

std::optional<SettlerLock> SettlerLock::try_take(const JobFiles& files) {
    for (int attempt = 0; attempt < 100; ++attempt) {
        HeartbeatFile file = open_or_create(files, O_APPEND);
        const Locked locked = try_lock_bytes(file.fd.get(), writer_byte, files);
        if (locked == Locked::busy) {
            if (!is_only_read(file.fd.get(), both_bytes) || !replace_by_our_own(files, file))
                return std::nullopt;
        } else if (!files.is_evidence(file.stamp) && file.stamp.size != 0 &&
                   replace_by_our_own(files, file)) {
            continue;  // what others may have written there is nobody's history
        } else if (leads_to(files, file)) {
            return SettlerLock(files, std::move(file));
        }
    }
    return std::nullopt;
}

Probe SettlerLock::probe() const { return probe_descriptor(file_.fd.get(), files_); }

bool SettlerLock::still_in_place() const { return leads_to(files_, file_); }

void SettlerLock::remove_if_empty() const noexcept {
    try {
        if (still_in_place() && stamp_of(file_.fd.get(), path_of(files_)).size == 0)
            files_.directory.remove(files_.heartbeat);
    } catch (const std::exception&) {
        // The job is settled all the same, and a stale file is harmless.
    }
}

}  // namespace jobshim
