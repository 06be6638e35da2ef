// How a message looks on a terminal.
#include "common/say.hpp"

#include "tests/catch.hpp"

using namespace jobshim;

TEST_CASE("say: one line with the program's name and nothing that moves a cursor") {
    CHECK(format_message("jobshim", "open a.json: No such file") ==
          "jobshim: open a.json: No such file\n");
    CHECK(format_message("jobctl", "") == "jobctl: \n");
    CHECK(format_message("jobctl", "a\x1B[2Jb\rc\x07") == "jobctl: a\uFFFD[2Jb\uFFFDc\uFFFD\n");
    CHECK(format_message("jobctl", "\xFF.json") == "jobctl: \uFFFD.json\n");
    CHECK(format_message("jobctl", "a\nb\tc") == "jobctl: a\uFFFDb\uFFFDc\n");
}

TEST_CASE("say: a list keeps its lines") {
    CHECK(
        format_message("jobctl", "'a' is ambiguous; it could be any of\n  /x/a1\n  /x/a2", true) ==
        "jobctl: 'a' is ambiguous; it could be any of\n  /x/a1\n  /x/a2\n");
    CHECK(format_message("jobctl", "a\x1B\nb", true) == "jobctl: a\uFFFD\nb\n");
}

TEST_CASE("say: what is already printable stays as it is") {
    const std::string once = format_message("jobctl", "a\x1B\xFF");
    CHECK(format_message("jobctl", "a\uFFFD\uFFFD") == once);
}
