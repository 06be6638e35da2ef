#include "common/companion/mirror.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <filesystem>

#include "common/clocks.hpp"
#include "common/companion/index.hpp"
#include "common/companion/look.hpp"
#include "common/posix_error.hpp"
#include "tests/catch.hpp"
#include "tests/samples.hpp"
#include "tests/temp_dir.hpp"

using namespace jobshim;
namespace fs = std::filesystem;

namespace {

// A state directory as the plugin leaves it, with one running job and one that has ended.
struct StateDirectory {
    StateDirectory() {
        fs::create_directory(paths.jobs);
        write_text(paths.index, two_jobs);
        write_text(paths.job_file("task-1"),
                   "{\n  \"id\": \"task-1\",\n  \"status\": \"running\",\n  \"pid\": 7,\n"
                   "  \"threadId\": \"thr_1\",\n  \"result\": {\"a\": [1, 2]},\n"
                   "  \"request\": {\n    \"prompt\": \"cut \\ud83d\"\n  }\n}\n");
        write_text(paths.log_file("task-1"), "[2026-01-01T00:00:00.000Z] Starting.\n");
    }
    CompanionMirror mirror() const {
        return {CompanionDirectory(dir.path()), {"task-1", killed(), 0, false}};
    }

    TempDir dir;
    struct Paths {
        std::string index, jobs, own;
        std::string job_file(const std::string& id) const { return jobs + "/" + id + ".json"; }
        std::string log_file(const std::string& id) const { return jobs + "/" + id + ".log"; }
    } paths{dir / "state.json", dir / "jobs", dir / "jobshim"};
};

}  // namespace

TEST_CASE("companion: one look at the index serves for many jobs") {
    const StateDirectory state;
    const CompanionDirectory directory(state.dir.path());
    constexpr auto patience = std::chrono::milliseconds(0);
    const IndexSight index = look_at_index(directory, patience);
    REQUIRE(index.index);
    CHECK(index.stamp->unchanged(*directory.top().stamp_at("state.json")));
    fs::remove(state.paths.index);
    const CompanionView view = look_at_companion(directory, "task-1", patience, index);
    CHECK(view.index_is_whole);
    CHECK(view.entry->status() == Status::running);
    CHECK(view.job->string("threadId") == "thr_1");
    CHECK(look_at_companion(directory, "task-2", patience, index).entry->status() ==
          Status::completed);
    CHECK_FALSE(look_at_companion(directory, "task-1", patience).index_is_whole);
    CHECK_FALSE(look_at_index(directory, patience).stamp);
    write_text(state.paths.index, "{");
    CHECK(look_at_index(directory, patience).stamp);
    CHECK_FALSE(look_at_index(directory, patience).index);
}

// One nested too deeply was taken for a torn one and replaced.
TEST_CASE("companion: a file beyond our bounds is refused at once and left as it is") {
    const std::string deep = R"({"id":"task-1","status":"running","a":)" + std::string(600, '[') +
                             std::string(600, ']') + "}";
    std::string many = R"({"id":"task-1","status":"running")";
    for (std::size_t i = 0; i < max_json_members; ++i) many += R"(,"a":1)";
    many += "}";
    const std::string large = "{\"a\":\"" + std::string(max_job_file_bytes - 20, 'x') + "\"}";
    for (const std::string& text : {deep, many, large + std::string(20, ' ')}) {
        const StateDirectory state;
        write_text(state.paths.job_file("task-1"), text);
        CHECK_THROWS_AS(state.mirror().step(), Refusal);
        CHECK(read_text(state.paths.job_file("task-1")) == text);
    }
    // What we would write could not be read again.
    const StateDirectory state;
    const std::string full = two_jobs + std::string(max_job_file_bytes - two_jobs.size(), ' ');
    write_text(state.paths.index, full);
    CHECK_THROWS_AS(state.mirror().step(), Refusal);
    CHECK(read_text(state.paths.index) == full);
}

TEST_CASE("companion: both files are put right and a second step writes nothing") {
    const StateDirectory state;
    CompanionMirror mirror = state.mirror();
    CHECK(mirror.step());
    const std::string job = read_text(state.paths.job_file("task-1"));
    const std::string index = read_text(state.paths.index);
    const JobDocument document = doc(job);
    CHECK(document.status() == Status::failed);
    CHECK(document.value("pid") == "null");
    CHECK(document.value("result") == R"({"a": [1, 2]})");
    CHECK(document.value("request") == "{\n    \"prompt\": \"cut \\ud83d\"\n  }");
    CHECK(document.string("errorMessage") ==
          "Worker killed by SIGKILL; who sent it cannot be known. Resume with thread thr_1.");
    const auto entry = CompanionIndex::parse(index)->find("task-1");
    CHECK(entry->status() == Status::failed);
    CHECK(entry->string("errorMessage") == document.string("errorMessage"));
    CHECK(index.substr(0, index.find("\"running\"")).find("1.10") != std::string::npos);
    CHECK(index.find("half an emoji \\ud83d") != std::string::npos);
    CHECK(index.find("123456789012345678901234567890") != std::string::npos);
    const std::string log = read_text(state.paths.log_file("task-1"));
    CHECK(log.find("] Worker killed by SIGKILL; who sent it cannot be known.\n") !=
          std::string::npos);

    CHECK_FALSE(mirror.step());
    CHECK_FALSE(state.mirror().step());
    CHECK(read_text(state.paths.job_file("task-1")) == job);
    CHECK(read_text(state.paths.index) == index);
    CHECK(read_text(state.paths.log_file("task-1")) == log);
    // Nothing is left beside the plugin's files.
    for (const auto& file : fs::directory_iterator(state.paths.jobs))
        CHECK(file.path().filename().string().rfind("task-1.", 0) == 0);
}

TEST_CASE("companion: what was removed is not brought back") {
    const StateDirectory state;
    SECTION("both") {
        fs::remove(state.paths.job_file("task-1"));
        fs::remove(state.paths.index);
        CHECK_FALSE(state.mirror().step());
        CHECK_FALSE(fs::exists(state.paths.index));
    }
    SECTION("the job file") {
        fs::remove(state.paths.job_file("task-1"));
        CHECK(state.mirror().step());
        CHECK(CompanionIndex::parse(read_text(state.paths.index))->find("task-1")->status() ==
              Status::failed);
    }
    SECTION("the index") {
        fs::remove(state.paths.index);
        CHECK(state.mirror().step());
        CHECK_FALSE(fs::exists(state.paths.index));
    }
    CHECK_FALSE((fs::exists(state.paths.job_file("task-1")) && !fs::exists(state.paths.jobs)));
    fs::remove(state.paths.log_file("task-1"));
}

TEST_CASE("companion: an empty index is waited for and never taken for an empty state") {
    const StateDirectory state;
    write_text(state.paths.index, "");
    CHECK(state.mirror().step());
    CHECK(read_text(state.paths.index).empty());
    CHECK(doc(read_text(state.paths.job_file("task-1"))).status() == Status::failed);
}

// Seen with eight unlocked writers: two had the file open, and the one that wrote last wrote less.
// The plugin reads such a file as having no jobs at all, and whatever waits for it to become whole
// waits forever.
TEST_CASE("companion: trailing text of a longer version is removed") {
    const StateDirectory state;
    const std::string file = state.paths.job_file("task-1");
    const std::string trailing_text = "r-2\",\n      \"status\": \"running\"\n    }\n  ]\n}\n";
    SECTION("and the entry is put right") {
        write_text(state.paths.index, two_jobs + trailing_text);
        CHECK(state.mirror().step());
        const auto index = CompanionIndex::parse(read_text(state.paths.index));
        REQUIRE(index);
        CHECK(index->ids() == std::vector<std::string>{"task-2", "task-1"});
        CHECK(index->find("task-1")->status() == Status::failed);
    }
    SECTION("with nothing to be put right") {
        CHECK(state.mirror().step());
        const std::string right = read_text(state.paths.index);
        write_text(state.paths.index, right + trailing_text);
        write_text(file, read_text(file) + "}\n");
        CHECK(state.mirror().step());
        CHECK(read_text(state.paths.index) == right);
        CHECK(doc(read_text(file)).status() == Status::failed);
    }
    CHECK_FALSE(state.mirror().step());
    bool is_kept = false;
    for (const auto& kept : fs::directory_iterator(state.paths.own))
        is_kept = is_kept || read_text(kept.path()).ends_with(trailing_text);
    CHECK(is_kept);
}

TEST_CASE("companion: a file that was torn long ago is not waited for") {
    const StateDirectory state;
    write_text(state.paths.index, "{\"jobs\": [");
    const timespec long_ago{1'700'000'000, 0};
    const timespec times[]{long_ago, long_ago};
    REQUIRE(::utimensat(AT_FDCWD, state.paths.index.c_str(), times, 0) == 0);
    // A wait of an hour would be noticed.
    const auto theirs =
        read_theirs(Directory::open(state.dir.path()), "state.json", std::chrono::hours(1));
    REQUIRE(theirs);
    CHECK_FALSE(theirs->whole);
}

TEST_CASE("companion: a job file that its worker left torn is rebuilt from the index") {
    const StateDirectory state;
    write_text(state.paths.job_file("task-1"), "{\"id\": \"task-1\", \"half");
    CHECK(state.mirror().step());
    const JobDocument job = doc(read_text(state.paths.job_file("task-1")));
    CHECK(job.status() == Status::failed);
    CHECK(job.value("big") == "123456789012345678901234567890");
    bool is_kept = false;
    for (const auto& file : fs::directory_iterator(state.paths.own))
        is_kept = is_kept || read_text(file.path()) == "{\"id\": \"task-1\", \"half";
    CHECK(is_kept);
}

TEST_CASE("companion: the mode and owner of the plugin's files are kept") {
    const StateDirectory state;
    ::chmod(state.paths.index.c_str(), 0640);
    CHECK(state.mirror().step());
    struct stat info {};
    REQUIRE(::stat(state.paths.index.c_str(), &info) == 0);
    CHECK((info.st_mode & 07777) == 0640);
}
