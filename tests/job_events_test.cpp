// What is told of a job, given what was told before and what is seen now.
#include "shim/jobctl/job_events.hpp"

#include <string>

#include "tests/catch.hpp"

using namespace jobshim;

namespace {

std::string words(const std::vector<JobEvent>& events) {
    std::string text;
    for (const JobEvent& event : events)
        text += (text.empty() ? "" : " ") + std::string(word(event.kind));
    return text;
}

Seen seen_as(Phase phase, RunKey run = 7, bool has_worker = true) {
    Seen seen;
    seen.phase = phase;
    seen.run = run;
    seen.has_worker = has_worker && run != 0;
    seen.is_queued = phase == Phase::appeared && run == 0;
    seen.now_ms = 1000;
    return seen;
}

Seen closing() {
    Seen seen = seen_as(Phase::started);
    seen.is_closing = true;
    return seen;
}

constexpr Told nothing{};
constexpr Told queued{Phase::appeared, 0, false};
constexpr Told starting{Phase::appeared, 7, false};
constexpr Told running{Phase::started, 7, true};
constexpr Told stalled{Phase::stalled, 7, true};
constexpr Told orphaned{Phase::orphaned, 7, true};
constexpr Told unclear{Phase::unknown, 7, true};
constexpr Told over{Phase::ended, 7, true};

}  // namespace

TEST_CASE("job events: from one look to the next") {
    struct Row {
        Told told;
        Seen seen;
        const char* words;
    };
    for (const Row& row : {
             Row{nothing, seen_as(Phase::appeared, 0), "appeared"},
             Row{nothing, seen_as(Phase::appeared, 7, false), "appeared"},
             Row{nothing, seen_as(Phase::started), "appeared started"},
             Row{nothing, seen_as(Phase::orphaned), "appeared started orphaned"},
             Row{nothing, seen_as(Phase::ended), "appeared started ended"},
             Row{nothing, seen_as(Phase::ended, 7, false), "appeared ended"},
             Row{nothing, seen_as(Phase::unknown, 0), "unknown"},
             Row{queued, seen_as(Phase::appeared, 0), ""},
             Row{queued, seen_as(Phase::appeared, 7, false), ""},
             Row{queued, seen_as(Phase::started), "started"},
             Row{queued, seen_as(Phase::ended, 0), "ended"},
             Row{starting, seen_as(Phase::started), "started"},
             Row{starting, seen_as(Phase::stalled, 7, false), "stalled"},
             Row{running, seen_as(Phase::started), ""},
             Row{running, seen_as(Phase::stalled), "stalled"},
             Row{running, seen_as(Phase::orphaned), "orphaned"},
             Row{running, seen_as(Phase::unknown), "unknown"},
             Row{running, seen_as(Phase::unknown, 0), "unknown"},
             Row{running, seen_as(Phase::ended), "ended"},
             Row{running, seen_as(Phase::ended, 0), "ended"},
             Row{stalled, seen_as(Phase::stalled), ""},
             Row{stalled, seen_as(Phase::started), "resumed"},
             Row{stalled, seen_as(Phase::ended), "ended"},
             Row{orphaned, seen_as(Phase::orphaned), ""},
             Row{orphaned, seen_as(Phase::ended), "ended"},
             Row{unclear, seen_as(Phase::started), "resumed"},
             Row{unclear, seen_as(Phase::ended), "ended"},
             // Its record is final, and its shim about to exit.
             Row{nothing, closing(), "appeared started"},
             Row{starting, closing(), "started"},
             Row{running, closing(), ""},
             Row{stalled, closing(), ""},
             // What is over stays so, whatever becomes of its record.
             Row{over, seen_as(Phase::ended), ""},
             Row{over, seen_as(Phase::ended, 0), ""},
             Row{over, seen_as(Phase::unknown), ""},
             Row{over, seen_as(Phase::unknown, 0), ""},
             Row{over, seen_as(Phase::started), ""},
             // Another run.
             Row{over, seen_as(Phase::appeared, 0), ""},
             Row{over, seen_as(Phase::appeared, 8, false), ""},
             Row{over, seen_as(Phase::started, 8), "started"},
             Row{over, seen_as(Phase::ended, 8), "started ended"},
             Row{running, seen_as(Phase::started, 8), "ended started"},
             Row{running, seen_as(Phase::ended, 8), "ended started ended"},
             Row{running, seen_as(Phase::appeared, 0), "ended"},
             Row{stalled, seen_as(Phase::started, 8), "ended started"},
             Row{starting, seen_as(Phase::started, 8), "ended started"},
         }) {
        CAPTURE(row.words, static_cast<int>(row.told.phase), static_cast<int>(row.seen.phase),
                row.seen.run);
        Told told = row.told;
        CHECK(words(tell(told, row.seen, false)) == row.words);
        // It is told once.
        CHECK(words(tell(told, row.seen, false)).empty());
    }
}

TEST_CASE("job events: a reader that has just begun is told the present state alone") {
    for (const auto& [phase, what] : {std::pair{Phase::appeared, "appeared"},
                                      {Phase::started, "started"},
                                      {Phase::stalled, "stalled"},
                                      {Phase::orphaned, "orphaned"},
                                      {Phase::unknown, "unknown"},
                                      {Phase::ended, "ended"}}) {
        CAPTURE(what);
        Told told;
        CHECK(words(tell(told, seen_as(phase), true)) == what);
        if (phase == Phase::ended) continue;
        CHECK(words(tell(told, seen_as(Phase::ended), false)) == "ended");
    }
}

TEST_CASE("job events: a former run that is still on record is told of by that") {
    Seen seen = seen_as(Phase::started, 8);
    seen.recorded_run = 7;
    seen.recorded_end = {500, true};
    Told told = running;
    const auto events = tell(told, seen, false);
    CHECK(words(events) == "settled started");
    CHECK(events.front().time_ms == 500);
    CHECK(events.front().run == 7);
    CHECK(events.back().run == 8);
    CHECK(told.run == 8);

    // A host has made the record active again, and no shim has taken it on: that is no other run.
    seen = seen_as(Phase::unknown, 0);
    seen.recorded_run = 7;
    told = running;
    CHECK(words(tell(told, seen, false)) == "ended");
}

TEST_CASE("job events: a run that began and ended between two looks is told of by its successor") {
    Told told = running;
    Seen seen = seen_as(Phase::ended);
    seen.end.at_ms = 300;
    CHECK(words(tell(told, seen, false)) == "ended");
    seen = seen_as(Phase::started, 9);
    seen.former_end.at_ms = 400;
    Told meanwhile = told;
    const auto events = tell(meanwhile, seen, false);
    CHECK(words(events) == "ended started");
    CHECK(events.front().time_ms == 400);
    // And if a worker of it has ended, that had started.
    seen.former_end.started_ms = 350;
    meanwhile = told;
    const auto whole = tell(meanwhile, seen, false);
    CHECK(words(whole) == "started ended started");
    CHECK(whole.front().time_ms == 350);
    // Likewise of a run that was seen before its worker was there.
    meanwhile = told;
    Seen starting = seen_as(Phase::appeared, 8);
    starting.has_worker = false;
    CHECK(words(tell(meanwhile, starting, false)).empty());
    CHECK(words(tell(meanwhile, seen, false)) == "started ended started");
    seen.former_end.at_ms = 300;
    CHECK(words(tell(told, seen, false)) == "started");
}

TEST_CASE("job events: times are those of the record, if it has them") {
    Seen seen = seen_as(Phase::ended);
    seen.created_ms = 100;
    seen.started_ms = 200;
    seen.end.at_ms = 300;
    Told told;
    auto events = tell(told, seen, false);
    REQUIRE(events.size() == 3);
    CHECK(events[0].time_ms == 100);
    CHECK(events[1].time_ms == 200);
    CHECK(events[2].time_ms == 300);
    seen.end.at_ms.reset();
    told = {};
    CHECK(tell(told, seen, false)[2].time_ms == 1000);
    told = running;
    seen = seen_as(Phase::stalled);
    CHECK(tell(told, seen, false)[0].time_ms == 1000);
}

TEST_CASE("job events: when a run that has ended began") {
    struct Row {
        const char* exit;
        std::optional<std::int64_t> started_ms;
    };
    for (const Row& row : {
             Row{R"({"waitStatus":0,"endedAt":"1970-01-01T00:00:03.000Z","durationMs":1000})",
                 2000},
             Row{R"({"waitStatus":0,"endedAt":"1970-01-01T00:00:03.000Z","durationMs":null})",
                 3000},
             Row{R"({"waitStatus":0,"endedAt":"1970-01-01T00:00:03.000Z","durationMs":4000})",
                 3000},
             Row{R"({"waitStatus":0,"endedAt":"1970-01-01T00:00:03.000Z",)"
                 R"("durationMs":18446744073709551615})",
                 3000},
             Row{R"({"waitStatus":0,"endedAt":null,"durationMs":1000})", std::nullopt},
             Row{R"({"endedAt":"1970-01-01T00:00:03.000Z","durationMs":1000})", std::nullopt},
         }) {
        CAPTURE(row.exit);
        CHECK(run_end_in(row.exit).started_ms == row.started_ms);
    }
}

TEST_CASE("job events: which ends a reader has settled") {
    struct Row {
        const char* exit;
        bool was_settled;
    };
    for (const Row& row : {
             Row{R"({"reason":"exit-code","certainty":"observed","waitStatus":256,"resources":{}})",
                 false},
             Row{R"({"reason":"oom-kill","certainty":"inferred","waitStatus":9,"resources":{}})",
                 false},
             Row{R"({"reason":"timeout","certainty":"unknown","waitStatus":null,"resources":null})",
                 false},
             Row{R"({"reason":"spawn-failed","certainty":"observed","waitStatus":null})", false},
             Row{R"({"reason":"cancelled","certainty":"observed"})", false},
             Row{R"({"reason":"cancelled","certainty":"inferred"})", true},
             Row{R"({"reason":"cancelled","certainty":"told"})", true},
             Row{R"({"reason":"shim-lost","certainty":"inferred"})", true},
             Row{R"({"reason":"shim-lost","certainty":"presumed"})", true},
             Row{R"({"reason":"host-rebooted","certainty":"inferred"})", true},
             Row{R"({"reason":"unknown","certainty":"told"})", true},
             // A reader saw the orphan end.
             Row{R"({"reason":"signal","certainty":"observed","waitStatus":9,"resources":null})",
                 true},
         }) {
        CAPTURE(row.exit);
        CHECK(run_end_in(row.exit).was_settled == row.was_settled);
    }
    CHECK(run_end_in(R"({"endedAt":"2026-11-22T18:34:37.598Z"})").at_ms == 1795372477598);
    CHECK_FALSE(run_end_in("null").at_ms);
}
