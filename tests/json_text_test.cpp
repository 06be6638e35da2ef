#include "common/json_text.hpp"

#include <map>

#include "tests/catch.hpp"

using namespace jobshim;

namespace {

std::string nested(std::size_t levels) {
    std::string text = R"({"a":)";
    text.append(levels - 1, '[').append(levels - 1, ']');
    return text + "}";
}

std::map<std::string, std::string> members_of(const std::string& text) {
    std::map<std::string, std::string> result;
    const JsonScan scan = scan_json_object(text);
    REQUIRE(scan.fault == JsonFault::none);
    for (const JsonMember& member : scan.members)
        result[member.key] = text.substr(member.value_begin, member.value_end - member.value_begin);
    return result;
}

}  // namespace

TEST_CASE("json: a member of a scanned text is found without another scan") {
    for (const std::string text : {
             R"({})",
             R"({ "a" : 1 , "b":[ 2, {"c": 3}, "]" ] ,"d": {"a": "}", "e": null}, "x":"" })",
             R"({"a":"\"b\":1","b":"\\","c":true,"e":{},"f":[],"a":[ ]})",
             "{\n  \"a\": {\n    \"b\": {}\n  },\n  \"b\": -1.5e3\n}",
         }) {
        CAPTURE(text);
        const auto members = members_of(text);
        for (const char* key : {"a", "b", "c", "d", "e", "f", "x", ""}) {
            CAPTURE(key);
            const auto found = members.find(key);
            CHECK(find_json_member(text, key) == (found == members.end() ? "" : found->second));
        }
    }
    // Text that is not an object does not make it read past the end.
    for (const char* text :
         {"", "7", "\"a", "{", "{\"a", "{\"a\"", "{\"a\":", "{\"a\":\"\\", "}}]"})
        CHECK(find_json_member(text, "a").empty());
}

TEST_CASE("json: what JavaScript's JSON.parse accepts") {
    for (const char* text : {
             "{}",
             " \t\r\n{ } \n",
             R"({"a":1})",
             R"({"a":"\ud83d"})",
             R"({"a":123456789012345678901234567890,"b":1.10,"c":1E5,"d":1e400,"e":-0})",
             R"({"a":1,"a":2,"":3})",
             R"({"a":[[],{},[{}],"]}"],"b":{"c":{"d":null}},"e":true,"f":false})",
             "{\"a\":\"\xff\xfe\x7f\"}",
             R"({"a":"\"\\\/\b\f\n\r\t\u00e9"})",
         }) {
        INFO(text);
        CHECK(scan_json_object(text).fault == JsonFault::none);
    }
}

TEST_CASE("json: what JavaScript's JSON.parse refuses") {
    for (const char* text : {
             "",
             " ",
             "{",
             "}",
             R"({"a")",
             R"({"a":)",
             R"({"a":1)",
             R"({"a":1,})",
             R"({,"a":1})",
             R"({"a" 1})",
             R"({a:1})",
             R"({'a':1})",
             R"({"a":1}x)",
             R"({"a":1}{"b":2})",
             R"({"a":01})",
             R"({"a":1.})",
             R"({"a":.5})",
             R"({"a":+1})",
             R"({"a":-})",
             R"({"a":1e})",
             R"({"a":tru})",
             R"({"a":nul})",
             R"({"a":NaN})",
             R"({"a":"\x"})",
             R"({"a":"\u12g4"})",
             R"({"a":"\ud83)",
             R"({"a":"b)",
             R"({"a":[1,]})",
             R"({"a":[1 2]})",
             R"({"a":[1}})",
             "{\"a\":\"\n\"}",
             "{\"a\":\"\t\"}",
             "{\xEF\xBB\xBF}",
             "\xEF\xBB\xBF\xEF\xBB\xBF{}",
             "{/**/}",
         }) {
        INFO(text);
        CHECK(scan_json_object(text).fault == JsonFault::malformed);
    }
    CHECK(scan_json_object(std::string("{\0}", 3)).fault == JsonFault::malformed);
    // JSON.parse refuses it, but whoever reads a file for it takes it off.
    CHECK(scan_json_object("\xEF\xBB\xBF{}").fault == JsonFault::none);
}

TEST_CASE("json: every prefix of a good text is torn and none crashes") {
    const std::string text =
        R"( {"a":[1,-2.5e+7,{"b":"\ud83d\ude00\n"}],"c":{"d":[[],{}]},"e":null,"f":"x"} )";
    const std::size_t end = text.rfind('}');
    for (std::size_t length = 0; length <= end; ++length)
        CHECK(scan_json_object(text.substr(0, length)).fault == JsonFault::malformed);
    CHECK(scan_json_object(text.substr(0, end + 1)).fault == JsonFault::none);
}

TEST_CASE("json: texts that are not an object") {
    for (const char* text : {"[]", "1", "null", "\"x\"", "[{\"a\":1}]", "true"})
        CHECK(scan_json_object(text).fault == JsonFault::not_object);
}

TEST_CASE("json: depth is counted without recursion") {
    CHECK(scan_json_object(nested(max_json_levels)).fault == JsonFault::none);
    CHECK(scan_json_object(nested(max_json_levels + 1)).fault == JsonFault::too_deep);
    CHECK(scan_json_object(nested(10'000)).fault == JsonFault::too_deep);
    CHECK_FALSE(scan_json_object(nested(250)).is_for_some_parsers);
    CHECK(scan_json_object(nested(251)).is_for_some_parsers);
    CHECK_FALSE(scan_json_object(R"({"a":)" + std::string(1'000, '7') + "}").is_for_some_parsers);
    CHECK(scan_json_object(R"({"a":[)" + std::string(1'001, '7') + "]}").is_for_some_parsers);
    CHECK(scan_json_object(std::string(5'000'000, '[')).fault == JsonFault::too_deep);
}

TEST_CASE("json: members are counted and of the object itself only") {
    const auto members = [](std::size_t count) {
        std::string text = "{";
        for (std::size_t i = 0; i < count; ++i)
            text += (i > 0 ? ",\"" : "\"") + std::to_string(i % 7) + "\":0";
        return text + "}";
    };
    CHECK(scan_json_object(members(max_json_members)).fault == JsonFault::none);
    const JsonScan scan = scan_json_object(members(max_json_members + 1));
    CHECK(scan.fault == JsonFault::too_many_members);
    CHECK(scan.is_beyond_bounds());
    CHECK(scan.describe_fault() == "more than 10000 members");
    CHECK(scan_json_object("{\"a\":" + members(max_json_members + 1) + "}").fault ==
          JsonFault::none);
    // No more of it is read.
    CHECK(scan_json_object(members(100'000).substr(0, 500'000)).fault ==
          JsonFault::too_many_members);

    CHECK(json_size(members(12'345)).most_members == 12'345);
    struct Row {
        const char* text;
        std::size_t most;
    };
    for (const Row& row : {Row{"{}", 0}, Row{"7", 0}, Row{"\"a:b\"", 0}, Row{"[{},{}]", 0},
                           Row{R"({"a":{"b":1,"c":2,"d":{"e":3}},"f":4})", 3},
                           Row{R"([{"a":1},{"a":1,"a":2},{"a":[{"b":{}}]}])", 2},
                           Row{R"({"{\"a\":1,\"b\":2}":":::"})", 1}, Row{"}}]:", 0}, Row{"{\"a", 0},
                           Row{"{\"\\", 0}}) {
        CAPTURE(row.text);
        CHECK(json_size(row.text).most_members == row.most);
    }
}

TEST_CASE("json: the positions of the members") {
    const std::string text = "{ \"a\" : 1 ,\"\\u0062\":[ 1, {\"a\":2} ] , \"c\":{} }";
    const auto members = members_of(text);
    CHECK(members.at("a") == "1");
    CHECK(members.at("b") == "[ 1, {\"a\":2} ]");
    CHECK(members.at("c") == "{}");
    CHECK(members.size() == 3);
    const JsonScan scan = scan_json_object(text);
    CHECK(text[scan.open] == '{');
    CHECK(scan.close == text.size() - 1);
    CHECK(text[scan.members[0].key_begin] == '"');
}

TEST_CASE("json: strings are decoded to UTF-8 with U+FFFD for what has none") {
    CHECK(decode_json_string(R"("plain")") == "plain");
    CHECK(decode_json_string(R"("\"\\\/\b\f\n\r\t")") == "\"\\/\b\f\n\r\t");
    CHECK(decode_json_string(R"("\u00e9\u20ac\ud83d\ude00")") == "é€😀");
    CHECK(decode_json_string(R"("\ud83d")") == "\xEF\xBF\xBD");
    CHECK(decode_json_string(R"("\ud83dx")") == "\xEF\xBF\xBDx");
    CHECK(decode_json_string(R"("\ude00\ud83d\u0041")") ==
          "\xEF\xBF\xBD\xEF\xBF\xBD"
          "A");
    CHECK(decode_json_string("\"a\xff\"") == "a\xEF\xBF\xBD");
    CHECK(decode_json_string(R"("")").empty());
}

TEST_CASE("json text: half a pair of surrogates is found, and replaced by U+FFFD") {
    struct Row {
        const char* json;
        const char* whole;
    };
    for (const Row& row : {
             Row{R"({"a":"\ud83d\ude00"})", R"({"a":"\ud83d\ude00"})"},
             Row{R"({"a":"\uD83D\uDE00\uDE00"})", R"({"a":"\uD83D\uDE00\ufffd"})"},
             Row{R"({"a":"\ud83d"})", R"({"a":"\ufffd"})"},
             Row{R"({"a":"\ude00\ud83dx"})", R"({"a":"\ufffd\ufffdx"})"},
             Row{R"({"\ud83d\ud83d\ude00":1})", R"({"\ufffd\ud83d\ude00":1})"},
             Row{R"({"a":"\\ud83d\n\\"})", R"({"a":"\\ud83d\n\\"})"},
             Row{R"({"a":"\ud7ff\ue000"})", R"({"a":"\ud7ff\ue000"})"},
         }) {
        CAPTURE(row.json);
        const JsonScan scan = scan_json_object(row.json);
        CHECK(scan.fault == JsonFault::none);
        CHECK(scan.has_lone_surrogate == (std::string(row.json) != row.whole));
        CHECK(without_lone_surrogates(row.json) == row.whole);
    }
}
