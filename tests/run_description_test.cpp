#include "shim/jobshim/run_description.hpp"

#include "common/units.hpp"

#include "tests/catch.hpp"
#include "tests/samples.hpp"

using namespace jobshim;

namespace {

struct Run {
    std::vector<std::string> words;
    std::string directory = "/here";
    ShimOptions options;

    JobEdit describe(const std::optional<JobDocument>& before = std::nullopt) {
        std::vector<char*> command;
        for (std::string& word : words) command.push_back(word.data());
        command.push_back(nullptr);
        options.command = command.data();
        RunContext context;
        context.observer.here.pid = 42;
        context.working_directory = directory;
        return describe_run(options, context, job_files_of("/a.json"), "a", before);
    }
};

using Words = std::vector<std::string>;

}  // namespace

TEST_CASE("run description: a command in UTF-8 is told as it is") {
    Run run{.words = {"node", "", "w\xC3\xB6rker.mjs"}, .options = {}};
    const JobEdit edit = run.describe();
    CHECK(edit.id == "a");
    CHECK(edit.command == run.words);
    CHECK(edit.title == "node  w\xC3\xB6rker.mjs");
    CHECK(edit.cwd == "/here");
    CHECK(edit.run.shim.pid == 42);
    CHECK(edit.run.heartbeat_file == "/a.heartbeat");
    CHECK(edit.run.raw_command.empty());
    CHECK(edit.run.raw_cwd.empty());
    CHECK(edit.run.command.empty());
    CHECK(edit.run.previous.empty());
}

TEST_CASE("run description: what JSON cannot hold is kept beside it, byte for byte") {
    Run run{.words = {"cat", "\xFF"}, .directory = "/\xFE", .options = {}};
    const JobEdit edit = run.describe();
    CHECK(edit.command == Words{"cat", "\xEF\xBF\xBD"});
    CHECK(edit.run.raw_command == run.words);
    CHECK(edit.cwd == "/\xEF\xBF\xBD");
    CHECK(edit.run.raw_cwd == "/\xFE");
}

TEST_CASE("run description: a long command is not repeated in the title") {
    Run run{.words = {}, .options = {}};
    const std::string word = "\u00e9" + std::string(3000, 'x');
    for (int i = 0; i < 10; ++i) run.words.push_back(word);
    const std::string title = run.describe().title;
    CHECK(title.size() <= 4096 + 3);
    CHECK(title.ends_with("x\u2026"));
    CHECK(is_utf8(title));
}

TEST_CASE("run description: a title is used if there is one") {
    Run run{.words = {"true"}, .options = {}};
    run.options.title = "nightly";
    CHECK(run.describe().title == "nightly");
}

TEST_CASE("run description: a job file that is run again keeps its command beside the new one") {
    struct Case {
        std::string before;
        Words command;
    };
    const std::vector<Case> cases{
        {R"({"command":["true"]})", {}},
        {R"({"command":["false"]})", {"true"}},
        {R"({"command":"true"})", {"true"}},
        {R"({})", {}},
    };
    for (const auto& [before, command] : cases) {
        CAPTURE(before);
        Run run{.words = {"true"}, .options = {}};
        CHECK(run.describe(doc(before)).run.command == command);
    }
}

TEST_CASE("run description: the end of the run before becomes the previous one") {
    JobEdit earlier;
    earlier.run.shim.pid = 7;
    earlier.set_end(killed(), "2026-01-02T03:04:05.678Z");
    const JobDocument before = doc(earlier.as_new_file());
    Run run{.words = {"true"}, .options = {}};
    CHECK_FALSE(before.exit_text().empty());
    CHECK(run.describe(before).run.previous == before.exit_text());
}
