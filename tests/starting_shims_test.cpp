// What a jobshim command line says about its job file, according to the single grammar of its
// options.
#include "shim/jobctl/starting_shims.hpp"

#include "common/shim_grammar.hpp"
#include "tests/catch.hpp"

using namespace jobshim;

TEST_CASE("grammar: an option is found by either name and no other word is") {
    REQUIRE(find_shim_option("--job") != nullptr);
    CHECK(find_shim_option("-j") == find_shim_option("--job"));
    CHECK(find_shim_option("--job")->takes_value());
    CHECK_FALSE(find_shim_option("--detach")->takes_value());
    CHECK_FALSE(find_shim_option("-h")->takes_value());
    for (const char* word : {"", "-", "--", "-d", "--jo", "--jobs", "job", "--job=a"})
        CHECK(find_shim_option(word) == nullptr);
}

TEST_CASE("starting shims: the job that a command line names") {
    struct Row {
        std::vector<std::string> words;  // after "jobshim"
        const char* file;
        const char* id;
    };
    for (const Row& row : {
             Row{{}, "", ""},
             Row{{"true"}, "", ""},
             Row{{"--job", "a.json", "true"}, "a.json", ""},
             Row{{"--job=a.json", "true"}, "a.json", ""},
             Row{{"-j", "a.json", "true"}, "a.json", ""},
             Row{{"-ja.json", "true"}, "a.json", ""},
             Row{{"--id", "a", "--", "true"}, "", "a"},
             Row{{"--id=a", "--job=b.json"}, "b.json", "a"},
             // The value of another option is not an option.
             Row{{"--title", "--job", "-j", "a.json"}, "a.json", ""},
             Row{{"--title=--job", "b.json"}, "", ""},
             // A flag takes no value, and neither does an option that is unknown here.
             Row{{"--detach", "--job", "a.json"}, "a.json", ""},
             Row{{"--detach=true", "--job", "a.json"}, "a.json", ""},
             Row{{"--of-tomorrow", "--job", "a.json"}, "a.json", ""},
             Row{{"-x", "--job", "a.json"}, "a.json", ""},
             // The worker's options are not the shim's.
             Row{{"--", "--job", "a.json"}, "", ""},
             Row{{"jobshim", "--job", "a.json"}, "", ""},
             Row{{"-", "--job", "a.json"}, "", ""},
             // The last one counts; an option without its value names nothing.
             Row{{"-j", "a.json", "--job=b.json"}, "b.json", ""},
             Row{{"--id", "a", "--job"}, "", "a"},
             Row{{"--job="}, "", ""},
         }) {
        std::vector<std::string> words = row.words;
        words.insert(words.begin(), "jobshim");
        CAPTURE(row.words);
        const NamedJob named = job_named_by(words);
        CHECK(named.file == row.file);
        CHECK(named.id == row.id);
    }
}
