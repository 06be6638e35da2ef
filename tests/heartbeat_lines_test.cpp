// Writing and reading back the heartbeat file, cut off anywhere, and the cancel request.
#include "common/heartbeat_lines.hpp"

#include <csignal>

#include "tests/catch.hpp"
#include "tests/samples.hpp"

using namespace jobshim;

namespace {

RunRecord example_run() {
    RunRecord run;
    run.shim = {41, 912345, this_boot, this_machine, 4026531836, "host"};
    run.heartbeat_file = "/src/j1.heartbeat";
    return run;
}

}  // namespace

TEST_CASE("heartbeat lines: what is written is read back and torn lines are ignored") {
    const RunRecord run = example_run();
    const std::string first = heartbeat_first_line(run, "/src/j1.json", "start");
    REQUIRE(first.starts_with(heartbeat_magic));
    const std::string second = heartbeat_worker_line({42, 7, Group::own, 40});
    Conclusion last = judge_witnessed({});
    const std::string third = heartbeat_last_line(last);

    const Heartbeat all = parse_heartbeat(first + second + third);
    REQUIRE(all.run);
    CHECK(all.run->shim == run.shim);
    CHECK(all.job_file == "/src/j1.json");
    CHECK(all.started_at == "start");
    CHECK(*all.run->worker == WorkerIdentity{42, 7, Group::own, 40});
    CHECK(all.last->status == Status::completed);

    // A torn last line is ignored, wherever it is torn.
    const std::string text = first + second + third;
    for (std::size_t length = 0; length < text.size(); ++length) {
        const Heartbeat torn = parse_heartbeat(text.substr(0, length));
        CHECK(torn.run.has_value() == (length >= first.size()));
        CHECK((torn.run && torn.run->worker) == (length >= first.size() + second.size()));
        CHECK_FALSE(torn.last);
    }
    CHECK_FALSE(parse_heartbeat(second + third).run);
    CHECK_FALSE(parse_heartbeat("\n\n[]\nnull\n").run);
    // Forged, and nested deeply enough to exhaust the stack of a recursive parser.
    const std::string deep = std::string(200'000, '[') + std::string(200'000, ']');
    CHECK_FALSE(parse_heartbeat(R"({"jobshim":{"shim":{"pid":1},"x":)" + deep + "}}\n").run);
    CHECK_FALSE(parse_cancel_request(R"({"at":"t","x":)" + deep + "}"));
}

TEST_CASE("heartbeat lines: the line of activity is read back and always as long") {
    const std::string first = heartbeat_first_line(example_run(), "j", "s");
    const std::size_t length = heartbeat_activity_line({}).size();
    constexpr std::int64_t most = std::int64_t{100} * 365 * 86'400'000;
    for (const Activity& activity :
         {Activity{}, Activity{0, 0}, Activity{std::nullopt, most}, Activity{most, most}}) {
        const std::string line = heartbeat_activity_line(activity);
        CHECK(line.size() == length);
        CHECK(line.ends_with("\n"));
        CHECK(parse_heartbeat(first + line).activity == activity);
        // Half of it written over.
        CHECK_FALSE(parse_heartbeat(first + line.substr(0, 12) + line).activity);
    }
    CHECK_FALSE(parse_heartbeat(first + "{\"activity\":{\"noCpuMs\":-1}}\n").activity);
    CHECK_FALSE(parse_heartbeat(heartbeat_activity_line({})).activity);
}

TEST_CASE("heartbeat lines: the OOM counters are read back and forged ones are harmless") {
    const RunRecord run = example_run();
    const OomBaseline oom{"/jobs/x", "/sys/fs/cgroup/jobs/x/memory.events.local", 3, 1, 4, 99};
    CHECK(parse_heartbeat(heartbeat_first_line(run, "j", "s", oom)).oom == oom);
    const OomBaseline v1{"/x", "/sys/fs/cgroup/memory/x/memory.oom_control", 0, {}, {}, 0};
    CHECK(parse_heartbeat(heartbeat_first_line(run, "j", "s", v1)).oom == v1);
    const std::string without = heartbeat_first_line(run, "j", "s");
    CHECK_FALSE(parse_heartbeat(without).oom);
    const auto forged = [&](const std::string& value) {
        const Heartbeat beat =
            parse_heartbeat(without.substr(0, without.rfind('}')) + ",\"oom\":" + value + "}\n");
        CHECK(beat.run);
        return beat.oom;
    };
    // Without a time, a kill before the run would be taken for one during it.
    for (const char* none :
         {"null", "7", "[]", "{}", R"({"kills":-1,"atUs":1})", R"({"kills":"1","atUs":1})",
          R"({"kills":9007199254740992,"atUs":1})", R"({"kills":1})",
          R"({"kills":1,"atUs":-9223372036854775808})", R"({"kills":1,"atUs":9007199254740992})"})
        CHECK_FALSE(forged(none));
    const auto odd =
        forged(R"({"kills":1,"group":7,"counter":[],"groupKills":-1,"killsBelow":9007199254740992,)"
               R"("atUs":9007199254740991})");
    REQUIRE(odd);
    CHECK(*odd == OomBaseline{"", "", 1, {}, {}, 9'007'199'254'740'991});
}

TEST_CASE("cancel request: what is written is read back") {
    const CancelRequest request{{{"jobctl cancel", 7, 1000, "jobctl"}, "why"}, "when", 2, {}};
    const auto back = parse_cancel_request(cancel_request_text(request));
    REQUIRE(back);
    CHECK(back->what.by.pid == 7);
    CHECK(back->what.by.how == "jobctl cancel");
    CHECK(back->signal == 2);
    CHECK_FALSE(back->kill_after_ms);
    CHECK_FALSE(back->start_time);
    CancelRequest full = request;
    full.kill_after_ms = 250;
    full.start_time = 912345;
    const auto again = parse_cancel_request(cancel_request_text(full));
    CHECK(again->kill_after_ms == 250);
    CHECK(again->start_time == 912345U);
    for (const char* text : {"", "{", "[]", "{}", R"({"by":1})"})
        CHECK_FALSE(parse_cancel_request(text));
}

// Whoever asked for a grace of two days got one.
TEST_CASE("cancel request: a grace is whatever an option accepts and any other is absent") {
    const auto grace = [](const std::string& ms) {
        return parse_cancel_request(R"({"at":"t","killAfterMs":)" + ms + "}")->kill_after_ms;
    };
    CHECK(grace("172800000") == 172'800'000);
    CHECK(grace("3153600000000") == 3'153'600'000'000);
    for (const char* ms : {"3153600000001", "9223372036854775807", "-1", "null"})
        CHECK_FALSE(grace(ms));
}

// glibc reserves signals 32 and 33 and has no names for them. "signal 32" was written into the
// request and could not be read back: TERM would have been sent.
TEST_CASE("cancel request: the signal is written so that it can be read back") {
    for (int signal = 1; signal <= SIGRTMAX; ++signal) {
        CancelRequest request;
        request.at = "now";
        request.signal = signal;
        CHECK(parse_cancel_request(cancel_request_text(request))->signal == signal);
    }
}
