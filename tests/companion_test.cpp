
#include <fcntl.h>
#include <sys/stat.h>

#include <filesystem>

#include "common/clocks.hpp"
#include "common/companion/directory_name.hpp"
#include "common/companion/index.hpp"
#include "common/companion/look.hpp"
#include "common/companion/mirror.hpp"
#include "common/file_system.hpp"
#include "common/units.hpp"
#include "tests/catch.hpp"
#include "tests/temp_dir.hpp"

using namespace jobshim;
namespace fs = std::filesystem;

namespace {

// As the plugin writes it: JSON.stringify(value, null, 2) and a line feed.
const std::string two_jobs = R"({
  "version": 1,
  "config": {
    "stopReviewGate": true,
    "theirs": 1.10
  },
  "jobs": [
    {
      "id": "task-2",
      "status": "completed",
      "summary": "half an emoji \ud83d, and [\"},{"
    },
    {
      "id": "task-1",
      "status": "running",
      "pid": 7,
      "big": 123456789012345678901234567890
    }
  ]
}
)";

JobDocument doc(const std::string& text) { return JobDocument::parse(text); }

CompanionSight sight(const std::string& file, const std::string& entry) {
    CompanionSight sight;
    sight.index_is_whole = true;
    const auto with_status = [](const std::string& word) {
        return doc(R"({"status":")" + word + R"("})");
    };
    if (file == "torn") {
        sight.file_exists = true;
    } else if (file != "gone") {
        sight.file_exists = true;
        sight.job = with_status(file);
    }
    if (entry != "gone") sight.entry = with_status(entry);
    return sight;
}

FinalWord killed() {
    WitnessedEnd end;
    end.wait_status = 9;
    end.result_expected = true;
    return judge_witnessed(end);
}

// A state directory as the plugin leaves it for one running job and one that is over.
struct StateDirectory {
    StateDirectory() : places(dir.path()) {
        fs::create_directory(places.jobs);
        write_text(places.index, two_jobs);
        write_text(places.job_file("task-1"),
                   "{\n  \"id\": \"task-1\",\n  \"status\": \"running\",\n  \"pid\": 7,\n"
                   "  \"threadId\": \"thr_1\",\n  \"result\": {\"a\": [1, 2]},\n"
                   "  \"request\": {\n    \"prompt\": \"cut \\ud83d\"\n  }\n}\n");
        write_text(places.log_file("task-1"), "[2026-01-01T00:00:00.000Z] Starting.\n");
    }
    CompanionMirror mirror() const { return {places, {"task-1", killed(), 0, false}}; }

    TempDir dir;
    CompanionPlaces places;
};

}  // namespace

TEST_CASE("companion: the name of a workspace's state directory as the plugin makes it") {
    struct Row {
        std::string root, name;
    };
    // The expected names were made by the plugin's own expression, in Node.
    for (const auto& [root, name] : {
             Row{"/home/you/project", "project-55e8fbffcaa6d84b"},
             Row{"/home/you/project/", "project-f1089ef5ee0b2ed2"},
             Row{"/home/you/a b  c", "a-b-c-61774664a8f43512"},
             Row{"/home/you/--x--", "x-26d6dc74b4e91b85"},
             Row{"/home/you/---", "workspace-a1bef04bc4e1221f"},
             Row{"/home/you/a- -b", "a---b-2e4b4118fa411c1b"},
             Row{"/home/you/gr\xC3\xBC\xC3\x9F"
                 "e",
                 "gr-e-9396a17a1b1404af"},
             Row{"/home/you/\xF0\x9F\x98\x80", "workspace-c05a49e6d61c3d07"},
             Row{"/home/you/.dot_File-1", ".dot_File-1-d2fe5fcedfe5aac5"},
             Row{"/", "workspace-8a5edab282632443"},
         }) {
        CAPTURE(root);
        CHECK(companion_name(root, root) == name);
    }
    // The slug is of the name as given, the hash of the real path.
    CHECK(companion_name("/l/link", "/home/you/project") ==
          "link-" + companion_name("/home/you/project", "/home/you/project").substr(8));
}

TEST_CASE("companion: the state roots") {
    using Roots = std::vector<std::string>;
    CHECK(companion_roots(nullptr, nullptr, nullptr, nullptr) == Roots{"/tmp/codex-companion"});
    CHECK(companion_roots("", "", "", "") == Roots{"/tmp/codex-companion"});
    CHECK(companion_roots("/p", "/t/", "/u", "/v") == Roots{"/p/state", "/t/codex-companion"});
    CHECK(companion_roots(nullptr, nullptr, "/u", "/v") == Roots{"/u/codex-companion"});
    CHECK(companion_roots(nullptr, nullptr, nullptr, "/") == Roots{"/codex-companion"});
}

TEST_CASE("companion: an index is read and one entry changed every other byte kept") {
    const auto index = CompanionIndex::parse(two_jobs);
    REQUIRE(index);
    CHECK(index->ids() == std::vector<std::string>{"task-2", "task-1"});
    CHECK(index->find("task-1")->status() == Status::running);
    CHECK_FALSE(index->find("task-3"));
    const auto changed = index->with(
        "task-1", index->find("task-1")->with({{"status", "\"failed\""}, {"pid", "null"}}));
    std::string expected = two_jobs;
    expected.replace(expected.find("\"running\""), 9, "\"failed\"");
    expected.replace(expected.find("7,"), 1, "null");
    CHECK(changed == expected);
    CHECK_FALSE(index->with("task-3", "{}"));
}

TEST_CASE("companion: texts that are no index or hold odd entries") {
    for (const char* torn : {"", "{", "[]", "null", "{\"jobs\": [", "7"})
        CHECK_FALSE(CompanionIndex::parse(torn));
    for (const char* empty : {"{}", R"({"jobs": null})", R"({"jobs": {}})", R"({"jobs": "a"})"}) {
        const auto index = CompanionIndex::parse(empty);
        REQUIRE(index);
        CHECK(index->ids().empty());
        CHECK_FALSE(index->with_first("{}"));
    }
    const auto odd = CompanionIndex::parse(
        R"({"jobs":[1,null,"x",[],{},{"id":7},{"id":"../../etc/x"},{"id":""},{"id":"ok"}]})");
    REQUIRE(odd);
    CHECK(odd->ids() == std::vector<std::string>{"ok"});
}

TEST_CASE("companion: a job file becomes an entry of the index and the other way round") {
    const auto empty = CompanionIndex::parse("{\n  \"jobs\": []\n}\n");
    const JobDocument job = doc(
        "{\n  \"id\": \"t\",\n  \"result\": {\n    \"a\": 1\n  },\n  \"request\": {\n    \"b\": 2\n"
        "  },\n  \"rendered\": \"x\"\n}\n");
    const std::string entry =
        "{\n      \"id\": \"t\",\n      \"request\": {\n        \"b\": 2\n      }\n    }";
    CHECK(as_entry(job) == entry);
    CHECK(empty->with_first(as_entry(job)) == "{\n  \"jobs\": [\n    " + entry + "\n  ]\n}\n");
    CHECK(CompanionIndex::parse(two_jobs)->with_first(entry)->find(
              "\"jobs\": [\n    " + entry + ",\n    {\n      \"id\": \"task-2\"") !=
          std::string::npos);
    CHECK(as_job_file(doc(entry)) ==
          "{\n  \"id\": \"t\",\n  \"request\": {\n    \"b\": 2\n  }\n}\n");
    CHECK(doc(R"({"result":1,"a":2})").without({"result"}) == R"({"a":2})");
    CHECK(doc(R"({"a":1,"result":2})").without({"result"}) == R"({"a":1})");
    CHECK(doc(R"({"result":1})").without({"result"}) == R"({})");
    CHECK(doc(R"({"a":[1,2],"result":1,"b":",","result":3})").without({"result"}) ==
          R"({"a":[1,2],"b":","})");
}

TEST_CASE("companion: a line of its own in the log says that the user cancelled it") {
    const std::int64_t since = *parse_iso_time("2026-01-01T00:00:00.000Z");
    const std::string line = "[2026-01-01T00:00:01.000Z] Cancelled by user.\n";
    CHECK(says_cancelled(line, since));
    CHECK(says_cancelled("\nx\n" + line + "y\n", since));
    CHECK_FALSE(says_cancelled(line, since + 2000));
    for (const char* other :
         {"", "Cancelled by user.\n", "[x] Cancelled by user.\n", "[] Cancelled by user.\n",
          "[2026-01-01T00:00:01.000Z] Cancelled by user. Really\n",
          "[2026-01-01T00:00:01.000Z] He said: Cancelled by user.\n",
          " [2026-01-01T00:00:01.000Z] Cancelled by user.\n",
          "[2026-01-01T00:00:01.000Z] Cancelled by user."})
        CHECK_FALSE(says_cancelled(other, since));
}

TEST_CASE("companion: the table of what is to be done") {
    struct Row {
        std::string file, entry;
        bool in_log;
        bool change_file, change_entry;
        std::optional<Status> status;
    };
    const auto cancelled = Status::cancelled;
    const auto failed = Status::failed;
    for (const Row& row : {
             Row{"completed", "completed", false, false, false, {}},
             Row{"completed", "failed", false, false, false, {}},
             Row{"completed", "running", false, false, true, {}},
             Row{"cancelled", "gone", false, false, true, {}},
             Row{"running", "cancelled", false, true, false, {}},
             Row{"running", "completed", false, true, false, {}},
             Row{"running", "running", true, true, true, cancelled},
             Row{"running", "gone", true, true, true, cancelled},
             Row{"queued", "queued", false, true, true, failed},
             Row{"running", "gone", false, true, true, failed},
             Row{"gone", "running", false, false, true, failed},
             Row{"gone", "running", true, false, true, cancelled},
             Row{"gone", "failed", false, false, false, {}},
             Row{"gone", "gone", true, false, false, {}},
             Row{"torn", "running", false, true, true, failed},
             Row{"torn", "cancelled", false, true, false, {}},
             Row{"torn", "gone", false, false, false, {}},
         }) {
        CAPTURE(row.file, row.entry, row.in_log);
        CompanionSight seen = sight(row.file, row.entry);
        seen.cancelled_in_log = row.in_log;
        const CompanionRemedy remedy = remedy_for(seen, Status::failed);
        CHECK(remedy.file == row.change_file);
        CHECK(remedy.entry == row.change_entry);
        CHECK((remedy.status == row.status));
    }
    // An index that cannot be read is not one without the job.
    CompanionSight blind = sight("running", "gone");
    blind.index_is_whole = false;
    CHECK(remedy_for(blind, Status::failed).file);
    CHECK_FALSE(remedy_for(blind, Status::failed).entry);
}

TEST_CASE("companion: the sentence names the reason and the thread") {
    CHECK(companion_sentence(killed(), "thr_1") ==
          "Worker killed by SIGKILL; who sent it cannot be known. Resume with thread thr_1.");
    CHECK(companion_sentence(judge_spawn_failure("ENOENT", "node: not found"), "") ==
          "Could not be started: node: not found.");
}

TEST_CASE("companion: both files are put right and a second time nothing is written") {
    const StateDirectory state;
    CompanionMirror mirror = state.mirror();
    CHECK(mirror.step());
    const std::string job = read_text(state.places.job_file("task-1"));
    const std::string index = read_text(state.places.index);
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
    const std::string log = read_text(state.places.log_file("task-1"));
    CHECK(log.find("] Worker killed by SIGKILL; who sent it cannot be known.\n") !=
          std::string::npos);

    CHECK_FALSE(mirror.step());
    CHECK_FALSE(state.mirror().step());
    CHECK(read_text(state.places.job_file("task-1")) == job);
    CHECK(read_text(state.places.index) == index);
    CHECK(read_text(state.places.log_file("task-1")) == log);
    // Nothing is left beside the plugin's files.
    for (const auto& file : fs::directory_iterator(state.places.jobs))
        CHECK(file.path().filename().string().rfind("task-1.", 0) == 0);
}

TEST_CASE("companion: what was removed is not brought back") {
    const StateDirectory state;
    SECTION("both") {
        fs::remove(state.places.job_file("task-1"));
        fs::remove(state.places.index);
        CHECK_FALSE(state.mirror().step());
        CHECK_FALSE(fs::exists(state.places.index));
    }
    SECTION("the job file") {
        fs::remove(state.places.job_file("task-1"));
        CHECK(state.mirror().step());
        CHECK(CompanionIndex::parse(read_text(state.places.index))->find("task-1")->status() ==
              Status::failed);
    }
    SECTION("the index") {
        fs::remove(state.places.index);
        CHECK(state.mirror().step());
        CHECK_FALSE(fs::exists(state.places.index));
    }
    CHECK_FALSE((fs::exists(state.places.job_file("task-1")) && !fs::exists(state.places.jobs)));
    fs::remove(state.places.log_file("task-1"));
}

TEST_CASE("companion: an empty index is waited for and never taken for an empty state") {
    const StateDirectory state;
    write_text(state.places.index, "");
    CHECK(state.mirror().step());
    CHECK(read_text(state.places.index).empty());
    CHECK(doc(read_text(state.places.job_file("task-1"))).status() == Status::failed);
}

// Seen with eight unlocked writers: two had opened the file, and the one that wrote last had less
// to say. The plugin takes it for no jobs at all, and nothing that waits for it to be whole ever
// ends.
TEST_CASE("companion: the remains of a longer text behind a whole one are taken away") {
    const StateDirectory state;
    const std::string file = state.places.job_file("task-1");
    const std::string remains = "r-2\",\n      \"status\": \"running\"\n    }\n  ]\n}\n";
    SECTION("and the entry is put right") {
        write_text(state.places.index, two_jobs + remains);
        CHECK(state.mirror().step());
        const auto index = CompanionIndex::parse(read_text(state.places.index));
        REQUIRE(index);
        CHECK(index->ids() == std::vector<std::string>{"task-2", "task-1"});
        CHECK(index->find("task-1")->status() == Status::failed);
    }
    SECTION("with nothing to be put right") {
        CHECK(state.mirror().step());
        const std::string right = read_text(state.places.index);
        write_text(state.places.index, right + remains);
        write_text(file, read_text(file) + "}\n");
        CHECK(state.mirror().step());
        CHECK(read_text(state.places.index) == right);
        CHECK(doc(read_text(file)).status() == Status::failed);
    }
    CHECK_FALSE(state.mirror().step());
    bool is_kept = false;
    for (const auto& kept : fs::directory_iterator(state.places.own))
        is_kept = is_kept || read_text(kept.path()).ends_with(remains);
    CHECK(is_kept);
}

TEST_CASE("companion: patience with a torn file is counted from its last change") {
    const StateDirectory state;
    const std::string& path = state.places.index;
    const std::chrono::milliseconds patience(3'600'000);
    const auto age_by = [&](int hours) {
        fs::last_write_time(path, fs::file_time_type::clock::now() - hours * patience);
        return rest_of_patience(path, *stamp_at(path), patience);
    };
    CHECK(age_by(0) > patience / 2);
    CHECK(age_by(0) <= patience);
    CHECK(age_by(2) == std::chrono::milliseconds(0));
    CHECK(age_by(-2) == patience);
    // It has changed since it was read.
    age_by(2);
    const auto as_read = *stamp_at(path);
    age_by(3);
    CHECK(rest_of_patience(path, as_read, patience) == patience);
    // Another machine may have stamped it.
    const std::string elsewhere = "/proc/version";
    CHECK(rest_of_patience(elsewhere, *stamp_at(elsewhere), patience) == patience);
}

TEST_CASE("companion: a file that was torn long ago is not waited for") {
    const StateDirectory state;
    write_text(state.places.index, "{\"jobs\": [");
    const timespec long_ago{1'700'000'000, 0};
    const timespec times[]{long_ago, long_ago};
    REQUIRE(::utimensat(AT_FDCWD, state.places.index.c_str(), times, 0) == 0);
    // An hour of patience would be noticed.
    const auto theirs = read_theirs(state.places.index, std::chrono::hours(1));
    REQUIRE(theirs);
    CHECK_FALSE(theirs->whole);
}

TEST_CASE("companion: a job file that its worker left torn is made anew from the index") {
    const StateDirectory state;
    write_text(state.places.job_file("task-1"), "{\"id\": \"task-1\", \"half");
    CHECK(state.mirror().step());
    const JobDocument job = doc(read_text(state.places.job_file("task-1")));
    CHECK(job.status() == Status::failed);
    CHECK(job.value("big") == "123456789012345678901234567890");
    bool is_kept = false;
    for (const auto& file : fs::directory_iterator(state.places.own))
        is_kept = is_kept || read_text(file.path()) == "{\"id\": \"task-1\", \"half";
    CHECK(is_kept);
}

TEST_CASE("companion: mode and owner of the plugin's files stay") {
    const StateDirectory state;
    ::chmod(state.places.index.c_str(), 0640);
    CHECK(state.mirror().step());
    struct stat info {};
    REQUIRE(::stat(state.places.index.c_str(), &info) == 0);
    CHECK((info.st_mode & 07777) == 0640);
}
