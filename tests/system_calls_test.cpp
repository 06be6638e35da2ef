// What the system calls must do on every platform.
#include "common/system_calls.hpp"

#include <fcntl.h>

#include <cerrno>
#include <limits>

#include "common/clocks.hpp"
#include "tests/catch.hpp"
#include "tests/temp_dir.hpp"

using namespace jobshim;

namespace {

bool is_inherited_by_exec(const UniqueFd& fd) {
    return (::fcntl(fd.get(), F_GETFD) & FD_CLOEXEC) == 0;
}

}  // namespace

TEST_CASE("system: a rename that never replaces and one that exchanges") {
    const TempDir dir;
    write_text(dir / "one", "1");
    write_text(dir / "two", "2");

    const UniqueFd directory = open_directory_for_lookup(AT_FDCWD, dir.path());
    const int at = directory.get();
    CHECK_FALSE(rename_no_replace(at, "one", "two"));
    CHECK(errno == EEXIST);
    CHECK(rename_no_replace(at, "one", "three"));
    CHECK(read_text(dir / "three") == "1");
    CHECK_FALSE(rename_no_replace(at, "one", "four"));
    CHECK(errno == ENOENT);

    CHECK(rename_exchange(at, "two", at, "three"));
    CHECK(read_text(dir / "two") == "1");
    CHECK(read_text(dir / "three") == "2");
    CHECK_FALSE(rename_exchange(at, "two", at, "none"));
    CHECK(errno == ENOENT);
    CHECK(read_text(dir / "two") == "1");
}

TEST_CASE("system: reserved space leaves the size and the text as they are") {
    const TempDir dir;
    const UniqueFd fd(::open((dir / "file").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    REQUIRE(::write(fd.get(), "text", 4) == 4);
    REQUIRE(reserve_space(fd.get(), 65536));
    struct stat info {};
    REQUIRE(::fstat(fd.get(), &info) == 0);
    CHECK(info.st_size == 4);
    CHECK(info.st_blocks * 512 >= 65536);
    CHECK(read_text(dir / "file") == "text");
    CHECK(flush_to_disk(fd.get()));

    const UniqueFd read_only(::open((dir / "file").c_str(), O_RDONLY | O_CLOEXEC));
    CHECK_FALSE(reserve_space(read_only.get(), 65536));
    CHECK(errno == EBADF);
}

TEST_CASE("system: a file's times to the nanosecond") {
    const TempDir dir;
    const UniqueFd fd(::open((dir / "file").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    const timespec times[2] = {{0, UTIME_OMIT}, {1'700'000'000, 123'456'789}};
    REQUIRE(::futimens(fd.get(), times) == 0);
    struct stat info {};
    REQUIRE(::fstat(fd.get(), &info) == 0);
    CHECK(mtime_of(info).tv_sec == 1'700'000'000);
    CHECK(mtime_of(info).tv_nsec == 123'456'789);
    CHECK(ctime_of(info).tv_sec > 1'700'000'000);
}

TEST_CASE("system: a directory that is opened only for lookup") {
    const TempDir dir;
    write_text(dir / "file", "");
    const UniqueFd directory = open_directory_for_lookup(AT_FDCWD, dir.path());
    REQUIRE(directory);
    CHECK_FALSE(is_inherited_by_exec(directory));
    CHECK(::unlinkat(directory.get(), "file", 0) == 0);
    CHECK_FALSE(open_directory_for_lookup(AT_FDCWD, dir / "file"));
    CHECK(errno == ENOENT);
    write_text(dir / "file", "");
    CHECK_FALSE(open_directory_for_lookup(AT_FDCWD, dir / "file"));
    CHECK(errno == ENOTDIR);
    std::filesystem::create_directory_symlink(".", dir / "link");
    CHECK_FALSE(open_directory_for_lookup(directory.get(), "link"));
}

TEST_CASE("system: a pipe and a socket pair that is read message by message") {
    char bytes[8] = {};
    auto [reader, writer] = make_pipe();
    REQUIRE(reader);
    CHECK_FALSE(is_inherited_by_exec(reader));
    CHECK_FALSE(is_inherited_by_exec(writer));
    CHECK(::write(writer.get(), "abc", 3) == 3);
    writer.reset();
    CHECK(::read(reader.get(), bytes, sizeof bytes) == 3);
    CHECK(::read(reader.get(), bytes, sizeof bytes) == 0);

    auto [one, other] = make_socket_pair();
    REQUIRE(one);
    CHECK_FALSE(is_inherited_by_exec(one));
    CHECK_FALSE(is_inherited_by_exec(other));
    CHECK(::write(one.get(), "abcd", 4) == 4);
    CHECK(::write(one.get(), "efgh", 4) == 4);
    CHECK(::write(other.get(), "x", 1) == 1);
    CHECK(::read(other.get(), bytes, 4) == 4);
    CHECK(std::string(bytes, 4) == "abcd");
    CHECK(::read(other.get(), bytes, 4) == 4);
    CHECK(std::string(bytes, 4) == "efgh");
    CHECK(::read(one.get(), bytes, 1) == 1);
    one.reset();
    CHECK(::read(other.get(), bytes, 1) == 0);
}

// Some file systems store any 64-bit number of seconds.
TEST_CASE("system: a file's time never overflows and keeps its order") {
    using Limits = std::numeric_limits<time_t>;
    CHECK(ns_of({1, 5}) == 1'000'000'005);
    CHECK(ns_of({-1, 999'999'999}) == -1);
    CHECK(ns_of({9'223'372'035, 999'999'999}) == 9'223'372'035'999'999'999);
    CHECK(ns_of({Limits::max(), 0}) == 9'223'372'035'000'000'000);
    CHECK(ns_of({Limits::min(), 0}) == -9'223'372'036'000'000'000);
}
