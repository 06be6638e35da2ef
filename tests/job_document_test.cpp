// The job file as a value: our members are set, and every other byte stays.
#include "common/job_document.hpp"

#include <nlohmann/json.hpp>

#include "common/record_limits.hpp"
#include "tests/catch.hpp"
#include "tests/samples.hpp"

using namespace jobshim;

namespace {

JobEdit example_edit() {
    JobEdit edit;
    edit.status = Status::failed;
    edit.phase = "failed";
    edit.updated_at = edit.completed_at = "2026-11-22T17:34:00.123Z";
    edit.started_at = edit.created_at = "2026-11-22T17:33:00.000Z";
    edit.error_message = "Exited with status 3.";
    edit.id = "j1";
    edit.title = "make";
    edit.command = {"make", "-j2"};
    edit.cwd = "/src";
    edit.run.shim = {41, 912345, this_boot, this_machine, 4026531836, "host"};
    edit.run.worker = WorkerIdentity{42, 912346, Group::own, 40};
    edit.run.heartbeat_file = "/src/j1.heartbeat";
    edit.run.exit = ExitRecord{};
    edit.run.exit->reason = ExitReason::exit_code;
    edit.run.exit->certainty = Certainty::observed;
    edit.run.exit->code = 3;
    edit.run.exit->wait_status = 768;
    return edit;
}

JobDocument document(const std::string& text) {
    JobDocument parsed = JobDocument::parse(text);
    REQUIRE(parsed.fault() == JsonFault::none);
    return parsed;
}

// The text with the values of the given members left out: what the host wrote, without anything of
// ours.
std::string without(const std::string& text, const std::vector<std::string>& keys) {
    const JsonScan scan = scan_json_object(text);
    REQUIRE(scan.fault == JsonFault::none);
    std::string rest;
    std::size_t at = 0;
    for (const JsonMember& member : scan.members)
        if (std::find(keys.begin(), keys.end(), member.key) != keys.end()) {
            rest += text.substr(at, member.value_begin - at) + "?";
            at = member.value_end;
        }
    return rest + text.substr(at);
}

const std::vector<std::string> always_ours = {
    "status", "phase", "pid", "startedAt", "updatedAt", "completedAt", "errorMessage", "jobshim"};

}  // namespace

TEST_CASE("record: the host's bytes stay unchanged and in place") {
    const std::vector<std::string> hosts = {
        R"({"status":"queued","emoji":"\ud83d","big":123456789012345678901234567890})",
        R"({ "x" : 1.10 , "y":1E5,"z":1e400,"status" : "queued" , "x":[ 1 ,{"a":  2}] })",
        "{\r\n\t\"id\": \"a\",\r\n\t\"status\": \"queued\",\r\n\t\"b\": [1,\r\n2]\r\n}\r\n",
        "{\n  \"\\u0073tatus\": \"queued\",\n  \"t\": \"caf\\u00e9 \xff\"\n}\n",
        R"(  {"status":null,"pid":12,"jobshim":{"schema":0},"a":"b"}   )",
        "{\"a\":1}",
        "{}",
        " { } ",
    };
    for (const std::string& host : hosts) {
        INFO(host);
        const std::string text = example_edit().applied_to(document(host), false);
        const JobDocument after = document(text);
        CHECK(after.status() == Status::failed);
        CHECK(after.run()->exit->code == 3);
        // Remove the values of our members from both texts, and the members that we added: the same
        // bytes are left.
        const std::string before_rest = without(host, always_ours);
        const std::string after_rest = without(text, always_ours);
        const std::size_t kept = before_rest.find_last_of("}");
        std::size_t common = 0;
        while (common < kept && before_rest[common] == after_rest[common]) ++common;
        // Everything up to where new members are appended, and the end.
        CHECK(before_rest.substr(common, kept - common).find_first_not_of(" \t\r\n") ==
              std::string::npos);
        CHECK(after_rest.ends_with(before_rest.substr(kept)));
    }
}

TEST_CASE("record: members that are set only where absent") {
    const JobDocument host = document(
        R"({"id":"theirs","title":null,"command":"x","cwd":7,"createdAt":"t","status":"queued"})");
    const JobDocument after = document(example_edit().applied_to(host, false));
    CHECK(after.string("id") == "theirs");
    CHECK(after.value("title") == "null");
    CHECK(after.value("command") == "\"x\"");
    CHECK(after.value("cwd") == "7");
    CHECK(after.string("createdAt") == "t");
    CHECK_FALSE(after.value("logFile"));
}

TEST_CASE("record: if the worker reported its end we set only pid and completedAt and jobshim") {
    const std::string host =
        R"({"status":"completed","phase":"x","pid":42,"completedAt":null,"errorMessage":"e","r":1})";
    const JobDocument after = document(example_edit().applied_to(document(host), true));
    CHECK(after.status() == Status::completed);
    CHECK(after.string("phase") == "x");
    CHECK(after.value("pid") == "null");
    CHECK(after.string("completedAt") == "2026-11-22T17:34:00.123Z");
    CHECK(after.string("errorMessage") == "e");
    CHECK_FALSE(after.value("updatedAt"));
    CHECK_FALSE(after.value("title"));
    CHECK(after.run()->exit->reason == ExitReason::exit_code);

    const JobDocument dated = document(example_edit().applied_to(
        document(R"({"status":"completed","completedAt":"theirs"})"), true));
    CHECK(dated.string("completedAt") == "theirs");
}

TEST_CASE(
    "record: the last of repeated keys counts and is set and the others of ours are removed") {
    const std::string host = R"({"status":"completed","a":1,"status":"queued","a":2})";
    CHECK(document(host).status() == Status::queued);
    const std::string text = example_edit().applied_to(document(host), false);
    CHECK(text.starts_with(R"({"a":1,"status":"failed","a":2,)"));
    struct Row {
        std::string before, after;
    };
    for (const Row& row : {
             Row{R"({"k":1,"k":2})", R"({"k":"new"})"},
             Row{R"({"k":1,"k":[1,{"k":3}],"k":null,"a":",","b":{"k":9,"k":8}})",
                 R"({"k":"new","a":",","b":{"k":9,"k":8}})"},
             Row{R"({"a":1,"k":1,"b":2,"\u006b":2,"a":3})",
                 R"({"a":1,"b":2,"\u006b":"new","a":3})"},
             Row{"{\n  \"k\": {\n    \"x\": 1\n  },\n  \"a\": 1 ,\n  \"k\": 2\n}\n",
                 "{\n  \"a\": 1 ,\n  \"k\": \"new\"\n}\n"},
         })
        CHECK(document(row.before).with({{"k", "\"new\""}}) == row.after);
    CHECK(document(R"({"l":1,"k":1,"l":2,"k":2})").with({{"k", "3"}, {"l", "4"}}) ==
          R"({"l":4,"k":3})");
    // Nothing is set, so nothing is removed.
    const JobDocument absent = document(R"({"id":1,"id":2,"completedAt":"a","completedAt":"b"})");
    CHECK(example_edit()
              .applied_to(absent, true)
              .starts_with(R"({"id":1,"id":2,"completedAt":"a","completedAt":"b",)"));
}

// 4 MiB of `"jobshim":{}` became 400 MiB, an indent of one mebibyte 60 MiB, and a long list in a
// member nested 500 levels deep a gibibyte.
TEST_CASE("record: what a rewrite makes is no longer than the document and the edit") {
    const std::size_t own = example_edit().as_new_file().size();
    std::string repeated = "{";
    for (std::size_t i = 0; i < max_json_members; ++i)
        repeated += std::string(i > 0 ? "," : "") + R"("jobshim":{})";
    const std::string brackets(500, '[');
    std::string many = "0";
    for (int i = 0; i < 10'000; ++i) many += ",0";
    const std::string spaces(1 << 20U, ' ');
    for (const std::string& host :
         {repeated + "}", "{\n" + spaces + "\"a\":1}", "{\n" + spaces + "}",
          "{\n\t\t\t\t\t\t\t\t\"jobshim\":{\"shim\":{\"pid\":1},\"later\":" + brackets + many +
              std::string(500, ']') + "}}"}) {
        const JobDocument before = document(host);
        JobEdit edit = example_edit();
        if (before.run()) edit.run.source = before.run()->source;
        const std::string text = edit.applied_to(before, false);
        CHECK(text.size() < host.size() + 3 * own + 2 * (64U << 10U));
        CHECK(edit.applied_to(document(text), false) == text);
    }
}

// Json compares each key with all before it: 4 MiB of members inside `jobshim` took minutes.
TEST_CASE("record: a jobshim member with more members than any of ours is not ours") {
    const auto with_members = [](int count) {
        std::string text = R"({"command":{},"jobshim":{"shim":{"pid":4},"later":{"x":0)";
        for (int i = 1; i < count; ++i) text += ",\"x" + std::to_string(i) + "\":0";
        return document(text + "}}}");
    };
    CHECK(with_members(256).run());
    CHECK_FALSE(with_members(257).run());
    CHECK(with_members(400'000).exit_text().empty());
    CHECK(document(example_edit().applied_to(with_members(400'000), false)).run());
}

// It was written as "<discarded>", which is no JSON.
TEST_CASE("record: a value that only JavaScript takes is copied as it is") {
    for (const char* value : {R"("\ud83d")", "1e400", R"([ {"a": "\ud83d"} ])"}) {
        CAPTURE(value);
        const JobDocument after =
            document(document(R"({"a":1})").with({{"a", value}, {"b", value}}));
        CHECK(after.value("a") == value);
        CHECK(after.value("b") == value);
    }
}

TEST_CASE("record: a repeated edit changes nothing") {
    const std::string once = example_edit().applied_to(document(R"({"k":[1]})"), false);
    CHECK(example_edit().applied_to(document(once), false) == once);
    const std::string fresh = example_edit().as_new_file();
    CHECK(example_edit().applied_to(document(fresh), false) == fresh);
}

TEST_CASE("record: a new file is JSON to any parser") {
    const std::string text = example_edit().as_new_file();
    const auto json = nlohmann::json::parse(text);
    CHECK(text.back() == '\n');
    CHECK(json["id"] == "j1");
    CHECK(json["command"] == nlohmann::json({"make", "-j2"}));
    CHECK(json["pid"].is_null());
    const auto& exit = json["jobshim"]["exit"];
    CHECK(exit["code"] == 3);
    for (const char* unknown : {"signal", "signalName", "coreDumped", "requestedBy", "endedAt",
                                "durationMs", "resources", "tail"})
        CHECK(exit[unknown].is_null());
    CHECK(json["jobshim"]["log"].is_null());
    CHECK(json["jobshim"]["previous"].is_null());
}

TEST_CASE("record: a run is written and read back") {
    JobEdit edit = example_edit();
    RunRecord& run = edit.run;
    run.log = LogStart{"/src/log", 4711};
    run.cancel = CancelRequest{{{"jobctl cancel", 7, 1000, "jobctl"}, "why"}, "when", 15, 10'000};
    run.previous = R"({"reason":"signal","signal":9})";
    ExitRecord& exit = *run.exit;
    exit.requested_by = Requester{"timeout", {}, {}, ""};
    exit.evidence = {"one", "two"};
    exit.duration_ms = 5;
    exit.resources = Resources{1, 2, 3};
    exit.leftovers = {{77, "sleep"}};
    exit.tail = "last\n";
    exit.core_dumped = false;
    const RunRecord back = *document(edit.as_new_file()).run();
    CHECK(back.shim == run.shim);
    CHECK(back.worker == run.worker);
    CHECK(back.log->offset == 4711);
    CHECK(back.cancel->what.reason == "why");
    CHECK(back.cancel->kill_after_ms == 10'000);
    CHECK(back.previous == run.previous);
    CHECK(back.exit->requested_by->how == "timeout");
    CHECK(back.exit->evidence == exit.evidence);
    CHECK(back.exit->duration_ms == 5);
    CHECK(back.exit->resources->max_rss_kib == 3);
    CHECK(back.exit->leftovers.size() == 1);
    CHECK(back.exit->tail == "last\n");
    CHECK(back.exit->core_dumped == false);
}

TEST_CASE("record: the run is parsed once for all copies of a document") {
    const JobDocument first = document(example_edit().as_new_file());
    const RunRecord* run = &*first.run();
    const JobDocument copy = first;
    CHECK(&*first.run() == run);
    CHECK(&*copy.run() == run);
}

TEST_CASE("record: a settler keeps what it does not know about a run") {
    const JobDocument host =
        document(R"({"status":"running","jobshim":{"shim":{"pid":4,"startTime":5},"future":[1]}})");
    JobEdit edit = example_edit();
    edit.run = *host.run();
    edit.run.exit = ExitRecord{};
    const std::string text = edit.applied_to(host, false);
    CHECK(text.find(R"("future":[1])") != std::string::npos);
    CHECK(document(text).run()->shim.pid == 4);
}

// A queued job that is called off, or a job without a shim that a person settles.
TEST_CASE("record: an end without a shim is written and read back") {
    JobEdit edit;
    edit.set_end(judge_never_started(Requester{"jobctl cancel", 7, 1000, "jobctl"}, "why"), "now");
    const JobDocument after =
        document(edit.applied_to(document(R"({"status":"queued","host":1.10})"), false));
    CHECK(after.status() == Status::cancelled);
    CHECK(after.value("host") == "1.10");
    const auto run = after.run();
    REQUIRE(run);
    CHECK(run->shim.pid == 0);
    CHECK_FALSE(run->worker);
    REQUIRE(run->exit);
    CHECK(run->exit->reason == ExitReason::cancelled);
    CHECK(run->exit->requested_by->pid == 7);
    CHECK_FALSE(after.exit_text().empty());
    // Without a shim and an exit, there is nothing of ours.
    CHECK_FALSE(document(R"({"jobshim":{"shim":null,"exit":null}})").run());
    CHECK_FALSE(document(R"({"jobshim":{"shim":{"pid":0}}})").run());
}

TEST_CASE("record: a forged jobshim member is ignored and never crashes") {
    for (const char* forged :
         {"null", "1", "[]", "{}", R"({"shim":null})", R"({"shim":{"pid":"41"}})",
          R"({"shim":{"pid":-1}})", R"({"shim":{"pid":1e400}})",
          R"({"shim":{"pid":99999999999999999999}})", R"({"shim":{"pid":4.5}})",
          R"({"shim":{"pid":0}})"}) {
        INFO(forged);
        const std::string text = std::string(R"({"status":"running","jobshim":)") + forged + "}";
        CHECK_FALSE(document(text).run());
        CHECK(document(example_edit().applied_to(document(text), false)).run());
    }
    const JobDocument odd = document(
        R"({"jobshim":{"shim":{"pid":4},"worker":{"pid":"x"},"heartbeat":7,"log":[],"exit":{"reason":"zzz"},"previous":1}})");
    REQUIRE(odd.run());
    CHECK_FALSE(odd.run()->worker);
    CHECK_FALSE(odd.run()->exit);
    CHECK(odd.run()->previous.empty());
    // A lone surrogate inside our own member: nlohmann refuses it, so the member is not ours.
    CHECK_FALSE(document(R"({"jobshim":{"shim":{"pid":4,"host":"\ud83d"}}})").run());
}

// A boot id with slashes named files elsewhere, for prune to remove; a pid that no process can have
// was signalled; a duration that does not fit overflowed a sum.
TEST_CASE("record: a value that is not possible counts as absent and the rest is read") {
    struct Row {
        const char* at;                    // the member that is replaced
        std::vector<const char*> refused;  // values that count as absent
        std::vector<const char*> taken;    // and values that do not
    };
    const auto boot = R"("0b007000-0000-4000-8000-000000000001")";
    const auto machine = R"("3ac41e00000040008000000000000001")";
    const std::string host(longest_host_name, 'h');
    const std::string long_host = "\"" + host + "h\"";
    const std::string longest_host = "\"" + host + "\"";
    const std::vector<const char*> odd{"null",
                                       "true",
                                       "[]",
                                       "{}",
                                       "\"1\"",
                                       "1.0",
                                       "1e2",
                                       "-1",
                                       "18446744073709551615",
                                       "18446744073709551616"};
    const auto odd_and = [&](std::vector<const char*> more) {
        more.insert(more.end(), odd.begin(), odd.end());
        return more;
    };
    const nlohmann::json record = nlohmann::json::parse(R"({
        "shim": {"pid": 41, "startTime": 5, "pidNamespace": 6, "timeNamespace": 7},
        "worker": {"pid": 42, "startTime": 8, "group": "own"},
        "heartbeat": {"file": "/h"},
        "log": null,
        "cancel": {"by": {"command": "x"}, "reason": "why", "at": "then"},
        "exit": {"reason": "signal", "requestedBy": {"how": "timeout"}, "endedAt": "now",
                 "resources": {"maxRssKiB": 4}, "leftovers": [{"pid": 7, "command": "sleep"}]}
    })");
    const auto read = [](const nlohmann::json& changed) {
        return document("{\"jobshim\":" + changed.dump() + "}").run();
    };
    const std::string without = run_text(*read(record));
    for (const Row& row : {
             Row{"/shim/bootId",
                 odd_and({R"("")", R"("boot")", R"("../../../../etc/x/0000-0000-0000-000000")",
                          R"("0B007000-0000-4000-8000-000000000001")",
                          R"("0b007000-0000-4000-8000-0000000000011")",
                          R"("0b007000-0000-4000-8000-00000000001")",
                          R"("0b007000-0000-4000-8000-00000000000\u0000")"}),
                 {boot}},
             Row{"/shim/machineId",
                 odd_and({R"("")", R"("uninitialized")", R"("3AC41E00000040008000000000000001")",
                          R"("3ac41e0000004000800000000000000")",
                          R"("3ac41e000000400080000000000000012")",
                          R"("../41e00000040008000000000000001")"}),
                 {machine}},
             Row{"/shim/host",
                 {"null", "7", "[]", R"("")", long_host.c_str()},
                 {R"("box")", longest_host.c_str()}},
             Row{"/worker/session", odd_and({"4194305", "2147483648"}), {"0", "4194304"}},
             Row{"/heartbeat/intervalMs",
                 odd_and({"0", "99", "3600001", "9223372036854775807"}),
                 {"100", "3600000"}},
             Row{"/log",
                 odd_and({R"({"file": "/l"})", R"({"offset": 1})", R"({"file": "", "offset": 1})",
                          R"({"file": "/l", "offset": -1})",
                          R"({"file": "/l", "offset": 9007199254740992})",
                          R"({"file": 7, "offset": 1})"}),
                 {R"({"file": "/l", "offset": 9007199254740991})"}},
             Row{"/cancel/by/pid", odd_and({"0", "4194305", "4294967297"}), {"1", "4194304"}},
             Row{"/cancel/by/uid", odd_and({"4294967295"}), {"0", "4294967294"}},
             Row{"/cancel/killAfterMs",
                 odd_and({"3153600000001", "9223372036854775807"}),
                 {"0", "3153600000000"}},
             Row{"/cancel/signal", {"null", "9", R"("")", R"("65")", R"("NOPE")"}, {R"("KILL")"}},
             Row{"/exit/code", odd_and({"256", "4294967296"}), {"0", "255"}},
             Row{"/exit/signal", odd_and({"0", "65", "4294967305"}), {"1", "64"}},
             Row{"/exit/waitStatus", odd_and({"65536", "2147483648"}), {"0", "65535"}},
             Row{"/exit/durationMs",
                 odd_and({"3153600000001", "9223372036854775808"}),
                 {"0", "3153600000000"}},
             Row{"/exit/requestedBy/pid", odd_and({"0", "4194305"}), {"4194304"}},
             Row{"/exit/requestedBy/uid", odd_and({"4294967295"}), {"0"}},
             Row{"/exit/resources/userMs", odd_and({"9007199254740992"}), {"9007199254740991"}},
             Row{"/exit/resources/groupPeakKiB",
                 odd_and({"9007199254740992"}),
                 {"9007199254740991"}},
             Row{"/exit/leftovers/1",
                 odd_and({R"({"command": "x"})", R"({"pid": 0})", R"({"pid": 4194305})"}),
                 {R"({"pid": 4194304})"}},
         }) {
        const auto with = [&](const char* value) {
            nlohmann::json changed = record;
            changed[nlohmann::json::json_pointer(row.at)] =
                nlohmann::json::parse(value, nullptr, false);
            auto run = read(changed);
            run->source = read(record)->source;
            return run_text(*run);
        };
        for (const char* value : row.refused) {
            CAPTURE(row.at, value);
            CHECK(with(value) == without);
        }
        for (const char* value : row.taken) {
            CAPTURE(row.at, value);
            CHECK(with(value) != without);
        }
    }
}

TEST_CASE("record: without a possible pid there is no identity") {
    const auto run_with = [](const std::string& shim, const std::string& worker) {
        return document(R"({"jobshim":{"shim":{"pid":)" + shim + R"(},"worker":{"pid":)" + worker +
                        "}}}")
            .run();
    };
    CHECK(run_with("4194304", "1")->worker->pid == 1);
    for (const char* pid : {"0", "-1", "4194305", "2147483648", "4294967297", "null", "\"7\""}) {
        CAPTURE(pid);
        CHECK_FALSE(run_with(pid, "1"));
        CHECK_FALSE(run_with("1", pid)->worker);
    }
}

TEST_CASE("record: status words") {
    CHECK(document(R"({"status":"cancelled"})").status() == Status::cancelled);
    CHECK(document(R"({"status":"c\u0061ncelled"})").status() == Status::cancelled);
    CHECK(document(R"({"status":"paused"})").status() == Status::other);
    CHECK(document(R"({"status":7})").status() == Status::other);
    CHECK(document("{}").status() == Status::none);
}

TEST_CASE("record: a run whose command differs from the one in the file") {
    CHECK_FALSE(document("{}").has_other_command({"make"}));
    CHECK_FALSE(document(R"({"command":["make","-j2"]})").has_other_command({"make", "-j2"}));
    CHECK(document(R"({"command":["make"]})").has_other_command({"make", "-j2"}));
    CHECK(document(R"({"command":"make"})").has_other_command({"make"}));
    CHECK(document(R"({"command":["\ud83d"]})").has_other_command({"make"}));
    JobEdit edit = example_edit();
    edit.run.command = {"other"};
    const JobDocument after = document(edit.applied_to(document(R"({"command":["make"]})"), false));
    CHECK(after.value("command") == R"(["make"])");
    CHECK(after.run()->command == std::vector<std::string>{"other"});
}

TEST_CASE("record: argv that is not UTF-8 is kept exactly") {
    JobEdit edit = example_edit();
    edit.command = {"a\xff"};
    edit.run.raw_command = {"a\xff"};
    edit.run.raw_cwd = "/\xfe";
    const auto json = nlohmann::json::parse(edit.as_new_file());
    CHECK(json["command"][0] == "a\uFFFD");
    CHECK(json["jobshim"]["raw"]["command"][0] == "Yf8=");
    CHECK(json["jobshim"]["raw"]["cwd"] == "L/4=");
}

// A number that did not fit was truncated: a code of 2^64 - 1 was read as -1.
TEST_CASE("record: a number that does not fit is ignored") {
    const auto exit = document(R"({"jobshim":{"shim":{"pid":1},"exit":{"reason":"signal",
        "code":18446744073709551615,"signal":4294967305,"durationMs":9223372036854775808}}})")
                          .run()
                          ->exit;
    CHECK_FALSE(exit->code);
    CHECK_FALSE(exit->signal);
    CHECK_FALSE(exit->duration_ms);
    const auto run = document(R"({"jobshim":{"shim":{"pid":1,"startTime":-1,
        "pidNamespace":18446744073709551615}}})")
                         .run();
    CHECK_FALSE(run->shim.start_time);
    CHECK(run->shim.pid_namespace == UINT64_MAX);
}
