#include "common/companion/remedy.hpp"

#include <map>

#include "common/units.hpp"
#include "tests/catch.hpp"
#include "tests/samples.hpp"

using namespace jobshim;

namespace {

CompanionView view(const std::string& file, const std::string& entry) {
    CompanionView view;
    view.index_is_whole = true;
    const auto with_status = [](const std::string& word) {
        return doc(R"({"status":")" + word + R"("})");
    };
    if (file == "torn") {
        view.file_exists = true;
    } else if (file != "gone") {
        view.file_exists = true;
        view.job = with_status(file);
    }
    if (entry != "gone") view.entry = with_status(entry);
    return view;
}

}  // namespace

TEST_CASE("companion: the remedy table") {
    struct Row {
        std::string file, entry;
        bool in_log;
        bool change_file, change_entry;
        std::optional<Status> status;
    };
    const auto cancelled = Status::cancelled;
    const auto failed = Status::failed;
    for (const Row& row : {
             // final | final
             Row{"completed", "completed", false, false, false, {}},
             Row{"completed", "failed", false, false, false, {}},
             Row{"failed", "cancelled", true, false, false, {}},
             // final | active, or missing
             Row{"completed", "running", false, false, true, {}},
             Row{"failed", "queued", true, false, true, {}},
             Row{"cancelled", "gone", false, false, true, {}},
             // active | cancelled, or any other final word
             Row{"running", "cancelled", false, true, false, {}},
             Row{"queued", "cancelled", true, true, false, {}},
             Row{"running", "completed", false, true, false, {}},
             // active | active or missing, and the log says that the job was cancelled
             Row{"running", "running", true, true, true, cancelled},
             Row{"queued", "running", true, true, true, cancelled},
             Row{"running", "gone", true, true, true, cancelled},
             // active | active or missing
             Row{"running", "running", false, true, true, failed},
             Row{"queued", "queued", false, true, true, failed},
             Row{"running", "gone", false, true, true, failed},
             // A status that is unknown here is not final.
             Row{"dreaming", "running", false, true, true, failed},
             Row{"running", "dreaming", false, true, true, failed},
             // gone | there
             Row{"gone", "running", false, false, true, failed},
             Row{"gone", "running", true, false, true, cancelled},
             Row{"gone", "failed", false, false, false, {}},
             Row{"gone", "cancelled", true, false, false, {}},
             // gone | gone
             Row{"gone", "gone", false, false, false, {}},
             Row{"gone", "gone", true, false, false, {}},
             // The file exists but is torn; it can be rebuilt only from its entry.
             Row{"torn", "running", false, true, true, failed},
             Row{"torn", "running", true, true, true, cancelled},
             Row{"torn", "cancelled", false, true, false, {}},
             Row{"torn", "gone", false, false, false, {}},
             Row{"torn", "gone", true, false, false, {}},
         }) {
        CAPTURE(row.file, row.entry, row.in_log);
        CompanionView seen = view(row.file, row.entry);
        seen.cancelled_in_log = row.in_log;
        const CompanionRemedy remedy = remedy_for(seen, Status::failed);
        CHECK(remedy.file == row.change_file);
        CHECK(remedy.entry == row.change_entry);
        CHECK((remedy.status == row.status));
        CHECK(remedy.is_none() == (!row.change_file && !row.change_entry));
        // Any other end is recorded in the same places.
        const CompanionRemedy other = remedy_for(seen, Status::completed);
        CHECK(other.file == row.change_file);
        CHECK(other.entry == row.change_entry);
        CHECK((other.status == (row.status == failed ? Status::completed : row.status)));
    }
    // An index that cannot be read may still contain the job.
    CompanionView blind = view("running", "gone");
    blind.index_is_whole = false;
    CHECK(remedy_for(blind, Status::failed).file);
    CHECK_FALSE(remedy_for(blind, Status::failed).entry);
}

TEST_CASE("companion: what follows a whole text is removed with or without a change") {
    struct Row {
        std::string file, entry;
        bool file_trailing_text, index_trailing_text;
        bool mend_file, mend_index;
    };
    for (const Row& row : {
             Row{"completed", "completed", true, true, true, true},
             Row{"completed", "completed", true, false, true, false},
             Row{"completed", "running", true, true, true, false},
             Row{"running", "cancelled", true, true, false, true},
             Row{"running", "running", true, true, false, false},
             Row{"gone", "gone", false, true, false, true},
         }) {
        CAPTURE(row.file, row.entry, row.file_trailing_text, row.index_trailing_text);
        CompanionView seen = view(row.file, row.entry);
        seen.file_has_trailing_text = row.file_trailing_text;
        seen.index_has_trailing_text = row.index_trailing_text;
        const CompanionRemedy remedy = remedy_for(seen, Status::failed);
        CHECK(remedy.mend_file == row.mend_file);
        CHECK(remedy.mend_index == row.mend_index);
        CHECK_FALSE(remedy.is_none());
    }
}

TEST_CASE("companion: what is written to the two files") {
    using Members = std::map<std::string, std::string>;
    const auto in_both = [](const CompanionView& seen, const CompanionRemedy& remedy,
                            const Conclusion& last) {
        Members members;
        for (const auto& member : final_members(remedy, seen, last, "now"))
            members[member.key] = member.json;
        return members;
    };
    const auto in_file = [](const CompanionView& seen, const CompanionRemedy& remedy,
                            const Conclusion& last) {
        Members members;
        for (const auto& member : final_file_members(remedy, seen, last, "now"))
            members[member.key] = member.json;
        return members;
    };
    CompanionView seen = view("running", "running");
    Conclusion last = killed();
    SECTION("the end as it was seen") {
        seen.entry = doc(R"({"status":"running","threadId":"thr_1"})");
        last.exit.ended_at = "then";
        const Members expected{{"status", "\"failed\""},
                               {"phase", "\"failed\""},
                               {"pid", "null"},
                               {"updatedAt", "\"now\""},
                               {"completedAt", "\"then\""},
                               {"errorMessage",
                                "\"Worker killed by SIGKILL; who sent it cannot be known. Resume "
                                "with thread thr_1.\""}};
        CHECK(in_both(seen, {.status = Status::failed}, last) == expected);
        CHECK(in_file(seen, {.status = Status::failed}, last) == expected);
    }
    SECTION("success has no sentence") {
        last = judge_witnessed({});
        const auto members = in_both(seen, {.status = Status::completed}, last);
        CHECK(members.at("phase") == "\"done\"");
        CHECK(members.at("errorMessage") == "null");
        CHECK(members.at("completedAt") == "\"now\"");
    }
    SECTION("the plugin's cancellation, which is no end that we have seen") {
        last.exit.ended_at = "then";
        Members expected{{"status", "\"cancelled\""},
                         {"phase", "\"cancelled\""},
                         {"pid", "null"},
                         {"updatedAt", "\"now\""},
                         {"completedAt", "\"now\""},
                         {"errorMessage", "\"Cancelled by user.\""}};
        CHECK(in_both(seen, {.status = Status::cancelled}, last) == expected);
        expected["cancelledAt"] = "\"now\"";
        CHECK(in_file(seen, {.status = Status::cancelled}, last) == expected);
    }
    SECTION("in step with the file") {
        seen.job =
            doc(R"({"status":"completed","phase":"told","completedAt":"then","threadId":"thr_1",)"
                R"("errorMessage":null,"result":1})");
        const Members expected{
            {"status", "\"completed\""}, {"phase", "\"told\""},       {"pid", "null"},
            {"updatedAt", "\"now\""},    {"completedAt", "\"then\""}, {"errorMessage", "null"},
            {"threadId", "\"thr_1\""}};
        CHECK(in_both(seen, {.entry = true}, last) == expected);
    }
    SECTION("in step with the entry") {
        seen.entry = doc(R"({"status":"cancelled"})");
        const Members expected{{"status", "\"cancelled\""},
                               {"phase", "\"cancelled\""},
                               {"pid", "null"},
                               {"updatedAt", "\"now\""},
                               {"completedAt", "\"now\""}};
        CHECK(in_both(seen, {.file = true}, last) == expected);
        CHECK(in_file(seen, {.file = true}, last) == expected);
    }
}

TEST_CASE("companion: the sentence names the reason and the thread") {
    CHECK(companion_sentence(killed(), "thr_1") ==
          "Worker killed by SIGKILL; who sent it cannot be known. Resume with thread thr_1.");
    CHECK(companion_sentence(judge_spawn_failure("ENOENT", "node: not found"), "") ==
          "Could not be started: node: not found.");
}

TEST_CASE("companion: only a separate line in the log says that the user cancelled it") {
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
