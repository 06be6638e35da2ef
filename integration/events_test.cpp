// jobctl events tells of each thing that happens to a job, and of each end exactly once, also to a
// reader that goes on where another one stopped.

#include <fcntl.h>
#include <signal.h>

#include <algorithm>
#include <random>
#include <set>

#include "integration/support.hpp"

using namespace harness;

namespace {

bool is_end(const Json& event) { return event["event"] == "ended" || event["event"] == "settled"; }

/// The complete lines so far.
std::vector<Json> events_in(const std::string& text) {
    std::vector<Json> events;
    for (std::size_t begin = 0, end = 0; (end = text.find('\n', begin)) != std::string::npos;
         begin = end + 1)
        events.push_back(Json::parse(text.substr(begin, end - begin)));
    return events;
}
std::vector<Json> events_of(const Process& reader) { return events_in(reader.out()); }

/// What happened to one job, in order.
Words told_of(const std::vector<Json>& events, const std::string& id) {
    Words words;
    for (const Json& event : events)
        if (event["id"] == id) words.push_back(event["event"]);
    return words;
}

struct EventSandbox : Sandbox {
    EventSandbox() { fs::create_directory(jobs); }

    Process read_events(const Words& more = {}) {
        return spawn(joined({{jobctl, "events", "--dir", jobs}, more}));
    }
    /// Once it has told what there was at its start.
    Process start_reader(const Words& more = {}) {
        Process reader = read_events(more);
        wait_until_parked(reader);
        return reader;
    }
    static bool tells(const Process& reader, const std::string& id, const Words& words) {
        const bool told = wait_until([&] { return told_of(events_of(reader), id) == words; });
        if (!told) {
            CAPTURE(id, words);
            CHECK(told_of(events_of(reader), id) == words);
        }
        return told;
    }
    static void stop(Process& reader) {
        reader.kill(SIGTERM);
        CHECK(reader.wait().ended() == "SIGTERM");
        CHECK(reader.err().empty());
    }
    /// Of what a reader tells that goes on after this cursor: the ids of the jobs that ended.
    std::multiset<std::string> ends_since(const std::string& cursor, std::size_t expected) {
        auto reader = start_reader({"--since", cursor});
        const auto ends = [&] {
            std::multiset<std::string> ids;
            for (const Json& event : events_of(reader))
                if (is_end(event)) ids.insert(event["id"]);
            return ids;
        };
        wait_until([&] { return ends().size() >= expected; });
        const auto found = ends();
        stop(reader);
        return found;
    }

    const fs::path jobs = dir / "jobs";
    const Words whole_life{"appeared", "started", "ended"};
};

}  // namespace

TEST_CASE_METHOD(EventSandbox, "events tells the life of a job", "[quick][libc]") {
    auto reader = start_reader();
    const auto file = jobs / "one.json";
    put(file, R"({"id": "one", "status": "queued",
        "note": "two lines"})");
    REQUIRE(tells(reader, "one", {"appeared"}));
    auto shim = start_job(file, until_go + "exit 3");
    worker_of(file);
    REQUIRE(tells(reader, "one", {"appeared", "started"}));
    put(dir / "go", "");
    shim.wait();
    REQUIRE(tells(reader, "one", whole_life));
    const auto record = read_json(file);
    for (const Json& event : events_of(reader)) {
        CHECK(event["schema"] == 1);
        CHECK(event["id"] == "one");
        CHECK(event["file"] == file.string());
        CHECK(event["cursor"].get<std::string>().size() < 200);
        CHECK(event["time"].get<std::string>().size() ==
              std::string("2026-11-22T18:34:37.183Z").size());
    }
    const auto events = events_of(reader);
    CHECK(events[1]["time"] == record["startedAt"]);
    CHECK(at(events[1], "/job/verdict/state") == "running");
    CHECK(events[2]["time"] == at(record, "/jobshim/exit/endedAt"));
    CHECK(events[2]["job"] == ctl_json({"status", file})[0]);
    CHECK(lines_of(reader.out()).size() == 3);
    stop(reader);
}

TEST_CASE_METHOD(EventSandbox, "events tells each kind of end, and who concluded it", "[libc]") {
    auto reader = start_reader();
    const auto file = [&](const std::string& id) { return jobs / (id + ".json"); };
    const auto reason_of = [&](const std::string& id) {
        for (const Json& event : events_of(reader))
            if (is_end(event) && event["id"] == id)
                return at(event, "/job/job/jobshim/exit/reason").get<std::string>();
        return std::string();
    };

    run_job(file("failed"), "exit 3");
    run_job(file("signal"), "kill -TERM $$");
    run_job(file("late"), for_ever, {"--timeout", "50ms"});
    for (const char* id : {"failed", "signal", "late"}) CHECK(tells(reader, id, whole_life));
    CHECK(reason_of("late") == "timeout");

    run_shim({"-j", file("none"), "--", dir / "nothing"});
    CHECK(tells(reader, "none", whole_life));
    CHECK(reason_of("none") == "spawn-failed");

    auto cancelled = start_job(file("cancelled"), for_ever);
    worker_of(file("cancelled"));
    CHECK(ctl({"cancel", file("cancelled")}).ended() == "exit 0");
    cancelled.wait();
    CHECK(tells(reader, "cancelled", whole_life));

    put(file("queued"), R"({"id": "queued", "status": "queued"})");
    CHECK(tells(reader, "queued", {"appeared"}));
    CHECK(ctl({"cancel", file("queued")}).ended() == "exit 0");
    CHECK(tells(reader, "queued", {"appeared", "ended"}));

    auto lost = start_job(file("lost"), for_ever);
    worker_of(file("lost"));
    lost.kill(SIGKILL);
    lost.wait();
    CHECK(tells(reader, "lost", {"appeared", "started", "settled"}));
    CHECK(reason_of("lost") == "shim-lost");

    auto kept = start_job(file("kept"), for_ever, {"--on-shim-death", "keep"});
    const auto worker = worker_of(file("kept"));
    CHECK(tells(reader, "kept", {"appeared", "started"}));
    kept.kill(SIGKILL);
    kept.wait();
    CHECK(tells(reader, "kept", {"appeared", "started", "orphaned"}));
    kill(worker, SIGKILL);
    CHECK(tells(reader, "kept", {"appeared", "started", "orphaned", "settled"}));

    put(file("far"), R"({"id": "far", "status": "running"})");
    CHECK(tells(reader, "far", {"unknown"}));
    CHECK(ctl({"settle", file("far"), "--as", "failed", "--because", "it is"}).ended() == "exit 0");
    CHECK(tells(reader, "far", {"unknown", "settled"}));

    // Another reader is told the same.
    auto other = spawn(
        joined({{jobctl, "events"}, {file("failed"), file("lost"), file("kept"), file("far")}}));
    CHECK(other.wait().ended() == "exit 0");
    std::map<std::string, std::string> kinds;
    for (const Json& event : events_of(other)) kinds[event["id"]] = event["event"];
    CHECK(kinds ==
          std::map<std::string, std::string>{
              {"failed", "ended"}, {"lost", "settled"}, {"kept", "settled"}, {"far", "settled"}});
    stop(reader);
}

TEST_CASE_METHOD(EventSandbox, "events tells that a job stalls and goes on", "[quick]") {
    auto reader = start_reader();
    const auto file = jobs / "slow.json";
    auto shim = start_job(file, until_go, {"--heartbeat-interval", "100ms"});
    worker_of(file);
    REQUIRE(tells(reader, "slow", {"appeared", "started"}));
    shim.kill(SIGSTOP);
    REQUIRE(tells(reader, "slow", {"appeared", "started", "stalled"}));
    const std::string cursor = events_of(reader).back()["cursor"];
    shim.kill(SIGCONT);
    const Words resumed{"appeared", "started", "stalled", "resumed"};
    REQUIRE(tells(reader, "slow", resumed));
    // So it is to a reader that knows it as stalled.
    auto later = start_reader({"--since", cursor});
    CHECK(tells(later, "slow", {"resumed"}));
    put(dir / "go", "");
    shim.wait();
    CHECK(tells(reader, "slow", joined({resumed, {"ended"}})));
    CHECK(tells(later, "slow", {"resumed", "ended"}));
    stop(reader);
    stop(later);
}

TEST_CASE_METHOD(EventSandbox, "a worker without a sign of work is told as stalled") {
    auto reader = start_reader();
    const auto file = jobs / "idle.json";
    auto shim =
        start_job(file, for_ever, {"--stall-after", "300ms", "--heartbeat-interval", "100ms"});
    worker_of(file);
    CHECK(tells(reader, "idle", {"appeared", "started", "stalled"}));
    shim.kill(SIGTERM);
    shim.wait();
    CHECK(tells(reader, "idle", {"appeared", "started", "stalled", "ended"}));
    stop(reader);
}

TEST_CASE_METHOD(EventSandbox, "a job file that is used again begins anew", "[quick]") {
    const auto file = jobs / "again.json";
    put(file, R"({"id": "again"})");
    REQUIRE(run_job(file, "exit 1").ended() == "exit 1");
    auto reader = start_reader();
    Words words;
    for (int i = 0; i < 3; ++i) {
        REQUIRE(run_job(file, "exit 2").ended() == "exit 2");
        words = joined({words, {"started", "ended"}});
        REQUIRE(tells(reader, "again", words));
    }
    // The host asks for the next run. That is not news of a job that is known already.
    put(file, R"({"id": "again", "status": "queued"})");
    REQUIRE(run_job(file, "exit 2").ended() == "exit 2");
    CHECK(tells(reader, "again", joined({words, {"started", "ended"}})));

    // Runs that follow each other at once: no end is told twice, and each after its start.
    for (int i = 0; i < 60; ++i) REQUIRE(run_job(file, "exit 2").ended() == "exit 2");
    const auto last = at(read_json(file), "/jobshim/exit/endedAt");
    REQUIRE(wait_until([&] {
        const auto events = events_of(reader);
        return is_end(events.back()) && events.back()["time"] == last;
    }));
    std::set<std::string> times;
    std::string before = "ended";
    for (const Json& event : events_of(reader)) {
        CHECK(event["event"] != before);
        before = event["event"];
        if (is_end(event)) CHECK(times.insert(event["time"]).second);
    }
    stop(reader);
}

TEST_CASE_METHOD(EventSandbox, "events begins with what is going on, and not with what is over",
                 "[quick]") {
    run_job(jobs / "over.json", "exit 0");
    put(jobs / "queued.json", R"({"status": "queued"})");
    auto shim = start_job(jobs / "runs.json", until_go);
    worker_of(jobs / "runs.json");
    auto reader = start_reader();
    CHECK(tells(reader, "runs", {"started"}));
    CHECK(tells(reader, "queued", {"appeared"}));
    // What is added to a record afterwards is no news, and nor is a touch.
    auto record = read_json(jobs / "over.json");
    record["note"] = "from the host";
    put(jobs / "over.json", record.dump());
    fs::permissions(jobs / "over.json", fs::perms::owner_all);
    put(dir / "go", "");
    shim.wait();
    CHECK(tells(reader, "runs", {"started", "ended"}));
    record = read_json(jobs / "runs.json");
    record["note"] = "from the host";
    put(jobs / "runs.json.new", record.dump());
    fs::rename(jobs / "runs.json.new", jobs / "runs.json");
    run_job(jobs / "last.json", "exit 0");
    CHECK(tells(reader, "last", whole_life));
    CHECK(told_of(events_of(reader), "over").empty());
    CHECK(told_of(events_of(reader), "runs") == Words{"started", "ended"});
    const std::string cursor = events_of(reader).back()["cursor"];
    CHECK(ends_since(cursor, 0).empty());
    stop(reader);
}

TEST_CASE_METHOD(EventSandbox, "events of named jobs ends with the last of them", "[quick][libc]") {
    const auto slow = jobs / "slow.json", quick = jobs / "quick.json", other = jobs / "other.json";
    auto shim = start_job(slow, until_go + "exit 2");
    worker_of(slow);
    run_job(quick, "exit 1");
    run_job(other, "exit 0");
    auto reader = start_reader({"slow", quick});
    REQUIRE(wait_until([&] { return events_of(reader).size() == 2; }));
    run_job(jobs / "new.json", "exit 0");  // nobody asked for it
    put(dir / "go", "");
    CHECK(reader.wait().ended() == "exit 0");
    CHECK(shim.wait().ended() == "exit 2");
    const auto events = events_of(reader);
    CHECK(told_of(events, "slow") == Words{"started", "ended"});
    CHECK(told_of(events, "quick") == Words{"ended"});
    CHECK(events.size() == 3);

    // After each line, another reader is told the rest.
    for (std::size_t i = 0; i < events.size(); ++i) {
        CAPTURE(i);
        const auto rest = run({jobctl, "events", "--since", events[i]["cursor"], slow, quick});
        CHECK(rest.ended() == "exit 0");
        std::multiset<std::string> expected, found;
        for (std::size_t k = i + 1; k < events.size(); ++k)
            if (is_end(events[k])) expected.insert(events[k]["id"]);
        for (const Json& event : events_in(rest.out))
            if (is_end(event)) found.insert(event["id"]);
        CHECK(found == expected);
    }

    const auto none = ctl({"events", quick, dir / "none.json"});
    CHECK(none.ended() == "exit 4");
    CHECK(told_of(events_in(none.out), "quick") == Words{"ended"});
    CHECK(contains(none.err, "none.json: no such job"));
    CHECK(ctl({"events", "--since", "nonsense", quick}).ended() == "exit 2");
    CHECK(ctl({"events", "--since", "", quick}).ended() == "exit 2");
    put(jobs / "slower.json", "{}");
    CHECK(ctl({"events", "--dir", jobs, "slo"}).ended() == "exit 2");
}

TEST_CASE_METHOD(EventSandbox, "a named job whose file is removed is not waited for") {
    const auto file = jobs / "gone.json";
    put(file, R"({"status": "queued"})");
    auto reader = start_reader({file});
    REQUIRE(tells(reader, "gone", {"appeared"}));
    // Some hosts remove a file before they write the next version.
    fs::remove(file);
    put(file, R"({"status": "queued", "note": "again"})");
    CHECK_FALSE(wait_until([&] { return !reader.running(); }, 1500ms));
    fs::remove(file);
    CHECK(reader.wait().ended() == "exit 4");
    CHECK(told_of(events_of(reader), "gone") == Words{"appeared"});
}

TEST_CASE_METHOD(EventSandbox, "events goes on after any line", "[quick][libc]") {
    auto reader = start_reader();
    for (const char* id : {"a", "b", "c"}) run_job(jobs / (std::string(id) + ".json"), "exit 1");
    auto lost = start_job(jobs / "d.json", for_ever);
    worker_of(jobs / "d.json");
    CHECK(tells(reader, "d", {"appeared", "started"}));
    lost.kill(SIGKILL);
    lost.wait();
    run_job(jobs / "a.json", "exit 2");
    for (const char* id : {"e", "f"}) run_job(jobs / (std::string(id) + ".json"), "exit 1");
    REQUIRE(tells(reader, "f", whole_life));
    const auto events = events_of(reader);
    REQUIRE(std::count_if(events.begin(), events.end(), is_end) == 7);
    for (std::size_t i = 0; i < events.size(); ++i) {
        CAPTURE(i);
        std::multiset<std::string> expected;
        for (std::size_t k = i + 1; k < events.size(); ++k)
            if (is_end(events[k])) expected.insert(events[k]["id"]);
        CHECK(ends_since(events[i]["cursor"], expected.size()) == expected);
    }
    stop(reader);
}

TEST_CASE_METHOD(EventSandbox,
                 "a reader that was killed at its start is followed by one that tells the rest",
                 "[quick]") {
    for (const char* id : {"a", "b", "c"})
        put(jobs / (std::string(id) + ".json"), R"({"status": "queued"})");
    auto shim = start_job(jobs / "d.json", for_ever);
    worker_of(jobs / "d.json");
    run_job(jobs / "e.json", "exit 0");
    auto first = start_reader();
    REQUIRE(wait_until([&] { return events_of(first).size() == 4; }));
    const auto events = events_of(first);
    stop(first);
    run_job(jobs / "f.json", "exit 0");
    for (std::size_t i = 0; i < events.size(); ++i) {
        CAPTURE(i);
        auto next = start_reader({"--since", events[i]["cursor"]});
        CHECK(tells(next, "f", whole_life));
        std::multiset<std::string> expected, found;
        for (std::size_t k = i + 1; k < events.size(); ++k) expected.insert(events[k]["id"]);
        for (const Json& event : events_of(next))
            if (event["id"] != "f") found.insert(event["id"]);
        CHECK(found == expected);
        stop(next);
    }
    shim.kill(SIGTERM);
    shim.wait();
}

TEST_CASE_METHOD(EventSandbox, "what happens while nobody reads is told to the next reader",
                 "[quick]") {
    auto running = start_job(jobs / "runs.json", for_ever);
    auto lost = start_job(jobs / "lost.json", for_ever);
    const auto file = jobs / "keeps.json";
    auto keeps = start_job(
        file, until_running + R"(printf '{"status":"completed"}' > jobs/keeps.json; )" + for_ever);
    for (const char* id : {"runs", "lost"}) worker_of(jobs / (std::string(id) + ".json"));
    REQUIRE(wait_until([&] { return slurp(file) == R"({"status":"completed"})"; }));
    auto first = start_reader();
    REQUIRE(wait_until([&] { return events_of(first).size() == 3; }));
    run_job(jobs / "quick.json", "exit 0");
    REQUIRE(tells(first, "quick", whole_life));
    const auto cursor = events_of(first).back()["cursor"];
    stop(first);

    // The record of this one has been final for long, and does not change when its shim dies.
    keeps.kill(SIGKILL);
    keeps.wait();
    lost.kill(SIGKILL);
    lost.wait();
    auto second = start_reader({"--since", cursor});
    CHECK(tells(second, "lost", {"settled"}));
    CHECK(tells(second, "keeps", {"ended"}));
    running.kill(SIGTERM);
    running.wait();
    CHECK(tells(second, "runs", {"ended"}));
    CHECK(events_of(second).size() == 3);
    stop(second);
}

TEST_CASE_METHOD(EventSandbox, "a reader that may not settle tells of each end once, too",
                 "[quick]") {
    const auto file = jobs / "lost.json";
    auto shim = start_job(file, for_ever);
    worker_of(file);
    auto reader = start_reader({"--no-reap"});
    REQUIRE(tells(reader, "lost", {"started"}));
    shim.kill(SIGKILL);
    shim.wait();
    REQUIRE(tells(reader, "lost", {"started", "settled"}));
    CHECK(at(read_json(file), "/status") == "running");
    const auto cursor = events_of(reader).back()["cursor"];
    CHECK(ends_since(cursor, 0).empty());
    CHECK(ctl({"reap", "--dir", jobs}).ended() == "exit 0");
    CHECK(at(read_json(file), "/status") == "failed");
    run_job(jobs / "next.json", "exit 0");
    CHECK(tells(reader, "next", whole_life));
    CHECK(told_of(events_of(reader), "lost") == Words{"started", "settled"});
    CHECK(ends_since(cursor, 1) == std::multiset<std::string>{"next"});
    stop(reader);
}

TEST_CASE_METHOD(EventSandbox, "events finds a directory that does not exist yet") {
    const auto late = dir / "late";
    auto reader = spawn({jobctl, "events", "--dir", late});
    REQUIRE(wait_until([&] { return contains(reader.err(), "late: No such file"); }));
    fs::create_directory(late);
    auto shim = start_job(late / "one.json", until_go);
    worker_of(late / "one.json");
    REQUIRE(wait_until([&] { return told_of(events_of(reader), "one").size() == 2; }));
    put(dir / "go", "");
    shim.wait();
    CHECK(tells(reader, "one", whole_life));
    // It goes, and comes again.
    fs::remove_all(late);
    fs::create_directory(late);
    run_job(late / "two.json", "exit 0");
    CHECK(tells(reader, "two", whole_life));
    reader.kill(SIGTERM);
    reader.wait();
}

TEST_CASE_METHOD(EventSandbox, "events ends without a word when nobody reads it", "[quick]") {
    for (const bool ignored : {false, true}) {
        CAPTURE(ignored);
        Pipe pipe;
        Options options{.fds = {{1, pipe.write.get()}}};
        if (ignored) options.before_exec = [] { ::signal(SIGPIPE, SIG_IGN); };
        auto reader = spawn({jobctl, "events", "--dir", jobs}, options);
        pipe.write.close();
        wait_until_parked(reader);
        pipe.read.close();
        CHECK(reader.wait().ended() == "exit 0");
        CHECK(reader.err().empty());
    }
}

TEST_CASE_METHOD(EventSandbox, "at rest a reader of events sleeps") {
    auto shim = start_job(jobs / "rests.json", for_ever, {"--heartbeat-interval", "100ms"});
    const auto file = jobs / "rests.json";
    worker_of(file);
    auto reader = start_reader();
    REQUIRE(tells(reader, "rests", {"started"}));
    // So many beats take three seconds. It looks whether they still come, once in two of them.
    const auto beats_seen = [&, last = mtime_of(heartbeat_of(file)), beats = 0]() mutable {
        const auto now = mtime_of(heartbeat_of(file));
        beats += now != last;
        last = now;
        return beats >= 30;
    };
    const auto before = voluntary_switches(reader.pid());
    REQUIRE(wait_until(beats_seen));
    CHECK(voluntary_switches(reader.pid()) - before <= 5);
    shim.kill(SIGTERM);
    shim.wait();
    CHECK(tells(reader, "rests", {"started", "ended"}));
    stop(reader);
}

namespace {

/// Goes on with `--since` whenever it was killed.
class RestartedReader {
public:
    RestartedReader(EventSandbox& box, unsigned seed) : box_(box), random_(seed) { start(); }

    /// Kills the reader, now and then at a random moment.
    void maybe_kill() {
        if (random_() % 12 != 0) return;
        reader_.kill(SIGKILL);
        reader_.wait();
        take();
        start();
        ++restarts;
    }
    std::vector<Json> events() const {
        auto all = earlier_;
        for (Json& event : events_of(reader_)) all.push_back(std::move(event));
        return all;
    }
    void stop() { EventSandbox::stop(reader_); }

    int restarts = 0;

private:
    void take() {
        earlier_ = events();
        if (!earlier_.empty()) cursor_ = earlier_.back()["cursor"];
    }
    void start() {
        reader_ = box_.read_events(cursor_.empty() ? Words{} : Words{"--since", cursor_});
    }

    EventSandbox& box_;
    std::mt19937 random_;
    Process reader_;
    std::vector<Json> earlier_;
    std::string cursor_;
};

int rank_of(const std::string& event) {
    if (event == "appeared") return 0;
    if (event == "started") return 1;
    return event == "ended" || event == "settled" ? 3 : 2;
}

}  // namespace

TEST_CASE_METHOD(EventSandbox,
                 "of 200 jobs with random kills each end is told once to each of three readers",
                 "[sweep]") {
    const unsigned seed = std::random_device()();
    CAPTURE(seed);
    std::mt19937 random(seed);
    const auto chance = [&](unsigned percent) { return random() % 100 < percent; };
    auto first = start_reader();
    auto second = start_reader({"--no-reap"});
    RestartedReader third(*this, seed + 1);
    // Of its first line on, it has to be told everything.
    auto opening = start_job(jobs / "opening.json", until_go);
    REQUIRE(wait_until([&] { return !third.events().empty(); }));

    std::vector<Process> running;
    const auto hit_one = [&] {
        const std::size_t i = random() % running.size();
        if (chance(50))
            running[i].kill(SIGKILL);
        else
            for (const pid_t child : children_of(running[i].pid())) kill(child, SIGKILL);
        running[i].kill(SIGKILL);
        running[i].wait();
        running.erase(running.begin() + static_cast<std::ptrdiff_t>(i));
    };
    constexpr int most = 200;
    for (int i = 0; i < most; ++i) {
        const Words extra = chance(20) ? Words{"--on-shim-death", "keep"} : Words{};
        const char* const script = chance(40) ? "exit 3" : chance(50) ? "sleep 0.3" : "sleep 60";
        running.push_back(start_job(jobs / (std::to_string(i) + ".json"), script, extra));
        third.maybe_kill();
        while (running.size() > 8) hit_one();
    }
    while (!running.empty()) hit_one();
    put(dir / "go", "");
    opening.wait();
    for (const pid_t orphan : living_descendants())
        if (contains(command_of(orphan), "sleep 60")) kill(orphan, SIGKILL);

    // One that was killed before it wrote its first record was no job.
    std::set<std::string> expected;
    for (const std::string& name : names_in(jobs, ".json"))
        if (name.ends_with(".json")) expected.insert(name.substr(0, name.size() - 5));
    CHECK(expected.size() > most / 2);
    const auto has_all = [&](const std::vector<Json>& events) {
        std::set<std::string> ended;
        for (const Json& event : events)
            if (is_end(event)) ended.insert(event["id"]);
        return ended == expected;
    };
    const auto check = [&](const std::vector<Json>& events) {
        std::map<std::string, int> ranks;
        std::map<std::string, int> ends;
        for (const Json& event : events) {
            const std::string id = event["id"];
            CAPTURE(id);
            const int rank = rank_of(event["event"]);
            CHECK(rank >= ranks[id]);
            ranks[id] = rank;
            ends[id] += is_end(event);
        }
        for (const std::string& id : expected) {
            const Words told = told_of(events, id);
            CAPTURE(id, told);
            CHECK(ends[id] == 1);
        }
    };
    CHECK(wait_until([&] { return has_all(events_of(first)); }, 30s));
    CHECK(wait_until([&] { return has_all(events_of(second)); }, 30s));
    CHECK(wait_until([&] { return has_all(third.events()); }, 30s));
    check(events_of(first));
    check(events_of(second));
    check(third.events());
    CHECK(third.restarts > 0);
    stop(first);
    stop(second);
    third.stop();
}
