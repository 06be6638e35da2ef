#include "common/job_files.hpp"

#include <unistd.h>

#include "common/posix_error.hpp"
#include "tests/catch.hpp"
#include "tests/temp_dir.hpp"

using namespace jobshim;
namespace fs = std::filesystem;

TEST_CASE("job files: names beside the job file") {
    const TempDir dir;
    const JobFiles files = job_files_of(dir / "a.json");
    CHECK(files.path == dir / "a.json");
    CHECK(files.name == "a.json");
    CHECK(files.heartbeat == "a.heartbeat");
    CHECK(files.cancel == "a.json.cancel");
    CHECK(files.directory.path() == dir.path());
    CHECK(job_files_of(dir / "a.job").heartbeat == "a.job.jobshim-heartbeat");
    CHECK(job_files_in(files.directory, "b.json").path == dir / "b.json");
}

TEST_CASE("job files: a symlink is resolved even if its target does not exist yet") {
    const TempDir dir;
    fs::create_directory(dir / "real");
    fs::create_symlink("real/job.json", dir / "link.json");
    fs::create_symlink("link.json", dir / "link2.json");
    const JobFiles linked = job_files_of(dir / "link2.json");
    CHECK(linked.path == dir / "real/job.json");
    CHECK(linked.directory.path() == dir / "real");
    CHECK(linked.is_linked);
    CHECK_FALSE(job_files_of(dir / "real/job.json").is_linked);
    // In a survey of the directory the link is a file of its own.
    CHECK(job_files_in(Directory::open(dir.path()), "link2.json").path == dir / "link2.json");
    CHECK(real_path(dir / "link2.json") == dir / "real/job.json");
    fs::create_symlink("nowhere/job.json", dir / "dangling.json");
    CHECK_THROWS_AS(job_files_of(dir / "dangling.json"), std::system_error);
    fs::create_symlink("loop.json", dir / "loop.json");
    CHECK_THROWS_AS(job_files_of(dir / "loop.json"), std::system_error);
}

TEST_CASE("job files: what cannot be the name of a file is refused") {
    const TempDir dir;
    for (const std::string& path : {std::string(), dir.path() + "/", dir / ".", dir / ".."})
        CHECK_THROWS_AS(job_files_of(path), Refusal);
    try {
        job_files_of(dir / "none/a.json");
        FAIL("a missing directory was accepted");
    } catch (const std::system_error& error) {
        CHECK(std::string(error.what()).find("none") != std::string::npos);
        CHECK(error.code().value() == ENOENT);
    }
}

TEST_CASE("job files: the state directory") {
    CHECK(state_directory("/x", "/h") == "/x/jobshim");
    CHECK(state_directory(nullptr, "/h") == "/h/.local/state/jobshim");
    CHECK(state_directory("relative", "/h") == "/h/.local/state/jobshim");
    CHECK(state_directory("", "/h") == "/h/.local/state/jobshim");
    CHECK_THROWS_AS(state_directory(nullptr, nullptr), Refusal);
    CHECK_THROWS_AS(state_directory("", "h"), Refusal);
}

TEST_CASE("job files: ids") {
    for (const char* id : {"a", "0", "A.b_c-d", "job-mws5pajt-qs8z10"}) CHECK(is_job_id(id));
    CHECK(is_job_id(std::string(128, 'x')));
    CHECK_FALSE(is_job_id(std::string(129, 'x')));
    for (const char* id : {"", ".a", "-a", "_a", "a b", "a/b", "ä"}) CHECK_FALSE(is_job_id(id));
    CHECK(job_id_from_name("a.json") == "a");
    CHECK(job_id_from_name("my job (1).json") == "my-job--1-");
    CHECK(job_id_from_name(".hidden.json") == "hidden");
    CHECK(job_id_from_name("---.json") == "job");
    CHECK(is_job_id(job_id_from_name(std::string(200, 'x') + ".json")));
}

TEST_CASE("job files: a name without its .json") {
    CHECK(without_json("a.json") == "a");
    CHECK(without_json("/d/a.b.json") == "/d/a.b");
    CHECK(without_json("a.json.json") == "a.json");
    for (const char* other : {"", "a", "json", "a.JSON", "a.json.cancel"})
        CHECK(without_json(other) == other);
    CHECK(without_json(".json").empty());
}
