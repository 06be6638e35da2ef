// What jobctl prints about a job, and what of a log reaches a terminal.
#include "shim/jobctl/output.hpp"

#include <nlohmann/json.hpp>

#include "tests/catch.hpp"
#include "tests/samples.hpp"

using namespace jobshim;

namespace {

// Everything that could do harm: DEL, C1, bidirectional controls, and a byte that is not UTF-8.
const std::string wild = "a\x7f\xc2\x9b\u202e\u2067\xff";

JobReport wild_report() {
    JobReport report;
    report.id = wild;
    report.file = "/x/" + wild;
    report.job = doc("{\n  \"status\": \"" + wild + "\",\n  \"k" + wild + "\": 1.10\n}\n");
    report.verdict = {State::unknown, wild + "\nb"};
    report.not_recorded = wild;
    return report;
}

}  // namespace

TEST_CASE("output: JSON escapes what a terminal might obey and means the same") {
    const std::string text = json_of(wild_report());
    for (const char* harmful : {"\x7f", "\xc2\x9b", "\u202e", "\u2067", "\xff"})
        CHECK(text.find(harmful) == std::string::npos);
    const std::string means = "a\x7f\u009b\u202e\u2067\uFFFD";
    const auto json = nlohmann::json::parse(text);
    CHECK(json["id"] == means);
    CHECK(json["file"] == "/x/" + means);
    CHECK(json["status"] == means);
    CHECK(json["verdict"]["because"] == means + "\nb");
    CHECK(json["verdict"]["notRecorded"] == means);
    CHECK(json["job"]["status"] == means);
    CHECK(json["job"]["k" + means] == 1.1);
    CHECK(text.find(R"(\u007f\u009b\u202e\u2067)"
                    "\uFFFD\": 1.10\n}") != std::string::npos);
    CHECK(json_array_of({wild_report(), wild_report()}) == "[" + text + ",\n" + text + "]\n");
}

TEST_CASE("output: the line about a job is one line and shows what it hides") {
    const std::string shown = "a\uFFFD\uFFFD<U+202E><U+2067>\uFFFD";
    CHECK(status_line(wild_report()) == shown + "  unknown  " + shown +
                                            "\uFFFD"
                                            "b\n");
}

TEST_CASE("output: no id and no reason looks like another column or line") {
    JobReport report = wild_report();
    report.id = "good  completed\u200b\u3000x";
    report.verdict.because = "Done.          deploy  completed  Completed.";
    CHECK(status_line(report) ==
          "good<U+0020><U+0020>completed<U+200B><U+3000>x  unknown  "
          "Done. deploy completed Completed.\n");
}

TEST_CASE("output: a log on a terminal keeps its lines and the colours that can be read") {
    struct Row {
        const char* bytes;
        const char* shown;
    };
    for (const Row& row : {
             Row{"a\tb\r\nc", "a\tb\r\nc"},
             Row{"\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m"},
             Row{"\x1b[2J\x07\x7f\xc2\x9bK", "\uFFFD[2J\uFFFD\uFFFD\uFFFDK"},
             Row{"evil\u202etxt\u2069", "evil<U+202E>txt<U+2069>"},
             Row{"caf\xc3\xa9 \xc3", "caf\xc3\xa9 \uFFFD"},
             Row{"rm -rf\rall well", "rm -rf\nall well"},
             Row{"50%\r\r100%\r\r\nok\r", "50%\n100%\r\nok\n"},
             Row{"\x1b[8mhid\x1b[28m", "hid"},
             Row{"\x1b[30;40mhid\x1b[97;107m", "hid"},
             Row{"\x1b[1;38;5;0;4mhid\x1b[m", "\x1b[1;4mhid\x1b[0m"},
             Row{"\x1b[48;2;31;32;33;3mhid\x1b[38:2::0:0:0m", "\x1b[3mhid\x1b[0m"},
             Row{"\x1b[38;01;31mred\x1b[00m", "\x1b[1;31mred\x1b[0m"},
             Row{"\x1b[38;2;38;2;7;1mhid\x1b[38;5m\x1b[;m", "\x1b[1mhid\x1b[0;0m"},
             Row{"\x1b[91mleft on", "\x1b[91mleft on\x1b[0m"},
         }) {
        const std::string_view bytes = row.bytes;
        // However the log is cut into blocks.
        for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
            CAPTURE(row.shown, cut);
            TerminalFilter filter;
            std::string shown = filter.pass(bytes.substr(0, cut));
            shown += filter.pass(bytes.substr(cut));
            CHECK(shown + filter.rest() == row.shown);
        }
    }
}
