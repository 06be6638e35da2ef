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
    SECTION("its folder is missing") {
        check_refused(*this, dir / "nowhere" / "job.json");
        CHECK_FALSE(fs::exists(dir / "nowhere"));
    }
    SECTION("its folder is a file") {
        put(dir / "file", "precious");
        check_refused(*this, dir / "file" / "job.json");
        CHECK(slurp(dir / "file") == "precious");
    }
    SECTION("it is a FIFO") {
        REQUIRE(mkfifo(job.c_str(), 0600) == 0);
        check_refused(*this, job);
        CHECK(fs::is_fifo(job));
    }
    SECTION("it is a folder") {
        fs::create_directory(job);
        put(job / "inside", "precious");
        check_refused(*this, job);
        CHECK(slurp(job / "inside") == "precious");
    }
    SECTION("it is a symlink into a folder that is not there") {
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

TEST_CASE_METHOD(Sandbox, "JSON beyond 64 MiB or 512 levels is refused and left as it is") {
    SECTION("100 MB") {
        const std::size_t many = 100'000'000;
        put(job, "{\"host\":\"" + std::string(many, 'x') + "\"}");
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
    const auto folder = dir / "closed";
    fs::create_directory(folder);
    const auto program = public_copy(jobshim);
    Options options;
    if (geteuid() == 0) options.before_exec = become_nobody;
    for (const bool adopted : {false, true}) {
        CAPTURE(adopted);
        if (adopted) put(folder / "job.json", R"({"host":1})");
        if (adopted) fs::permissions(folder / "job.json", fs::perms(0666));
        fs::permissions(folder, fs::perms(0555));
        check_refused(*this, folder / "job.json", options, program);
        fs::permissions(folder, fs::perms(0755));
        CHECK(names_in(folder, "") == (adopted ? Words{"job.json"} : Words{}));
        if (adopted) CHECK(slurp(folder / "job.json") == R"({"host":1})");
    }
}

TEST_CASE_METHOD(Sandbox, "a host's file whose owner cannot be preserved is refused") {
    if (geteuid() != 0) SKIP_TEST("only root can make another user's file");
    const auto folder = dir / "shared";
    fs::create_directory(folder);
    put(folder / "job.json", R"({"host":1})");
    fs::permissions(folder / "job.json", fs::perms(0666));
    fs::permissions(folder, fs::perms::all);
    check_refused(*this, folder / "job.json", {.before_exec = become_nobody}, public_copy(jobshim));
    CHECK(slurp(folder / "job.json") == R"({"host":1})");
}

TEST_CASE_METHOD(Sandbox, "a job file on a read-only file system is refused") {
    if (!child_can(own_mounts)) SKIP_TEST("no mount namespace of our own (needs root)");
    const auto folder = dir / "read-only";
    fs::create_directory(folder);
    put(folder / "job.json", R"({"host":1})");
    check_refused(*this, folder / "job.json", {.before_exec = [folder] {
        own_mounts();
        must(mount(folder.c_str(), folder.c_str(), nullptr, MS_BIND, nullptr), "bind");
        must(mount(nullptr, folder.c_str(), nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr),
             "remount");
    }});
    CHECK(names_in(folder, "") == Words{"job.json"});
}

TEST_CASE_METHOD(Sandbox,
                 "a job file that is a mount of its own cannot be replaced and is refused") {
    if (!child_can(own_mounts)) SKIP_TEST("no mount namespace of our own (needs root)");
    put(job, R"({"host":1})");
    check_refused(*this, job, {.before_exec = [file = job] {
        own_mounts();
        must(mount(file.c_str(), file.c_str(), nullptr, MS_BIND, nullptr), "bind");
    }});
    CHECK(slurp(job) == R"({"host":1})");
    // No temporary file either.
    CHECK(names_in(dir, ".tmp").empty());
}
