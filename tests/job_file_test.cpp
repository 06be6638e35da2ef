// The job file on disk, while a host writes to it at the same time.
#include "common/job_file.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vector>

#include "common/posix_error.hpp"
#include "common/process_identity.hpp"
#include "tests/catch.hpp"
#include "tests/temp_dir.hpp"

using namespace jobshim;
namespace fs = std::filesystem;

namespace {

struct JobFileFixture {
    TempDir dir;
    std::vector<std::string> notices;
    JobFile file{job_files_of(dir / "j.json"), SyncPolicy::never,
                 [this](const std::string& notice) { notices.push_back(notice); }};

    std::string path() const { return dir / "j.json"; }
    std::vector<std::string> names() const {
        std::vector<std::string> result;
        for (const auto& entry : fs::directory_iterator(dir.path()))
            result.push_back(entry.path().filename());
        std::sort(result.begin(), result.end());
        return result;
    }
};

// Sets "ours", and keeps the rest.
std::string with_ours(const JobDocument* document, const std::string& value) {
    if (document == nullptr) return R"({"ours":")" + value + "\"}";
    std::string text = document->text();
    if (const auto old = document->value("ours"))
        return text.replace(static_cast<std::size_t>(old->data() - document->text().data()),
                            old->size(), "\"" + value + "\"");
    return text.insert(text.find('{') + 1, R"("ours":")" + value + "\",");
}

}  // namespace

TEST_CASE("job file: it is created with mode 0600 and then replaced as a whole") {
    JobFileFixture fixture;
    CHECK_FALSE(fixture.file.load());
    fixture.file.update([](const JobDocument* d) { return with_ours(d, "1"); },
                        JobFile::Write::ordinary);
    CHECK(fixture.file.created_the_file());
    CHECK(fs::status(fixture.path()).permissions() ==
          (fs::perms::owner_read | fs::perms::owner_write));
    fixture.file.update([](const JobDocument* d) { return with_ours(d, "2"); },
                        JobFile::Write::last);
    CHECK(read_text(fixture.path()) == R"({"ours":"2"})");
    CHECK(fixture.names() == std::vector<std::string>{"j.json"});
}

TEST_CASE("job file: the mode and owner of an existing file are kept") {
    const TempDir dir;
    const std::string path = dir / "j.json";
    write_text(path, "{}");
    ::chmod(path.c_str(), 02640);
    const bool root = ::geteuid() == 0;
    if (root) REQUIRE(::chown(path.c_str(), 1234, 4321) == 0);
    JobFiles files = job_files_of(path);
    files.directory = files.directory.as(std::nullopt);  // as a shim does
    JobFile file(files, SyncPolicy::never, [](const std::string&) {});
    file.update([](const JobDocument*) { return R"({"a":1})"; }, JobFile::Write::ordinary);
    struct stat info {};
    REQUIRE(::stat(path.c_str(), &info) == 0);
    CHECK((info.st_mode & 07777) == 0640);  // but for set-ID bits
    if (root) {
        CHECK(info.st_uid == 1234);
        CHECK(info.st_gid == 4321);
    }
    CHECK_FALSE(file.created_the_file());
}

TEST_CASE("job file: a record is not given to the user who puts a file in its place") {
    if (::geteuid() != 0) {
        WARN("test skipped: needs root");
        return;
    }
    JobFileFixture fixture;
    const auto write = [&] {
        fixture.file.update([](const JobDocument*) { return R"({"ours":1})"; },
                            JobFile::Write::ordinary);
    };
    const auto put_in_place = [&] {
        fs::remove(fixture.path());
        write_text(fixture.path(), R"({"theirs":1})");
        REQUIRE(::chown(fixture.path().c_str(), 1234, 1234) == 0);
    };
    put_in_place();
    CHECK_THROWS_AS(write(), Refusal);
    CHECK(read_text(fixture.path()) == R"({"theirs":1})");
    fs::remove(fixture.path());
    write();
    put_in_place();
    CHECK_THROWS_AS(write(), Refusal);
    CHECK(read_text(fixture.path()) == R"({"theirs":1})");
    // Between our look and our write: ours stays, and nothing of theirs gets into it.
    fs::remove(fixture.path());
    write();
    int calls = 0;
    const auto race = [&] {
        fixture.file.update(
            [&](const JobDocument*) {
                if (++calls == 1) put_in_place();
                return R"({"ours":2})";
            },
            JobFile::Write::ordinary);
    };
    CHECK_THROWS_AS(race(), Refusal);
    CHECK(read_text(fixture.path()).find("ours") == std::string::npos);
}

TEST_CASE(
    "job file: what only its owner could read is not merged into a file that others can read") {
    JobFileFixture fixture;
    write_text(fixture.path(), R"({"theirs":0})");
    ::chmod(fixture.path().c_str(), 0644);
    const std::string secret = fixture.dir / "secret.json";
    write_text(secret, R"({"secret":1})");
    ::chmod(secret.c_str(), 0600);
    struct stat info {};
    const auto mode = [&] {
        REQUIRE(::stat(fixture.path().c_str(), &info) == 0);
        return info.st_mode & 07777;
    };
    int calls = 0;
    fixture.file.update(
        [&](const JobDocument* document) {
            if (++calls == 1) fs::rename(secret, fixture.path());
            return with_ours(document, "x");
        },
        JobFile::Write::ordinary);
    CHECK(read_text(fixture.path()) == R"({"ours":"x","secret":1})");
    CHECK(mode() == 0600);
}

TEST_CASE("job file: what a host writes between our look and our write is merged") {
    // In place (truncate, then write) and by rename, as hosts do it. The edit runs between our look
    // and our write.
    for (const bool in_place : {true, false}) {
        JobFileFixture fixture;
        write_text(fixture.path(), R"({"theirs":0})");
        int calls = 0;
        fixture.file.update(
            [&](const JobDocument* document) {
                if (++calls <= 3) {
                    const std::string text = R"({"theirs":)" + std::to_string(calls) + "}";
                    const std::string target = in_place ? fixture.path() : fixture.dir / "new";
                    write_text(target, text);
                    if (!in_place) fs::rename(target, fixture.path());
                }
                return with_ours(document, "x");
            },
            JobFile::Write::ordinary);
        CHECK(calls == 4);
        CHECK(read_text(fixture.path()) == R"({"ours":"x","theirs":3})");
        CHECK(fixture.names() == std::vector<std::string>{"j.json"});
    }
}

TEST_CASE("job file: a host that is slow between truncating and writing does not lose its text") {
    JobFileFixture fixture;
    write_text(fixture.path(), R"({"theirs":0})");
    int calls = 0;
    fixture.file.update(
        [&](const JobDocument* document) {
            if (++calls > 1) return with_ours(document, "x");
            // The host truncates before our write, and writes only once it sees us waiting for it.
            int ready[2];
            REQUIRE(::pipe2(ready, O_CLOEXEC) == 0);
            if (::fork() == 0) {
                const int fd = ::open(fixture.path().c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
                (void)!::write(ready[1], "x", 1);
                for (;;) {
                    const auto waiter = read_process_stat(::getppid());
                    if (waiter && waiter->state == 'S') break;
                    ::sched_yield();
                }
                (void)!::write(fd, R"({"theirs":1})", 12);
                ::_exit(0);
            }
            char byte = 0;
            REQUIRE(::read(ready[0], &byte, 1) == 1);
            ::close(ready[0]);
            ::close(ready[1]);
            return with_ours(document, "x");
        },
        JobFile::Write::ordinary);
    ::wait(nullptr);
    CHECK(read_text(fixture.path()) == R"({"ours":"x","theirs":1})");
}

TEST_CASE("job file: a file that disappears while we look is created again") {
    JobFileFixture fixture;
    write_text(fixture.path(), R"({"theirs":0})");
    int calls = 0;
    fixture.file.update(
        [&](const JobDocument* document) {
            if (++calls == 1) fs::remove(fixture.path());
            return with_ours(document, "x");
        },
        JobFile::Write::ordinary);
    CHECK(read_text(fixture.path()) == R"({"ours":"x","theirs":0})");
}

TEST_CASE(
    "job file: what is not a JSON object is set aside after a second without replacing a file") {
    JobFileFixture fixture;
    write_text(fixture.path(), "{torn");
    CHECK_FALSE(fixture.file.load());
    REQUIRE(fixture.notices.size() == 1);
    const auto names = fixture.names();
    REQUIRE(names.size() == 1);
    CHECK(names[0].starts_with("j.json.corrupt-"));
    CHECK(read_text(fixture.dir / names[0]) == "{torn");
    CHECK(fixture.notices[0].find(names[0]) != std::string::npos);
}

TEST_CASE(
    "job file: whoever keeps writing what is not a JSON object is not waited for without end") {
    const TempDir dir;
    const std::string path = dir / "j.json";
    const auto tear = [&] { write_text(path, "{torn"); };
    int times = 0;
    JobFile file(job_files_of(path), SyncPolicy::never, [&](const std::string&) {
        REQUIRE(++times < 10);
        tear();
    });
    tear();
    CHECK_THROWS_AS(file.load(), Refusal);
    CHECK(times == 3);
}

TEST_CASE("job file: one that is too large or too deep or not a file is refused and left alone") {
    JobFileFixture fixture;
    std::string deep = R"({"a":)" + std::string(600, '[') + std::string(600, ']') + "}";
    write_text(fixture.path(), deep);
    CHECK_THROWS_AS(fixture.file.load(), Refusal);
    CHECK(read_text(fixture.path()) == deep);
    std::string many = "{";
    for (std::size_t i = 0; i <= max_json_members; ++i) many += "\"jobshim\":{},";
    many += "\"a\":1}";
    write_text(fixture.path(), many);
    CHECK_THROWS_AS(fixture.file.load(), Refusal);
    CHECK(read_text(fixture.path()) == many);
    fs::resize_file(fixture.path(), max_job_file_bytes + 1);
    CHECK_THROWS_AS(fixture.file.load(), Refusal);
    fs::remove(fixture.path());
    REQUIRE(::mkfifo(fixture.path().c_str(), 0600) == 0);
    CHECK_THROWS_AS(fixture.file.load(), Refusal);
    fs::remove(fixture.path());
    fs::create_directory(fixture.path());
    CHECK_THROWS(fixture.file.load());
    CHECK(fixture.names() == std::vector<std::string>{"j.json"});
}

TEST_CASE("job file: what would be too large to be read again is not written") {
    JobFileFixture fixture;
    const auto write = [&](std::size_t size) -> std::string {
        try {
            fixture.file.update(
                [&](const JobDocument*) { return std::string(size - 2, ' ') + "{}"; },
                JobFile::Write::last);
        } catch (const Refusal& refusal) {
            return refusal.what();
        }
        return "";
    };
    CHECK(write(max_job_file_bytes).empty());
    CHECK(write(max_job_file_bytes + 1) == fixture.path() + ": would become larger than 4 MiB");
    CHECK(fs::file_size(fixture.path()) == max_job_file_bytes);
    CHECK(fixture.file.load());
    CHECK(fixture.names() == std::vector<std::string>{"j.json"});
}

TEST_CASE("job file: a failure of another file beside it is reported as such") {
    JobFileFixture fixture;
    const auto write = [&] {
        fixture.file.update([](const JobDocument* d) { return with_ours(d, "1"); },
                            JobFile::Write::ordinary);
    };
    const auto message_of = [](const auto& action) -> std::string {
        try {
            action();
        } catch (const SiblingFileFailure& failure) {
            return failure.what();
        }
        return "";
    };
    // The file that was written last cannot be flushed any more, and neither can the directory.
    fs::create_directory(fixture.dir / "gone");
    JobFile orphaned(job_files_of(fixture.dir / "gone/j.json"), SyncPolicy::never,
                     [](const std::string&) {});
    fs::remove(fixture.dir / "gone");
    CHECK(message_of([&] {
              orphaned.update([](const JobDocument* d) { return with_ours(d, "1"); },
                              JobFile::Write::ordinary);
          }).starts_with("create " + (fixture.dir / "gone/.j.json.jobshim-new") + ": "));
    CHECK(message_of([&] {
              orphaned.reserve(8192);
          }).starts_with("create " + (fixture.dir / "gone/.j.json.jobshim-reserve") + ": "));
    // A failure of the job file itself is not reported that way.
    fs::create_directory(fixture.path());
    CHECK_THROWS_AS(write(), Refusal);
}

TEST_CASE("job file: the reserve takes the last write and grows with the file") {
    JobFileFixture fixture;
    write_text(fixture.path(), "{}");
    fixture.file.reserve(8192);
    const std::string reserve = fixture.dir / ".j.json.jobshim-reserve";
    struct stat info {};
    REQUIRE(::stat(reserve.c_str(), &info) == 0);
    CHECK(info.st_size == 0);
    write_text(fixture.path(), R"({"a":")" + std::string(20'000, 'x') + "\"}");
    fixture.file.check_reserve(1000);
    REQUIRE(::stat(reserve.c_str(), &info) == 0);
    CHECK(info.st_blocks * 512 >= 20'000);
    fixture.file.update([](const JobDocument*) { return "{}"; }, JobFile::Write::last);
    struct stat job {};
    REQUIRE(::stat(fixture.path().c_str(), &job) == 0);
    CHECK(job.st_ino == info.st_ino);
    CHECK(fixture.names() == std::vector<std::string>{"j.json"});
}

TEST_CASE("job file: stale files of a dead writer are removed and block nobody") {
    JobFileFixture fixture;
    write_text(fixture.dir / ".j.json.jobshim-new", "half");
    fixture.file.update([](const JobDocument*) { return "{}"; }, JobFile::Write::ordinary);
    write_text(fixture.dir / ".j.json.jobshim-reserve", "");
    fixture.file.clear_stale_files();
    CHECK(fixture.names() == std::vector<std::string>{"j.json"});
}

// In a directory that others may write to, they can take the names that we use.
TEST_CASE("job file: a name that is taken keeps nothing from being written") {
    JobFileFixture fixture;
    fs::create_directory(fixture.dir / ".j.json.jobshim-new");
    fs::create_directory(fixture.dir / ".j.json.jobshim-reserve");
    fixture.file.clear_stale_files();
    fixture.file.reserve(8192);
    for (const auto write : {JobFile::Write::ordinary, JobFile::Write::last})
        fixture.file.update([](const JobDocument* d) { return with_ours(d, "1"); }, write);
    CHECK(read_text(fixture.path()) == R"({"ours":"1"})");
    CHECK(fixture.names() ==
          std::vector<std::string>{".j.json.jobshim-new", ".j.json.jobshim-reserve", "j.json"});
}

TEST_CASE("job file: what a link leads to is never set aside") {
    JobFileFixture fixture;
    write_text(fixture.path(), "notes");
    fs::create_symlink("j.json", fixture.dir / "link.json");
    JobFile linked(job_files_of(fixture.dir / "link.json"), SyncPolicy::never,
                   [](const std::string&) {});
    CHECK_THROWS_AS(linked.load(), Refusal);
    CHECK(read_text(fixture.path()) == "notes");
}

TEST_CASE("job file: a stale file that holds what a host wrote is kept and reported") {
    JobFileFixture fixture;
    write_text(fixture.path(), R"({"status":"running","theirs":1,"jobshim":{}})");
    for (const char* name : {".j.json.jobshim-new", ".j.json.jobshim-merged"}) {
        // A version of ours, or one that ours was derived from: nothing is lost.
        write_text(fixture.dir / name, R"({"status":"queued","theirs":1})");
        fixture.file.clear_stale_files();
        CHECK(fixture.names() == std::vector<std::string>{"j.json"});
    }
    const std::string precious = R"({"status":"queued","theirs":2})";
    write_text(fixture.dir / ".j.json.jobshim-new", precious);
    fixture.file.clear_stale_files();
    REQUIRE(fixture.names().size() == 2);
    CHECK(fixture.names()[1].starts_with("j.json.displaced-"));
    CHECK(read_text(fixture.dir / fixture.names()[1]) == precious);
    CHECK(fixture.notices.size() == 1);
}

TEST_CASE("job file: a file that was absent for a moment still belongs to its creator") {
    JobFileFixture fixture;
    write_text(fixture.path(), "{}");
    CHECK(fixture.file.load());
    fs::remove(fixture.path());
    fixture.file.update([](const JobDocument*) { return "{}"; }, JobFile::Write::ordinary);
    CHECK_FALSE(fixture.file.created_the_file());
}
