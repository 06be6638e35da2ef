// If the record cannot be kept, the worker is not started: exit status 125, a message that names
// the file, and nothing lost.

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "integration/support.hpp"

using namespace harness;

namespace {

/// Runs a worker that would leave a marker, and checks that it did not.
void check_refused(Sandbox& box, const fs::path& file, const Options& options = {},
                   const fs::path& program = jobshim, const std::string& named = "job.json") {
    const auto marker = box.dir / "open" / "marker";
    fs::create_directories(marker.parent_path());
    fs::permissions(marker.parent_path(), fs::perms::all);
    const auto result = box.run({program, "-j", file, "--", "touch", marker}, options);
    INFO("stderr: " << result.err);
    CHECK(result.ended() == "exit 125");
    CHECK(result.out.empty());
    CHECK(contains(result.err, named));
    CHECK(lines_of(result.err).size() <= 3);
    CHECK_FALSE(fs::exists(marker));
}

}  // namespace

TEST_CASE_METHOD(Sandbox, "an unusable job file is refused before anything is started",
                 "[quick][libc]") {
    SECTION("its directory is missing") {
        check_refused(*this, dir / "nowhere" / "job.json");
        CHECK_FALSE(fs::exists(dir / "nowhere"));
    }
    SECTION("its directory is a file") {
        put(dir / "file", "precious");
        check_refused(*this, dir / "file" / "job.json");
        CHECK(slurp(dir / "file") == "precious");
    }
    SECTION("it is a FIFO") {
        REQUIRE(mkfifo(job.c_str(), 0600) == 0);
        check_refused(*this, job);
        CHECK(fs::is_fifo(job));
    }
    SECTION("it is a directory") {
        fs::create_directory(job);
        put(job / "inside", "precious");
        check_refused(*this, job);
        CHECK(slurp(job / "inside") == "precious");
    }
    SECTION("it is a symlink into a missing directory") {
        fs::create_symlink("nowhere/job.json", dir / "to-job.json");
        check_refused(*this, dir / "to-job.json");
        CHECK(fs::is_symlink(dir / "to-job.json"));
    }
    SECTION("it is a symlink to itself") {
        fs::create_symlink("job.json", job);
        check_refused(*this, job);
        CHECK(fs::is_symlink(job));
    }
    SECTION("its heartbeat file is somebody else's") {
        put(dir / "job.heartbeat", "dear diary\n");
        check_refused(*this, job, {}, jobshim, "job.heartbeat");
        CHECK(slurp(dir / "job.heartbeat") == "dear diary\n");
        CHECK_FALSE(fs::exists(job));
    }
    SECTION("its heartbeat file is a symlink") {
        put(dir / "elsewhere", "");
        fs::create_symlink("elsewhere", dir / "job.heartbeat");
        check_refused(*this, job, {}, jobshim, "job.heartbeat");
        CHECK(slurp(dir / "elsewhere").empty());
    }
}

TEST_CASE_METHOD(Sandbox,
                 "JSON beyond 4 MiB or 512 levels or 10,000 members is refused and left as it is") {
    SECTION("5 MB") {
        const std::size_t many = 5'000'000;
        put(job, "{\"host\":\"" + std::string(many, 'x') + "\"}");
    }
    SECTION("a sparse terabyte") {
        put(job, "");
        fs::resize_file(job, std::uintmax_t{1} << 40U);
    }
    SECTION("a file that our members would make too large") {
        put(job, "{\"host\":\"" + std::string((std::size_t{4} << 20U) - 100, 'x') + "\"}");
    }
    SECTION("300,000 members of the same name") {
        std::string members;
        for (int i = 0; i < 300'000; ++i) members += "\"jobshim\":{},";
        put(job, "{" + members + "\"host\":1}");
    }
    SECTION("10,000 levels of arrays") {
        put(job, "{\"host\":" + std::string(10'000, '[') + std::string(10'000, ']') + "}");
    }
    SECTION("10,000 levels of objects") {
        std::string open, close;
        for (int i = 0; i < 10'000; ++i) open += "{\"a\":", close += "}";
        put(job, open + "1" + close);
    }
    const auto bytes = fs::file_size(job);
    const auto time = mtime_of(job);
    check_refused(*this, job);
    CHECK(fs::file_size(job) == bytes);
    CHECK(mtime_of(job) == time);
    CHECK(names_in(dir, ".corrupt-").empty());
}

TEST_CASE_METHOD(
    Sandbox,
    "a directory that cannot be written is refused and the host's file in it stays intact") {
    const auto directory = dir / "closed";
    fs::create_directory(directory);
    const auto program = public_copy(jobshim);
    Options options;
    if (geteuid() == 0) options.before_exec = become_nobody;
    for (const bool adopted : {false, true}) {
        CAPTURE(adopted);
        if (adopted) put(directory / "job.json", R"({"host":1})");
        if (adopted) fs::permissions(directory / "job.json", fs::perms(0666));
        fs::permissions(directory, fs::perms(0555));
        check_refused(*this, directory / "job.json", options, program);
        fs::permissions(directory, fs::perms(0755));
        CHECK(names_in(directory, "") == (adopted ? Words{"job.json"} : Words{}));
        if (adopted) CHECK(slurp(directory / "job.json") == R"({"host":1})");
    }
}

TEST_CASE_METHOD(Sandbox, "a host's file whose owner cannot be preserved is refused") {
    if (geteuid() != 0) SKIP_TEST("only root can make another user's file");
    const auto directory = dir / "shared";
    fs::create_directory(directory);
    put(directory / "job.json", R"({"host":1})");
    fs::permissions(directory / "job.json", fs::perms(0666));
    fs::permissions(directory, fs::perms::all);
    check_refused(*this, directory / "job.json", {.before_exec = become_nobody},
                  public_copy(jobshim));
    CHECK(slurp(directory / "job.json") == R"({"host":1})");
}

TEST_CASE_METHOD(Sandbox, "a job file on a read-only file system is refused") {
    if (!child_can(enter_private_mounts)) SKIP_TEST("cannot create a mount namespace (needs root)");
    const auto directory = dir / "read-only";
    fs::create_directory(directory);
    put(directory / "job.json", R"({"host":1})");
    check_refused(*this, directory / "job.json", {.before_exec = [directory] {
        enter_private_mounts();
        must(mount(directory.c_str(), directory.c_str(), nullptr, MS_BIND, nullptr), "bind");
        must(mount(nullptr, directory.c_str(), nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr),
             "remount");
    }});
    CHECK(names_in(directory, "") == Words{"job.json"});
}

TEST_CASE_METHOD(Sandbox,
                 "a job file that is a mount of its own cannot be replaced and is refused") {
    if (!child_can(enter_private_mounts)) SKIP_TEST("cannot create a mount namespace (needs root)");
    put(job, R"({"host":1})");
    check_refused(*this, job, {.before_exec = [file = job] {
        enter_private_mounts();
        must(mount(file.c_str(), file.c_str(), nullptr, MS_BIND, nullptr), "bind");
    }});
    CHECK(slurp(job) == R"({"host":1})");
    // No temporary file either.
    CHECK(names_in(dir, ".tmp").empty());
}
