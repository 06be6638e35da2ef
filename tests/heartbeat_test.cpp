// The two locks, the three lines and the beat, with real processes and real locks.
#include "common/heartbeat.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <iterator>

#include "common/clocks.hpp"
#include "common/heartbeat_lines.hpp"
#include "common/posix_error.hpp"
#include "tests/catch.hpp"
#include "tests/child.hpp"
#include "tests/temp_dir.hpp"

using namespace jobshim;
using std::chrono::milliseconds;

namespace {

const std::string first_line = std::string(heartbeat_magic) + "{}}\n";

// Holds the heartbeat file as a shim does, until the process dies.
void hold(const JobFiles& files, const std::function<void()>& ready) {
    HeartbeatHold held = HeartbeatHold::acquire(files, milliseconds(0));
    held.begin(first_line, 1000);
    ready();
    for (;;) ::pause();
}

}  // namespace

TEST_CASE("heartbeat: the lock means alive and ends with the process") {
    const TempDir dir;
    const JobFiles files = job_files_of(dir / "j.json");
    CHECK(probe_heartbeat(files).lock == LivenessLock::no_file);
    Child shim([&](auto ready) { hold(files, ready); });
    CHECK(probe_heartbeat(files).lock == LivenessLock::held);
    CHECK(probe_heartbeat(files).text == first_line);
    // A second shim is refused, and learns who holds the job.
    try {
        HeartbeatHold::acquire(files, milliseconds(0));
        FAIL("two shims held one job");
    } catch (const Refusal& refusal) {
        CHECK(std::string(refusal.what()).find("pid " + std::to_string(shim.pid())) !=
              std::string::npos);
    }
    CHECK_FALSE(SettlerLock::try_take(files));
    shim.make_zombie();  // killed but not reaped: its locks are gone all the same
    CHECK(probe_heartbeat(files).lock == LivenessLock::free);
    CHECK(SettlerLock::try_take(files));
}

TEST_CASE("heartbeat: probing changes nothing and drops no lock of another process") {
    const TempDir dir;
    const JobFiles files = job_files_of(dir / "j.json");
    const Child shim([&](auto ready) { hold(files, ready); });
    for (int i = 0; i < 100; ++i) REQUIRE(probe_heartbeat(files).lock == LivenessLock::held);
}

TEST_CASE("heartbeat: a settler keeps others out but is not a sign of life") {
    const TempDir dir;
    const JobFiles files = job_files_of(dir / "j.json");
    const Child settler([&](auto ready) {
        const auto lock = SettlerLock::try_take(files);
        ready();
        for (;;) ::pause();
    });
    CHECK(probe_heartbeat(files).lock == LivenessLock::free);
    CHECK_FALSE(SettlerLock::try_take(files));
    // A shim waits for the settler, but gives up eventually.
    const auto began = monotonic_now();
    CHECK_THROWS_AS(HeartbeatHold::acquire(files, milliseconds(30)), Refusal);
    CHECK(monotonic_now() - began >= milliseconds(30));
    // Its failure left nothing behind: byte 0 is free again.
    CHECK(probe_heartbeat(files).lock == LivenessLock::free);
}

TEST_CASE("heartbeat: a shim that starts while a settler is at work gets its turn") {
    const TempDir dir;
    const JobFiles files = job_files_of(dir / "j.json");
    Child settler([&](auto ready) {
        const auto lock = SettlerLock::try_take(files);
        ready();
        // Until the shim has locked byte 0.
        while (lock->probe().lock != LivenessLock::held) ::sched_yield();
        ::_exit(0);
    });
    CHECK_NOTHROW(HeartbeatHold::acquire(files, milliseconds(5000)));
}

TEST_CASE("heartbeat: a file removed under a live shim is recreated and locked at the next beat") {
    const TempDir dir;
    const JobFiles files = job_files_of(dir / "j.json");
    const std::string path = dir / "j.heartbeat";
    for (const bool replaced : {false, true}) {
        HeartbeatHold held = HeartbeatHold::acquire(files, milliseconds(0));
        held.begin(first_line, 1000);
        held.append("{\"worker\":{\"pid\":7}}\n");
        const std::string history = read_text(path);
        std::filesystem::remove(path);
        if (replaced) write_text(path, "");
        held.beat();
        // Another process has to probe: a process never conflicts with its own locks.
        const Child reader([&](auto ready) {
            const Probe probe = probe_heartbeat(files);
            if (probe.lock == LivenessLock::held && probe.text == history)
                write_text(dir / "seen", "yes");
            ready();
        });
        CHECK(read_text(dir / "seen") == "yes");
        std::filesystem::remove(dir / "seen");
        held.release(HeartbeatHold::Leave::nothing);
        CHECK_FALSE(std::filesystem::exists(path));
    }
}

TEST_CASE("heartbeat: a beat changes only the time of the file") {
    const TempDir dir;
    const JobFiles files = job_files_of(dir / "j.json");
    const std::string path = dir / "j.heartbeat";
    HeartbeatHold held = HeartbeatHold::acquire(files, milliseconds(0));
    held.begin(first_line, 1000);
    const timespec old[2] = {{1, 0}, {1, 0}};
    REQUIRE(::utimensat(AT_FDCWD, path.c_str(), old, 0) == 0);
    held.beat();
    struct stat info {};
    REQUIRE(::stat(path.c_str(), &info) == 0);
    CHECK(info.st_mtim.tv_sec > 1);
    CHECK(info.st_size == static_cast<off_t>(first_line.size()));
    CHECK(info.st_blocks * 512 >= 1000);  // space for the end is already allocated
}

// As a power cut may leave it. A new run of the job was refused for ever.
TEST_CASE("heartbeat: a file of zeros is taken like an empty one") {
    const TempDir dir;
    const JobFiles files = job_files_of(dir / "j.json");
    const std::string path = dir / "j.heartbeat";
    write_text(path, std::string(400, '\0'));
    CHECK_NOTHROW(SettlerLock::try_take(files));
    HeartbeatHold held = HeartbeatHold::acquire(files, milliseconds(0));
    held.begin(first_line, 1000);
    CHECK(read_text(path) == first_line);
}

TEST_CASE("heartbeat: files that are not ours are left alone") {
    const TempDir dir;
    const JobFiles files = job_files_of(dir / "j.json");
    const std::string path = dir / "j.heartbeat";
    for (const std::string& foreign : {std::string("notes\n"), std::string("{\"other\":1}\n"),
                                       std::string("{"), std::string(400, '\0') + "notes\n"}) {
        write_text(path, foreign);
        if (heartbeat_magic.starts_with(foreign)) {  // torn at the first byte: ours
            CHECK_NOTHROW(HeartbeatHold::acquire(files, milliseconds(0)));
            continue;
        }
        CHECK_THROWS_AS(HeartbeatHold::acquire(files, milliseconds(0)), Refusal);
        CHECK_THROWS_AS(SettlerLock::try_take(files), Refusal);
        CHECK(read_text(path) == foreign);
    }
    std::filesystem::remove(path);
    std::filesystem::create_symlink("elsewhere", path);
    CHECK_THROWS_AS(HeartbeatHold::acquire(files, milliseconds(0)), std::system_error);
    std::filesystem::remove(path);
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    CHECK_THROWS_AS(HeartbeatHold::acquire(files, milliseconds(0)), Refusal);
    CHECK(probe_heartbeat(files).text.empty());
}

TEST_CASE("heartbeat: a failed start keeps what the previous run left") {
    const TempDir dir;
    const JobFiles files = job_files_of(dir / "j.json");
    const std::string path = dir / "j.heartbeat";
    {
        HeartbeatHold held = HeartbeatHold::acquire(files, milliseconds(0));
        held.begin(first_line, 1000);
        held.abandon("");
    }
    CHECK_FALSE(std::filesystem::exists(path));
    const std::string former = first_line + "{\"exit\":{}}\n";
    write_text(path, former);
    HeartbeatHold held = HeartbeatHold::acquire(files, milliseconds(0));
    held.begin(first_line, 1000);
    held.abandon(former);
    CHECK(read_text(path) == former);
}

// Nanoseconds in 64 bits end in the year 2262. A beat from 2400 was taken for one from 1815:
// overdue, although a beat from the future is fresh (and the sum was undefined behaviour).
TEST_CASE("heartbeat: a beat from after the year 2262 is from the future") {
    const TempDir dir;
    const JobFiles files = job_files_of(dir / "j.json");
    const std::string path = dir / "j.heartbeat";
    write_text(path, first_line);
    const auto beat_at = [&](time_t seconds) {
        const timespec times[] = {{seconds, 0}, {seconds, 0}};
        REQUIRE(::utimensat(AT_FDCWD, path.c_str(), times, 0) == 0);
        return *probe_heartbeat(files).mtime_ns;
    };
    const std::int64_t now = wall_now_ms() * 1'000'000;
    CHECK(beat_at(13'569'465'600) > now);   // 2400
    CHECK(beat_at(-11'676'096'000) < now);  // 1600, if the file system can store such a time
}

// Found by the model (integration/model): a shim that was refused, because the previous run's shim
// or worker was still alive, rewrote the heartbeat file as it left. If it was killed on the way, or
// if the disk was full, the recorded end of the previous run was lost and became `shim-lost`.
TEST_CASE("heartbeat: a shim that is refused before it begins does not write") {
    const TempDir dir;
    const JobFiles files = job_files_of(dir / "j.json");
    const std::string path = dir / "j.heartbeat";
    write_text(path, first_line + "{\"exit\":{}}\n");
    const std::array<timespec, 2> long_ago{timespec{1000, 0}, timespec{1000, 0}};
    REQUIRE(::utimensat(AT_FDCWD, path.c_str(), long_ago.data(), 0) == 0);
    HeartbeatHold held = HeartbeatHold::acquire(files, milliseconds(0));
    held.abandon(held.text());
    // Nor does it touch the file, which would look like a beat.
    CHECK(probe_heartbeat(files).mtime_ns == std::int64_t{1000} * 1'000'000'000);
}

// Whoever may read a file can lock it for reading.
TEST_CASE("heartbeat: a read lock is no sign of life and keeps nobody out") {
    const TempDir dir;
    const JobFiles files = job_files_of(dir / "j.json");
    const std::string path = dir / "j.heartbeat";
    const std::string history = first_line + "{\"exit\":{}}\n";
    for (const bool settler : {true, false}) {
        write_text(path, history);
        const Child onlooker([&](auto ready) {
            const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
            struct flock lock {};
            lock.l_type = F_RDLCK;
            lock.l_whence = SEEK_SET;
            if (::fcntl(fd, F_SETLK, &lock) == 0) ready();
        });
        CHECK(probe_heartbeat(files).lock == LivenessLock::free);
        if (settler) {
            CHECK(SettlerLock::try_take(files));
        } else {
            CHECK(HeartbeatHold::acquire(files, milliseconds(0)).text() == history);
        }
        CHECK(read_text(path) == history);
        CHECK(std::distance(std::filesystem::directory_iterator(dir.path()), {}) == 1);
    }
}

// By name it is the job's; by content it would be another's.
TEST_CASE("heartbeat: a file with a second name does not count and is not written to") {
    const TempDir dir;
    const JobFiles files = job_files_of(dir / "j.json");
    write_text(dir / "precious", "");
    std::filesystem::create_hard_link(dir / "precious", dir / "j.heartbeat");
    CHECK(probe_heartbeat(files).lock == LivenessLock::unavailable);
    CHECK_THROWS_AS(HeartbeatHold::acquire(files, milliseconds(0)), Refusal);
    CHECK_THROWS_AS(SettlerLock::try_take(files), Refusal);
    CHECK(read_text(dir / "precious").empty());
}

TEST_CASE("heartbeat: another user's file does not count and is not locked") {
    if (::geteuid() != 0) {
        WARN("test skipped: needs root");
        return;
    }
    const TempDir dir;
    const JobFiles files = job_files_of(dir / "j.json");
    const std::string path = dir / "j.heartbeat";
    const Child other([&](auto ready) { hold(files, ready); });
    REQUIRE(probe_heartbeat(files).lock == LivenessLock::held);
    REQUIRE(::chown(path.c_str(), 1001, 1001) == 0);
    const Probe probe = probe_heartbeat(files);
    CHECK(probe.lock == LivenessLock::unavailable);
    CHECK(probe.text.empty());
    CHECK_FALSE(probe.mtime_ns);
    CHECK(probe.obstacle.find("uid 1001") != std::string::npos);
    CHECK_THROWS_AS(HeartbeatHold::acquire(files, milliseconds(0)), Refusal);
    CHECK_THROWS_AS(SettlerLock::try_take(files), Refusal);
}

TEST_CASE("heartbeat: who holds the lock is the kernel's word") {
    const TempDir dir;
    const JobFiles files = job_files_of(dir / "j.json");
    const Child shim([&](auto ready) { hold(files, ready); });
    CHECK(probe_heartbeat(files).lock_holder == shim.pid());
}
