#include "common/units.hpp"

#include <csignal>

#include "tests/catch.hpp"

using namespace jobshim;
using std::chrono::milliseconds;

TEST_CASE("units: durations") {
    CHECK(parse_duration("5") == milliseconds(5000));
    CHECK(parse_duration("0") == milliseconds(0));
    CHECK(parse_duration("250ms") == milliseconds(250));
    CHECK(parse_duration("1.5s") == milliseconds(1500));
    CHECK(parse_duration(".5s") == milliseconds(500));
    CHECK(parse_duration("0.5m") == milliseconds(30'000));
    CHECK(parse_duration("2h") == milliseconds(7'200'000));
    CHECK(parse_duration("1d") == milliseconds(86'400'000));
    CHECK(parse_duration("0.0001s") == milliseconds(1));  // short, but not 0, which means never
    CHECK(parse_duration("99999999999d") == std::chrono::hours(24 * 365 * 100));
    for (const char* text : {"", "s", "-1", "-1s", "+1", "1 s", "1x", "1ss", "nan", "inf", "1e3",
                             "1,5", "0x10", " 1"}) {
        INFO(text);
        CHECK_FALSE(parse_duration(text));
    }
}

TEST_CASE("units: counts are decimal digits and nothing else") {
    CHECK(parse_count("0") == 0);
    CHECK(parse_count("010") == 10);
    CHECK(parse_count("18446744073709551615") == UINT64_MAX);
    for (const char* text : {"", "-1", "+1", " 1", "1 ", "0x10", "1.0", "18446744073709551616"})
        CHECK_FALSE(parse_count(text));
}

TEST_CASE("units: durations in words") {
    CHECK(describe_duration(milliseconds(0)) == "0 ms");
    CHECK(describe_duration(milliseconds(250)) == "250 ms");
    CHECK(describe_duration(milliseconds(-250)) == "-250 ms");
    CHECK(describe_duration(milliseconds::min()).starts_with("-"));
    CHECK(describe_duration(milliseconds(1500)) == "1.5 s");
    CHECK(describe_duration(milliseconds(17'000)) == "17 s");
    CHECK(describe_duration(milliseconds(90'000)) == "1 min 30 s");
    CHECK(describe_duration(milliseconds(3'600'000)) == "1 h");
    CHECK(describe_duration(milliseconds(90'000'000)) == "1 d 1 h");
}

TEST_CASE("units: signals by name and number") {
    for (const char* text : {"TERM", "SIGTERM", "term", "sigterm", "15"})
        CHECK(parse_signal(text) == SIGTERM);
    CHECK(parse_signal("RTMIN") == 34);  // with glibc and with musl, where SIGRTMIN is 35
    CHECK(parse_signal("SIGRTMIN+1") == 35);
    CHECK(parse_signal("RTMAX-2") == SIGRTMAX - 2);
    for (const char* text : {"0", "EXIT", "exit"}) CHECK(parse_signal(text) == 0);
    for (const char* text : {"", "-1", "-9", "65", "1000000000000", "NOPE", "SIG", "RTMIN+99",
                             "RTMIN-1", "RTMIN+", "RTMAX+1", "9 "}) {
        INFO(text);
        CHECK_FALSE(parse_signal(text));
    }
    for (int signal = 1; signal < 32; ++signal) {
        const std::string name = signal_name(signal);
        CHECK(parse_signal(name) == signal);
    }
    CHECK(signal_name(35) == "SIGRTMIN+1");
    CHECK(parse_signal(signal_name(SIGRTMAX)) == SIGRTMAX);
}

TEST_CASE("units: times of day convert both ways") {
    CHECK(iso_time(0) == "1970-01-01T00:00:00.000Z");
    CHECK(iso_time(1'795'368'840'123) == "2026-11-22T17:34:00.123Z");
    CHECK(iso_time(-1) == "1969-12-31T23:59:59.999Z");
    for (const std::int64_t ms : {std::int64_t{0}, std::int64_t{951'782'400'000},
                                  std::int64_t{1'795'368'840'123}, std::int64_t{4'102'444'800'001}})
        CHECK(parse_iso_time(iso_time(ms)) == ms);
    CHECK(parse_iso_time("2026-11-22T17:34:00Z") == 1'795'368'840'000);
    for (const char* text : {"", "2026-11-22", "2026-13-22T17:34:00Z", "2026-02-30T17:34:00Z",
                             "2026-11-22T25:34:00Z", "2026-11-22 17:34:00Z", "2026-11-22T17:34:00",
                             "2026-11-22T17:34:00.Z", "2026-11-22T17:34:00.1xZ"}) {
        INFO(text);
        CHECK_FALSE(parse_iso_time(text));
    }
}

TEST_CASE("units: nothing that controls a terminal gets through") {
    CHECK(printable("a\x1b[31mb\x07\n\t\x7f") == "a\uFFFD[31mb\uFFFD\uFFFD\uFFFD\uFFFD");
    CHECK(printable("a\nb\tc\r", true) == "a\nb\tc\uFFFD");
    CHECK(printable("\xc2\x9b\x41") ==
          "\uFFFD"
          "A");  // the C1 control CSI
    CHECK(printable("é\xff") == "é\uFFFD");
}

// "exe.txt" could be shown as "txt.exe", and a whole sentence as another.
TEST_CASE("units: controls and bidirectional controls for people and in JSON") {
    struct Row {
        const char* text;
        const char* shown;
        const char* json;
    };
    for (const Row& row : {
             Row{"plain \u00e9 \u20ac \U0001F600", "plain \u00e9 \u20ac \U0001F600",
                 "plain \u00e9 \u20ac \U0001F600"},
             Row{"\x7f", "\uFFFD", "\\u007f"},
             Row{"\xc2\x80", "\uFFFD", "\\u0080"},
             Row{"\xc2\x9b", "\uFFFD", "\\u009b"},
             Row{"\xc2\x9f", "\uFFFD", "\\u009f"},
             Row{"\u00a0", "\u00a0", "\u00a0"},
             Row{"\u061c", "<U+061C>", "\\u061c"},
             Row{"\u200e\u200f", "<U+200E><U+200F>", "\\u200e\\u200f"},
             Row{"\u200d\u2010", "\u200d\u2010", "\u200d\u2010"},
             Row{"a\u202eb", "a<U+202E>b", "a\\u202eb"},
             Row{"\u202a\u202b\u202c\u202d", "<U+202A><U+202B><U+202C><U+202D>",
                 "\\u202a\\u202b\\u202c\\u202d"},
             Row{"\u2029\u202f", "\u2029\u202f", "\u2029\u202f"},
             Row{"\u2066\u2067\u2068\u2069", "<U+2066><U+2067><U+2068><U+2069>",
                 "\\u2066\\u2067\\u2068\\u2069"},
             Row{"\u2065\u206a\u061b", "\u2065\u206a\u061b", "\u2065\u206a\u061b"},
             Row{"\xff\xe2\x80", "\uFFFD\uFFFD\uFFFD", "\uFFFD\uFFFD\uFFFD"},
         }) {
        CAPTURE(row.text);
        CHECK(printable(row.text) == row.shown);
        CHECK(printable(row.shown) == row.shown);
        CHECK(printable(row.text, true) == row.shown);
        CHECK(printable_json(row.text) == row.json);
        CHECK(printable_json(row.json) == row.json);
    }
    // The white space between members stays.
    CHECK(printable_json("{\n\t\"a\": 1\r\n}") == "{\n\t\"a\": 1\r\n}");
    CHECK(printable("a\nb\t\u202e", true) == "a\nb\t<U+202E>");
}

TEST_CASE("units: UTF-8") {
    CHECK(is_utf8("aé€😀"));
    for (const char* bytes : {"\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82",
                              "\x80", "\xf0\x80\x80\x80"}) {
        CHECK_FALSE(is_utf8(bytes));
        CHECK(is_utf8(to_utf8(bytes)));
    }
    CHECK(to_utf8("a\xff"
                  "b") == "a\uFFFDb");
}

TEST_CASE("units: base64") {
    for (const std::string bytes : {"", "f", "fo", "foo", "\xFF\xFE/log", "/a/b\xC3.log"})
        CHECK(from_base64(base64(bytes)) == bytes);
    for (const char* text : {"Z", "Zg", "Zg=", "Zh==", "Zg==Zg==", "Zm9", "Z*==", "===="})
        CHECK_FALSE(from_base64(text));
    CHECK(base64("").empty());
    CHECK(base64("f") == "Zg==");
    CHECK(base64("fo") == "Zm8=");
    CHECK(base64("foo") == "Zm9v");
    CHECK(base64("foobar") == "Zm9vYmFy");
    CHECK(base64("\xff\xfe\xfd") == "//79");
}

TEST_CASE("units: a character that may be wide counts as two columns") {
    const auto width_of = [](std::string_view text) {
        std::size_t width = 0;
        for (std::size_t at = 0; at < text.size(); ++at) width += columns_at(text, at);
        return width;
    };
    CHECK(width_of("abc") == 3);
    CHECK(width_of("caf\u00e9 \u2026\uFFFD") == 7);
    CHECK(width_of("\u65e5\u672c") == 4);
    CHECK(width_of("\uAC00\u1100\u2705") == 6);
    CHECK(width_of("\U0001F600") == 2);
}
