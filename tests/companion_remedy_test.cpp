#include "common/companion/remedy.hpp"

#include <map>

#include "common/units.hpp"
#include "tests/catch.hpp"

using namespace jobshim;

namespace {

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

}  // namespace

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
