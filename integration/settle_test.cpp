// jobctl settle and reap --presume-dead: a person's verdict on what no machine can know from here,
// and on nothing else.

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "integration/support.hpp"
#include "integration/verdicts.hpp"

using namespace harness;

namespace {

/// How the job of another host or of a container looks from here: its shim cannot be found.
enum class Elsewhere { other_host, other_namespace };

class Settle : public Sandbox {
public:
    /// A job whose shim died elsewhere and whose last beat is `silence` old.
    void make_unreachable(const fs::path& file, Elsewhere where, std::chrono::seconds silence) {
        auto shim = start_job(file, for_ever);
        worker_of(file);
        auto record = slurp(file);
        auto heartbeat = slurp(heartbeat_of(file));
        shim.kill(SIGTERM);
        shim.wait();
        for (auto* text : {&record, &heartbeat}) {
            const std::string key =
                where == Elsewhere::other_host ? "\"bootId\"" : "\"pidNamespace\"";
            const auto value = text->find_first_of("\"0123456789", text->find(key) + key.size());
            (*text)[value + 1] = (*text)[value + 1] == '1' ? '2' : '1';
            if (where == Elsewhere::other_host) {
                const auto host = text->find("\"machineId\"");
                const auto id = text->find('"', host + 11);
                (*text)[id + 1] = (*text)[id + 1] == '1' ? '2' : '1';
            }
        }
        put(file, record);
        put(heartbeat_of(file), heartbeat);
        set_last_beat(file, silence);
    }
    static void set_last_beat(const fs::path& file, std::chrono::seconds ago) {
        const auto then =
            std::chrono::system_clock::to_time_t(std::chrono::system_clock::now()) - ago.count();
        const timespec times[2] = {{then, 0}, {then, 0}};
        REQUIRE(utimensat(AT_FDCWD, heartbeat_of(file).c_str(), times, 0) == 0);
    }
    Process start_settle(const fs::path& file, const std::string& as, const std::string& because) {
        return spawn({jobctl, "settle", file, "--as", as, "--because", because});
    }
    Result settle(const fs::path& file, const std::string& as = "failed",
                  const std::string& because = "the host burnt down") {
        return start_settle(file, as, because).wait();
    }
    void check_refused(const fs::path& file, const std::string& why) {
        const auto before = slurp(file);
        // The shim may be about to remove what its first write displaced.
        REQUIRE(wait_until([&] { return names_in(file.parent_path(), ".jobshim-new").empty(); }));
        const auto names = names_in(file.parent_path(), "");
        const auto result = settle(file);
        INFO(result.out << result.err);
        CHECK(result.ended() == "exit 125");
        CHECK(contains(result.err, "not settled"));
        CHECK(contains(result.err, why));
        CHECK(slurp(file) == before);
        CHECK(names_in(file.parent_path(), "") == names);
    }
};

}  // namespace

TEST_CASE_METHOD(Settle, "settle records a person's verdict on an unknown job and who gave it",
                 "[quick]") {
    Elsewhere where = Elsewhere::other_host;
    std::string as = "failed";
    SECTION("a lost host") {}
    SECTION("a container that is gone") {
        where = Elsewhere::other_namespace;
        as = "cancelled";
    }
    put(job, R"({"id":"far","status":"queued","host":1.10})");
    make_unreachable(job, where, 1h);
    REQUIRE(ask(*this, job).state == "unknown");
    auto settler = start_settle(job, as, "the host burnt down");
    const auto result = settler.wait();
    INFO(result.out << result.err);
    CHECK(result.ended() == "exit 0");
    CHECK(result.out.starts_with("far  " + as + "  Settled as " + as + " by uid "));
    const auto record = read_json(job);
    CHECK(at(record, "/status") == as);
    CHECK(at(record, "/phase") == as);
    CHECK(at(record, "/pid") == nullptr);
    CHECK(contains(at(record, "/errorMessage").get<std::string>(), "the host burnt down"));
    CHECK(at(record, "/host") == 1.10);
    const auto end = exit_of(job);
    CHECK(at(end, "/certainty") == "told");
    CHECK(at(end, "/reason") == (as == "failed" ? "unknown" : "cancelled"));
    CHECK(at(end, "/requestedBy/how") == "jobctl settle");
    CHECK(at(end, "/requestedBy/pid") == settler.pid());
    CHECK(at(end, "/requestedBy/uid") == getuid());
    for (const char* unknown : {"/code", "/signal", "/waitStatus"})
        CHECK(at(end, unknown) == nullptr);
    CHECK(ctl({"status", job}).code() == (as == "failed" ? 1 : 5));
    CHECK(contains(ctl({"result", job}).out, "(told)"));
    INFO("once is enough");
    check_refused(job, "it has ended");
}

TEST_CASE_METHOD(Settle, "settle works on a job that never had a shim", "[quick]") {
    put(job, R"({"id":"old","status":"running","pid":1})");
    REQUIRE(ask(*this, job).state == "unknown");
    CHECK(settle(job).ended() == "exit 0");
    CHECK(at(read_json(job), "/status") == "failed");
    CHECK(at(read_json(job), "/jobshim/shim") == nullptr);
    CHECK(at(exit_of(job), "/certainty") == "told");
    CHECK(ask(*this, job).state == "failed");
    CHECK(names_in(dir, "") == Words{"job.json"});
    // And the next run finds it in order.
    CHECK(run_job(job, "exit 0").ended() == "exit 0");
    CHECK(at(read_json(job), "/jobshim/previous/certainty") == "told");
}

// The lock needs a file, so one was created, and its mtime was taken for a beat just now.
TEST_CASE_METHOD(Settle, "settle works when the heartbeat file is gone") {
    make_unreachable(job, Elsewhere::other_host, 1s);
    fs::remove(heartbeat_of(job));
    REQUIRE(ask(*this, job).state == "unknown");
    const auto settled = settle(job);
    INFO(settled.err);
    CHECK(settled.ended() == "exit 0");
    CHECK(ask(*this, job).state == "failed");
    CHECK(names_in(dir, "") == Words{"job.json"});
}

TEST_CASE_METHOD(Settle, "settle refuses a job whose state is known") {
    CHECK(settle(job).ended() == "exit 4");
    CHECK(ctl({"settle", job, "--as", "completed", "--because", "x"}).ended() == "exit 2");
    CHECK(ctl({"settle", job, "--as", "failed"}).ended() == "exit 2");
    put(job, R"({"status":"queued"})");
    check_refused(job, "it has not started yet");
    fs::remove(job);

    auto shim = start_job(job, "touch ready; " + for_ever,
                          {"--on-shim-death", "keep", "--heartbeat-interval", "1s"});
    const auto worker = worker_of(job);
    REQUIRE(wait_until([&] { return fs::exists(dir / "ready"); }));
    check_refused(job, "it is alive");
    shim.kill(SIGSTOP);
    set_last_beat(job, 1h);
    REQUIRE(ask(*this, job).state == "stalled");
    check_refused(job, "it is alive");
    shim.kill(SIGKILL);
    shim.wait();
    check_refused(job, "its worker is alive");
    CHECK(alive(worker));
    ::kill(worker, SIGKILL);
    REQUIRE(wait_until([&] { return !alive(worker); }));
    // Dead: it is settled from what is known, and that is not undone.
    const auto result = settle(job);
    CHECK(result.ended() == "exit 125");
    CHECK(contains(result.err, "it has ended"));
    CHECK(at(exit_of(job), "/reason") == "shim-lost");
    CHECK(at(exit_of(job), "/certainty") == "inferred");

    const auto good = dir / "good.json";
    run_job(good, "exit 0");
    check_refused(good, "it has ended");
    put(dir / "torn.json", "{\"status\":");
    check_refused(dir / "torn.json", "not a JSON object");
}

TEST_CASE_METHOD(Settle, "settle refuses a job that may be alive elsewhere") {
    make_unreachable(job, Elsewhere::other_host, 1s);
    check_refused(job, "it may be alive");
    INFO("a beat from the future is as fresh as can be");
    set_last_beat(job, -1h);
    check_refused(job, "it may be alive");
    set_last_beat(job, 1h);
    CHECK(settle(job).ended() == "exit 0");
}

TEST_CASE_METHOD(Settle, "a living shim in another pid namespace is not settled") {
    if (!in_path("unshare") || run({"unshare", "-pf", "--mount-proc", "--", "true"}).status != 0)
        SKIP_TEST("no pid namespaces (needs root)");
    auto shim = spawn({"unshare", "-pf", "--kill-child", "--mount-proc", "--", jobshim, "-j", job,
                       "--heartbeat-interval", "1h", "--", "sh", "-c", for_ever});
    worker_of(job);
    set_last_beat(job, 5h);
    check_refused(job, "it is alive");
    CHECK(ctl({"reap", "--dir", dir, "--presume-dead", "1s"}).ended() == "exit 0");
    CHECK(ask(*this, job).state == "stalled");
    shim.kill(SIGKILL);
    shim.wait();
    REQUIRE(wait_until([&] { return ask(*this, job).state == "unknown"; }));
    CHECK(settle(job).ended() == "exit 0");
}

TEST_CASE_METHOD(Settle, "of many concurrent settlers one succeeds and the others are refused") {
    make_unreachable(job, Elsewhere::other_host, 1h);
    std::vector<Process> settlers;
    for (int i = 0; i < 8; ++i)
        settlers.push_back(start_settle(job, i % 2 == 0 ? "failed" : "cancelled", "I say so"));
    int done = 0;
    pid_t by = 0;
    for (auto& settler : settlers) {
        const auto result = settler.wait();
        if (result.code() == 0) ++done, by = settler.pid();
        if (result.code() != 0) CHECK(contains(result.err, "it has ended"));
    }
    CHECK(done == 1);
    CHECK(at(exit_of(job), "/requestedBy/pid") == by);
}

TEST_CASE_METHOD(Settle, "settle fails if its verdict cannot be written") {
    if (geteuid() != 0) SKIP_TEST("needs root, to be somebody else");
    make_unreachable(job, Elsewhere::other_host, 1h);
    for (const auto& file : {job, heartbeat_of(job)}) fs::permissions(file, fs::perms(0644));
    const auto program = public_copy(jobctl);
    const auto before = slurp(job);
    const auto result = run({program, "settle", job, "--as", "failed", "--because", "x"},
                            {.before_exec = become_nobody});
    CHECK(result.ended() == "exit 125");
    CHECK(contains(result.err, "belongs to uid 0"));
    CHECK(result.out.empty());
    CHECK(slurp(job) == before);
}

// ---- reap --presume-dead

TEST_CASE_METHOD(Settle, "reap --presume-dead settles only jobs that have been silent long enough",
                 "[quick]") {
    const auto jobs = dir / "jobs";
    fs::create_directory(jobs);
    const auto old = jobs / "old.json", fresh = jobs / "fresh.json", live = jobs / "live.json";
    make_unreachable(old, Elsewhere::other_host, 2h);
    make_unreachable(fresh, Elsewhere::other_host, 1s);
    make_unreachable(jobs / "future.json", Elsewhere::other_namespace, -1h);
    make_unreachable(jobs / "younger.json", Elsewhere::other_host, 30min);
    put(jobs / "queued.json", R"({"status":"queued"})");
    put(jobs / "none.json", R"({"status":"running"})");
    auto shim = start_job(live, for_ever);
    worker_of(live);
    shim.kill(SIGSTOP);
    set_last_beat(live, 2h);
    std::map<std::string, std::string> before;
    for (const auto& name : names_in(jobs, ".json")) before[name] = slurp(jobs / name);

    const auto dry = ctl({"reap", "--dir", jobs, "--presume-dead", "1h", "--dry-run"});
    INFO(dry.out << dry.err);
    CHECK(dry.ended() == "exit 0");
    CHECK(contains(dry.out, "1 job would be settled"));
    CHECK(dry.out.starts_with("old  "));
    for (const auto& [name, text] : before) CHECK(slurp(jobs / name) == text);

    INFO("0 is never, here as everywhere");
    CHECK(contains(ctl({"reap", "--dir", jobs, "--presume-dead", "0"}).out, "0 jobs settled"));
    CHECK(ctl({"reap", "--dir", jobs}).ended() == "exit 0");
    for (const auto& [name, text] : before) CHECK(slurp(jobs / name) == text);

    auto reaper = spawn({jobctl, "reap", "--dir", jobs, "--presume-dead", "1h"});
    const auto result = reaper.wait();
    CHECK(result.ended() == "exit 0");
    CHECK(contains(result.out, "1 job settled, "));
    const auto end = exit_of(old);
    CHECK(at(read_json(old), "/status") == "failed");
    CHECK(at(end, "/reason") == "shim-lost");
    CHECK(at(end, "/certainty") == "presumed");
    CHECK(at(end, "/requestedBy/pid") == reaper.pid());
    CHECK(at(end, "/requestedBy/how") == "jobctl reap --presume-dead");
    CHECK(contains(at(read_json(old), "/errorMessage").get<std::string>(), "Presumed dead"));
    for (const auto& [name, text] : before)
        if (name != "old.json") CHECK(slurp(jobs / name) == text);

    // However short DUR is, a job that may still beat is alive.
    CHECK(ctl({"reap", "--dir", jobs, "--presume-dead", "1ms"}).ended() == "exit 0");
    CHECK(slurp(fresh) == before["fresh.json"]);
    CHECK(slurp(jobs / "future.json") == before["future.json"]);
    CHECK(slurp(live) == before["live.json"]);
    CHECK(at(exit_of(jobs / "younger.json"), "/certainty") == "presumed");
    shim.kill(SIGKILL);
    shim.wait();
}
