#include "common/companion/index.hpp"

#include "tests/catch.hpp"
#include "tests/samples.hpp"

using namespace jobshim;

TEST_CASE("companion: changing one entry of an index keeps every other byte") {
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

TEST_CASE("companion: texts that are not an index or contain odd entries") {
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
    CHECK_FALSE(odd->find(""));
    CHECK_FALSE(odd->find("../../etc/x"));
}

TEST_CASE("companion: any job of an index is found and of a repeated id the first") {
    std::string text = R"({"jobs":[0],"other":{"jobs":[{"id":"x"}]},"jobs":[)";
    for (int i = 0; i < 100; ++i)
        text +=
            R"({"id":"t)" + std::to_string(i * 37 % 50) + R"(","n":)" + std::to_string(i) + "},";
    text += R"({"id":"last","id":"\u0061"}]})";
    const auto index = CompanionIndex::parse(text);
    REQUIRE(index);
    CHECK(index->ids().size() == 101);
    for (int i = 0; i < 50; ++i) {
        const std::string id = "t" + std::to_string(i * 37 % 50);
        CHECK(index->find(id)->value("n") == std::to_string(i));
        CHECK(CompanionIndex::parse(*index->with(id, R"({"id":"new"})"))->find(id)->value("n") ==
              std::to_string(i + 50));
    }
    CHECK(index->find("a"));
    for (const char* none : {"", "last", "x", "t", "t50", "z"}) CHECK_FALSE(index->find(none));
    const CompanionIndex copy = *index;
    CHECK(copy.find("t7")->value("n") == index->find("t7")->value("n"));
}

TEST_CASE("companion: an index of more jobs than any is read as far as we go") {
    std::string text = R"({"jobs":[{})";
    for (std::size_t i = 0; i <= max_index_entries; ++i)
        text += R"(,{"id":")" + std::to_string(i) + R"("})";
    const auto index = CompanionIndex::parse(text + "]}");
    REQUIRE(index);
    CHECK(index->ids().size() == max_index_entries);
    CHECK(index->find("9999"));
    CHECK_FALSE(index->find("10000"));
}

TEST_CASE("companion: a job file becomes an index entry and vice versa") {
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
