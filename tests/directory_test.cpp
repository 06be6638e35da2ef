// The one door to a directory: nothing leads out of it, whatever happens to its name.
#include "common/directory.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/atomic_file.hpp"
#include "common/posix_error.hpp"
#include "common/system_calls.hpp"
#include "tests/catch.hpp"
#include "tests/temp_dir.hpp"

using namespace jobshim;
namespace fs = std::filesystem;

TEST_CASE("directory: everything happens in the one that was opened") {
    const TempDir dir;
    fs::create_directory(dir / "jobs");
    fs::create_directory(dir / "elsewhere");
    const Directory jobs = Directory::open(dir / "jobs");
    write_text(dir / "jobs/old", "old");
    fs::rename(dir / "jobs", dir / "moved");
    fs::create_directory_symlink("elsewhere", dir / "jobs");

    CHECK(jobs.read_file("old", 100)->text == "old");
    StagedFile staged(jobs, "new", std::nullopt);
    staged.write("new");
    CHECK(staged.commit_as_new("file") == StagedFile::Commit::in_place);
    CHECK(jobs.remove("old"));
    CHECK(read_text(dir / "moved/file") == "new");
    CHECK_FALSE(fs::exists(dir / "moved/old"));
    CHECK(fs::is_empty(dir / "elsewhere"));
}

TEST_CASE("directory: no name leads out of it") {
    const TempDir dir;
    const Directory directory = Directory::open(dir.path());
    for (const std::string& name :
         {std::string("../file"), std::string("a/b"), std::string("/etc/passwd"), std::string(".."),
          std::string("."), std::string(), std::string("a\0b", 3)}) {
        CAPTURE(name);
        CHECK_THROWS_AS(directory.open_file(name, O_RDONLY), Refusal);
        CHECK_THROWS_AS(directory.stamp_at(name), Refusal);
        CHECK_THROWS_AS(directory.read_file(name, 100), Refusal);
        CHECK_THROWS_AS(directory.remove(name), Refusal);
        CHECK_THROWS_AS(directory.rename("x", directory, name), Refusal);
        CHECK_THROWS_AS(directory.rename_to_free_name("x", name), Refusal);
        CHECK_THROWS_AS(directory.exchange("x", directory, name), Refusal);
        CHECK_THROWS_AS(directory.subdirectory(name), Refusal);
    }
}

TEST_CASE("directory: a symbolic link in it is not followed") {
    const TempDir dir;
    fs::create_directory(dir / "jobs");
    fs::create_directory(dir / "elsewhere");
    write_text(dir / "elsewhere/file", "text");
    fs::create_symlink("../elsewhere/file", dir / "jobs/link");
    fs::create_directory_symlink("../elsewhere", dir / "jobs/directory");
    const Directory jobs = Directory::open(dir / "jobs");
    CHECK_FALSE(jobs.open_file("link", O_RDWR));
    CHECK(errno == ELOOP);
    CHECK(jobs.stamp_at("link")->is_link);
    REQUIRE(jobs.link_at("link"));
    CHECK(jobs.link_at("link")->target == "../elsewhere/file");
    CHECK(jobs.link_at("link")->owner == ::geteuid());
    CHECK_THROWS_AS(jobs.subdirectory("directory"), std::system_error);
    CHECK_THROWS_AS(jobs.make_subdirectory("directory"), std::system_error);
    CHECK(jobs.remove("link"));
    CHECK(read_text(dir / "elsewhere/file") == "text");
}

TEST_CASE("directory: it may be named by a link, and is the same under both names") {
    const TempDir dir;
    fs::create_directory(dir / "jobs");
    fs::create_directory_symlink("jobs", dir / "link");
    const Directory jobs = Directory::open(dir / "link");
    CHECK(jobs.path() == dir / "jobs");
    CHECK(jobs.is_same_as(Directory::open(dir / "jobs")));
    CHECK_FALSE(jobs.is_same_as(Directory::open(dir.path())));
    CHECK_FALSE(Directory::open_if_there(dir / "none"));
    CHECK_THROWS_AS(Directory::open(dir / "none"), std::system_error);
    write_text(dir / "file", "");
    CHECK_THROWS_AS(Directory::open(dir / "file"), std::system_error);
}

TEST_CASE("directory: a path is followed as the kernel does") {
    const TempDir dir;
    fs::create_directories(dir / "a/b/c");
    fs::create_directory_symlink("b/../b", dir / "a/relative");
    fs::create_directory_symlink(dir / "a", dir / "absolute");
    fs::create_directory_symlink("loop", dir / "loop");
    for (const char* path : {"a/b/c", "a//b/./c/", "a/../a/b/c", "a/relative/c", "absolute/b/c",
                             "absolute/relative/../b/c"}) {
        CAPTURE(path);
        CHECK(Directory::open(dir / path).path() == dir / "a/b/c");
    }
    CHECK_THROWS_AS(Directory::open(dir / "loop"), std::system_error);
    CHECK_FALSE(Directory::open_if_there(dir / "a/none/c"));
    CHECK(Directory::open("/").path() == "/");
    CHECK(Directory::open("/..").path() == "/");
    CHECK(Directory::open(".").path() == fs::current_path());
}

TEST_CASE("directory: another user's link on the way is not followed") {
    if (::geteuid() != 0) {
        WARN("test skipped: needs root");
        return;
    }
    const TempDir dir;
    fs::create_directories(dir / "real/jobs");
    fs::create_directory_symlink("real", dir / "link");
    CHECK(Directory::open(dir / "link/jobs").path() == dir / "real/jobs");
    REQUIRE(::lchown((dir / "link").c_str(), 1001, 1001) == 0);
    for (const char* path : {"link", "link/jobs"})
        CHECK_THROWS_AS(Directory::open(dir / path), Refusal);
}

TEST_CASE("directory: those that are missing are created private") {
    const TempDir dir;
    Directory::make(dir / "a/b/c");
    CHECK(fs::status(dir / "a").permissions() == fs::perms::owner_all);
    CHECK(fs::status(dir / "a/b/c").permissions() == fs::perms::owner_all);
    CHECK_NOTHROW(Directory::make(dir / "a/b/c"));
    write_text(dir / "file", "");
    CHECK_THROWS_AS(Directory::make(dir / "file"), std::system_error);
    CHECK_THROWS_AS(Directory::make(dir / "file/x"), std::system_error);
    CHECK(Directory::open(dir.path()).make_subdirectory("d").path() == dir / "d");
}

TEST_CASE("directory: a FIFO keeps nobody waiting and is no file to read") {
    const TempDir dir;
    REQUIRE(::mkfifo((dir / "fifo").c_str(), 0600) == 0);
    const Directory directory = Directory::open(dir.path());
    CHECK_THROWS_AS(directory.read_file("fifo", 100), Refusal);
    CHECK_FALSE(directory.stamp_at("fifo")->is_regular);
}

TEST_CASE("directory: names that are made up differ each time") {
    const std::string name = Directory::random_name_like("file");
    CHECK(name.starts_with("file-"));
    CHECK(name != Directory::random_name_like("file"));
}

TEST_CASE("directory: root works in a user's directory as that user") {
    if (::geteuid() != 0) {
        WARN("test skipped: needs root");
        return;
    }
    const TempDir dir;
    fs::create_directory(dir / "jobs");
    REQUIRE(::chmod(dir.path().c_str(), 0755) == 0);
    REQUIRE(::chown((dir / "jobs").c_str(), 1001, 1001) == 0);
    const Directory jobs = Directory::open(dir / "jobs").as(Identity{1001, 1001});
    StagedFile staged(jobs, "file", std::nullopt);
    CHECK(staged.stamp().owner == 1001);
    CHECK(staged.stamp().group == 1001);
    CHECK(::geteuid() == 0);
    CHECK(::getegid() == 0);
    // What the user may not do, root does not do for the user.
    const Directory ours = Directory::open(dir.path()).as(Identity{1001, 1001});
    CHECK_FALSE(ours.open_file("planted", O_WRONLY | O_CREAT));
    CHECK(errno == EACCES);
    CHECK_FALSE(ours.rename("jobs", ours, "other"));
    CHECK(errno == EACCES);
    CHECK_THROWS_AS(StagedFile(ours, "staged", std::nullopt), std::system_error);
    write_text(dir / "file", "text");
    CHECK_FALSE(ours.open_file("file", O_RDWR));
    CHECK(errno == EACCES);
    // Looking is another matter, unless what is read will be written.
    CHECK(ours.read_file("file", 100)->text == "text");
    REQUIRE(::chmod((dir / "file").c_str(), 0600) == 0);
    CHECK(ours.read_file("file", 100)->text == "text");
    CHECK_THROWS_AS(ours.strictly().read_file("file", 100), std::system_error);
    CHECK(::geteuid() == 0);
}

TEST_CASE("identity: a user whom /etc/passwd does not know is in no group but nobody's") {
    constexpr uid_t unknown = 4'000'000'001;
    REQUIRE_FALSE(groups_of_user(unknown));
    CHECK(identity_of_user(unknown) == Identity{unknown, 65534});
    CHECK(identity_of_user(0).group == 0);
}

TEST_CASE("identity: an action in a child has only the user's rights") {
    if (::geteuid() != 0) {
        WARN("test skipped: needs root");
        return;
    }
    CHECK(run_as(std::nullopt, [] { return ::geteuid() == 0 ? 0 : EPERM; }) == 0);
    const Identity user{1001, 1001};
    CHECK(run_as(user, [] {
              const bool is_user = ::getuid() == 1001 && ::geteuid() == 1001 && ::getgid() == 1001;
              return is_user && ::setuid(0) != 0 ? 0 : EPERM;
          }) == 0);
    CHECK(run_as(user, [] { return ::kill(1, 0) == 0 ? 0 : errno; }) == EPERM);
    // The user may stop it, and so kept root's command waiting for ever.
    CHECK(run_as(user, [] { return ::raise(SIGSTOP); }) == ETIMEDOUT);
    CHECK(::geteuid() == 0);
}
