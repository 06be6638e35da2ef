// What is concluded from forged files and real processes: which run is meant, and what may be
// settled.
#include "common/observation.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include "common/clocks.hpp"
#include "common/heartbeat_lines.hpp"
#include "common/settle.hpp"
#include "common/units.hpp"
#include "tests/catch.hpp"
#include "tests/child.hpp"
#include "tests/samples.hpp"
#include "tests/temp_dir.hpp"

using namespace jobshim;
using std::chrono::milliseconds;

namespace {

const std::string dead_worker_line = "{\"worker\":{\"pid\":4194303,\"startTime\":1}}\n";

// A job whose shim is dead: its pid is one that no process has (pid_max is at most 2^22).
struct DeadJob {
    TempDir dir;
    JobFiles files = job_files_of(dir / "j.json");
    Observer observer{identity_of_this_process(own_process_stat()), dir / "state"};
    RunRecord run;
    std::string started_at = "2026-01-01T00:00:00.000Z";

    DeadJob() {
        observer.here.machine_id = this_machine;  // a minimal system does not have one
        run.shim = observer.here;
        run.shim.pid = 4194303;
        run.shim.start_time = 1;
        run.heartbeat_file = files.path_of(files.heartbeat);
    }

    void put_record(Status status, const std::string& member = "\"host\":1") {
        JobEdit edit;
        edit.status = status;
        edit.phase = "running";
        edit.started_at = edit.updated_at = started_at;
        edit.run = run;
        write_text(files.path, edit.applied_to(JobDocument::parse("{" + member + "}"), false));
    }
    void put_heartbeat(const std::string& more = dead_worker_line) {
        RunRecord first = run;
        first.exit.reset();
        write_text(files.path_of(files.heartbeat),
                   heartbeat_first_line(first, files.path, started_at) + more);
    }
    static std::string exit_line(int wait_status, const std::string& ended_at) {
        Ending end;
        end.wait_status = wait_status;
        Conclusion last = judge_witnessed(end);
        last.exit.ended_at = ended_at;
        return heartbeat_last_line(last);
    }
    Observation look() const { return observe(files, observer); }
    std::string state() const { return std::string(word(look().verdict.state)); }
    JobDocument record() const { return JobDocument::parse(read_text(files.path)); }
};

}  // namespace

TEST_CASE("observation: shim and worker dead") {
    DeadJob job;
    job.put_record(Status::running);
    job.put_heartbeat();
    CHECK(job.state() == "lost");
    const Settled settled = observe_and_settle(job.files, job.observer);
    CHECK(settled.wrote);
    CHECK(settled.now.verdict.state == State::failed);
    CHECK(settled.now.verdict.ended);
    const JobDocument record = job.record();
    CHECK(record.run()->exit->reason == ExitReason::shim_lost);
    CHECK_FALSE(record.run()->exit->code);
    CHECK(record.value("pid") == "null");
    CHECK(record.value("host") == "1");
    // Settling again does not change a byte.
    const std::string text = record.text();
    CHECK_FALSE(observe_and_settle(job.files, job.observer).wrote);
    CHECK(read_text(job.files.path) == text);
}

TEST_CASE("observation: a shim that died before its worker was started") {
    DeadJob job;
    job.put_record(Status::running);
    job.put_heartbeat("");
    CHECK(observe_and_settle(job.files, job.observer).now.document->string("errorMessage") ==
          "The shim died before the worker started.");
}

TEST_CASE("observation: without the heartbeat file it is unknown whether the worker started") {
    DeadJob job;
    job.put_record(Status::running);
    const Observation seen = job.look();
    CHECK(seen.verdict.state == State::unknown);
    CHECK_FALSE(seen.verdict.settle);
}

TEST_CASE("observation: an orphaned job is not dead") {
    DeadJob job;
    const Child worker([](auto ready) { ready(); });
    job.run.kill_on_shim_death = false;
    job.run.worker =
        WorkerIdentity{worker.pid(), read_process_stat(worker.pid())->start_time, Group::own, {}};
    job.put_record(Status::running);
    job.put_heartbeat("");
    CHECK(job.state() == "orphaned");
    CHECK_FALSE(observe_and_settle(job.files, job.observer).wrote);
    worker.make_zombie();
    CHECK(job.state() == "lost");
}

TEST_CASE("observation: a known end is settled as it was whoever lost the record") {
    for (const bool with_our_member : {true, false}) {
        DeadJob job;
        if (with_our_member)
            job.put_record(Status::running);
        else  // the host wrote back its own old copy, from before the start
            write_text(job.files.path, R"({"status":"running","host":1})");
        job.put_heartbeat(dead_worker_line + DeadJob::exit_line(0, "2026-01-01T00:00:05.000Z"));
        const Settled settled = observe_and_settle(job.files, job.observer);
        CHECK(settled.now.verdict.state == State::completed);
        const JobDocument record = job.record();
        CHECK(record.run()->exit->reason == ExitReason::success);
        CHECK(record.run()->exit->certainty == Certainty::observed);
        CHECK(record.string("completedAt") == "2026-01-01T00:00:05.000Z");
        CHECK(record.value("host") == "1");
    }
}

TEST_CASE(
    "observation: an old copy that is written back late is put right whatever its timestamp") {
    DeadJob job;
    write_text(job.files.path,
               R"({"status":"running","pid":4,"updatedAt":"2026-01-01T00:00:09.000Z"})");
    job.put_heartbeat(dead_worker_line + DeadJob::exit_line(768, "2026-01-01T00:00:05.000Z"));
    CHECK(observe_and_settle(job.files, job.observer).now.verdict.state == State::failed);
    CHECK(job.record().run()->exit->code == 3);
}

TEST_CASE("observation: a host that puts running back over a recorded end") {
    DeadJob job;
    job.run.exit = ExitRecord{};
    job.put_record(Status::running);
    SECTION("is put right by the heartbeat file") {
        job.put_heartbeat(dead_worker_line + DeadJob::exit_line(768, "2026-01-01T00:00:05.000Z"));
        const Settled settled = observe_and_settle(job.files, job.observer);
        CHECK(settled.now.verdict.state == State::failed);
        CHECK(job.record().status() == Status::failed);
        CHECK(job.record().run()->exit->code == 3);
    }
    SECTION("is unknown without one") {
        const Verdict verdict = job.look().verdict;
        CHECK(verdict.state == State::unknown);
        CHECK(verdict.because ==
              "It was made active again after it ended; no shim has supervised it since.");
    }
}

TEST_CASE("observation: a job that is requested again is not settled by its previous run's end") {
    const std::string end = dead_worker_line + DeadJob::exit_line(768, "2026-01-01T00:00:05.000Z");
    {
        INFO("the host kept our member, whose exit it has seen");
        DeadJob job;
        job.run.exit = ExitRecord{};
        job.put_record(Status::queued);
        job.put_heartbeat(end);
        CHECK(job.state() == "queued");
    }
    for (const char* fresh : {R"({"status":"queued","createdAt":"2026-01-01T00:00:09.000Z"})",
                              R"({"status":"queued","updatedAt":"2026-01-01T00:00:09.000Z"})"}) {
        INFO(fresh);
        DeadJob job;
        write_text(job.files.path, fresh);
        job.put_heartbeat(end);
        CHECK(job.state() == "queued");
    }
}

TEST_CASE(
    "observation: a final status is from the previous run while another shim holds the lock") {
    // From the moment it takes the lock, whether or not it has written its first line.
    for (const bool has_begun : {false, true}) {
        DeadJob job;
        job.run.exit = ExitRecord{};
        job.put_record(Status::failed);
        job.put_heartbeat(dead_worker_line + DeadJob::exit_line(768, "2026-01-01T00:00:05.000Z"));
        CHECK(job.state() == "failed");
        const Child next([&](auto ready) {
            HeartbeatHold held = HeartbeatHold::acquire(job.files, milliseconds(0));
            RunRecord run;
            run.shim = identity_of_this_process(own_process_stat());
            if (has_begun)
                held.begin(heartbeat_first_line(run, job.files.path, job.started_at), 100);
            ready();
            for (;;) ::pause();
        });
        const Observation seen = job.look();
        CHECK(seen.verdict.state == State::running);
        CHECK_FALSE(seen.verdict.ended);
    }
}

TEST_CASE("observation: an older run's heartbeat says nothing about a newer record") {
    DeadJob job;
    job.put_heartbeat(dead_worker_line + DeadJob::exit_line(0, "2026-01-01T00:00:05.000Z"));
    job.run.shim.start_time = 2;
    job.put_record(Status::running);
    const Observation seen = job.look();
    CHECK_FALSE(seen.known_end);
    CHECK(seen.verdict.state == State::unknown);  // it may have started: its own file is gone
}

TEST_CASE("observation: another job's heartbeat file does not count") {
    DeadJob job;
    write_text(job.files.path, R"({"status":"queued"})");
    write_text(job.files.path_of(job.files.heartbeat),
               heartbeat_first_line(job.run, job.dir / "other.json", job.started_at) +
                   DeadJob::exit_line(0, job.started_at));
    CHECK(job.state() == "queued");
}

TEST_CASE("observation: an end that could only be copied elsewhere is found there") {
    DeadJob job;
    job.put_record(Status::running);
    job.put_heartbeat();
    const std::string copy = Directory::make(unrecorded_directory(job.observer.state_directory))
                                 .path_of(unrecorded_name(job.run.shim));
    const std::string line = DeadJob::exit_line(11, "2026-01-01T00:00:05.000Z");
    // A copy for another job does not count.
    write_text(copy, heartbeat_first_line(job.run, "/other.json", job.started_at) + line);
    CHECK_FALSE(job.look().known_end);
    write_text(copy, heartbeat_first_line(job.run, job.files.path, job.started_at) + line);
    CHECK(observe_and_settle(job.files, job.observer).now.verdict.state == State::failed);
    CHECK(job.record().run()->exit->signal == 11);
    CHECK_FALSE(std::filesystem::exists(copy));
}

// The heartbeat file also held the end, so nobody looked for the copy, and it stayed forever.
TEST_CASE("observation: a copy of an end is removed when the job is settled whoever knew the end") {
    DeadJob job;
    job.put_record(Status::running);
    const std::string line = DeadJob::exit_line(11, "2026-01-01T00:00:05.000Z");
    job.put_heartbeat(dead_worker_line + line);
    const std::string copy = Directory::make(unrecorded_directory(job.observer.state_directory))
                                 .path_of(unrecorded_name(job.run.shim));
    write_text(copy, heartbeat_first_line(job.run, job.files.path, job.started_at) + line);
    CHECK(observe_and_settle(job.files, job.observer).wrote);
    CHECK_FALSE(std::filesystem::exists(copy));
}

TEST_CASE("observation: other boots and hosts and namespaces") {
    struct Row {
        const char* name;
        std::function<void(ShimIdentity&)> change;
        const char* state;
        const char* sentence;
    };
    for (const Row& row : {
             Row{"an earlier boot of this host", [](auto& shim) { shim.boot_id = another_boot; },
                 "lost", "rebooted"},
             Row{"an earlier boot of another host",
                 [](auto& shim) { shim.boot_id = another_boot, shim.host = "far"; }, "unknown",
                 "far"},
             Row{"no machine id",
                 [](auto& shim) { shim.boot_id = another_boot, shim.machine_id = ""; }, "unknown",
                 "host"},
             Row{"no boot id", [](auto& shim) { shim.boot_id = ""; }, "unknown", "host"},
             Row{"another pid namespace",
                 [](auto& shim) { shim.pid_namespace = *shim.pid_namespace + 1; }, "unknown",
                 "pid namespace"},
         }) {
        INFO(row.name);
        DeadJob job;
        row.change(job.run.shim);
        job.put_record(Status::running);
        job.put_heartbeat();
        const Observation seen = job.look();
        CHECK(word(seen.verdict.state) == row.state);
        CHECK(seen.verdict.because.find(row.sentence) != std::string::npos);
        CHECK(seen.verdict.settle == (std::string(row.state) == "lost"));
    }
    DeadJob job;
    job.run.shim.boot_id = another_boot;
    job.put_record(Status::running);
    job.put_heartbeat();
    observe_and_settle(job.files, job.observer);
    CHECK(job.record().run()->exit->reason == ExitReason::host_rebooted);
}

TEST_CASE("observation: a beat that moves is a sign of life until the next one is overdue") {
    DeadJob job;
    job.run.shim.host = "far";
    job.run.shim.boot_id = another_boot;
    job.run.interval_ms = 100;
    job.put_record(Status::running);
    job.put_heartbeat();
    BeatMemory beats;
    const auto look = [&] {
        Observation seen = job.look();
        beats.compare(job.files.path, seen);
        return seen.verdict.state;
    };
    CHECK(look() == State::unknown);
    CHECK(look() == State::unknown);
    const timespec later[2] = {{4'000'000'000, 0}, {4'000'000'000, 0}};
    REQUIRE(::utimensat(AT_FDCWD, job.files.path_of(job.files.heartbeat).c_str(), later, 0) == 0);
    CHECK(look() == State::running);
    CHECK(look() == State::running);
}

TEST_CASE("observation: a file that is not a job file is unknown and named and left alone") {
    DeadJob job;
    const std::string deep = R"({"a":)" + std::string(600, '[') + std::string(600, ']') + "}";
    for (const std::string& text : {std::string("{torn"), std::string("[]"), deep}) {
        write_text(job.files.path, text);
        const Settled settled = observe_and_settle(job.files, job.observer);
        CHECK(settled.now.verdict.state == State::unknown);
        CHECK(settled.now.verdict.because.find("j.json") != std::string::npos);
        CHECK(read_text(job.files.path) == text);
    }
}

TEST_CASE("observation: a deleted file is not brought back") {
    DeadJob job;
    job.put_heartbeat(dead_worker_line + DeadJob::exit_line(0, "2026-01-01T00:00:05.000Z"));
    CHECK_FALSE(observe_and_settle(job.files, job.observer).wrote);
    CHECK_FALSE(std::filesystem::exists(job.files.path));
}

TEST_CASE("observation: a process that has just lost its lock is given time to disappear") {
    DeadJob job;
    // A shim by every sign except the lock; it ends while we look.
    Child shim([](auto ready) { ready(); });
    job.run.shim.pid = shim.pid();
    job.run.shim.start_time = read_process_stat(shim.pid())->start_time;
    job.put_record(Status::running);
    job.put_heartbeat();
    CHECK(job.state() == "running");  // alive throughout: one witness is not enough
    const Child killer([&](auto ready) {
        // Once the reader waits: it sleeps then, and at no other time.
        const int reader = ::getppid();
        ready();
        for (;;) {
            const auto stat = read_process_stat(reader);
            if (stat && stat->state == 'S') break;
            ::sched_yield();
        }
        ::kill(shim.pid(), SIGKILL);
    });
    CHECK(job.state() == "lost");
}
