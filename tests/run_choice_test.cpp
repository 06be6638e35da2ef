// Every row of the table that decides which run a record and a heartbeat file describe.
#include "common/run_choice.hpp"

#include <functional>

#include "common/units.hpp"
#include "tests/catch.hpp"

using namespace jobshim;

namespace {

// A time on the day when a run begins at 10 and ends at 11.
std::string at(int hour) { return "2026-01-01T" + std::to_string(hour) + ":00:00.000Z"; }

std::int64_t ms(int hour) { return parse_iso_time(at(hour)).value(); }

const WorkerIdentity the_worker{42, 7, Group::own, 40};
const WorkerIdentity other_worker{43, 7, Group::own, 40};

RunRecord a_run(const std::string& boot, std::optional<std::uint64_t> start_time) {
    RunRecord run;
    run.shim = {41, start_time, boot, "machine", {}, "host"};
    return run;
}

Conclusion an_end() {
    Conclusion last = judge_witnessed({});
    last.exit.ended_at = at(11);
    return last;
}

// The record and the heartbeat file describe the same run, which is still going on. Each row
// changes only what it is about.
RunSigns both() {
    RunSigns signs;
    signs.status = Status::running;
    signs.recorded = a_run("now", 1000);
    signs.recorded->worker = the_worker;
    signs.created_at = at(9);
    signs.started_at = signs.updated_at = signs.beat.started_at = at(10);
    signs.beat.run = signs.recorded;
    signs.beat.job_file = signs.job_file = "/jobs/j.json";
    signs.beat.oom = OomBaseline{};
    signs.boot_id = "now";
    return signs;
}

RunSigns held(RunSigns signs) {
    signs.lock_is_held = true;
    return signs;
}

// The run has ended, and the heartbeat file says how.
RunSigns with_end(RunSigns signs) {
    signs.beat.last = an_end();
    return signs;
}

// The record says so too.
RunSigns recorded_end(RunSigns signs) {
    signs.recorded->exit = an_end().exit;
    return signs;
}

RunSigns says(Status status, RunSigns signs) {
    signs.status = status;
    return signs;
}

// The record describes another run: its shim is of this boot, and started this many ticks after the
// heartbeat file's (before it, if negative).
RunSigns differing(std::int64_t ticks) {
    RunSigns signs = both();
    signs.recorded->shim.start_time = static_cast<std::uint64_t>(1000 + ticks);
    signs.recorded->worker = other_worker;
    return signs;
}
RunSigns earlier_record() { return differing(-1); }
RunSigns later_record() { return differing(1); }

RunSigns of_boots(const std::string& recorded, const std::string& beating) {
    RunSigns signs = earlier_record();
    signs.recorded->shim.boot_id = recorded;
    signs.beat.run->shim.boot_id = beating;
    return signs;
}

// The host has overwritten the record.
RunSigns heartbeat_alone() {
    RunSigns signs = both();
    signs.recorded.reset();
    return signs;
}

RunSigns without_times(RunSigns signs) {
    signs.created_at = signs.started_at = signs.updated_at = "";
    return signs;
}

RunSigns record_alone() {
    RunSigns signs = both();
    signs.beat = {};
    return signs;
}

RunSigns of_another_job(RunSigns signs) {
    signs.beat.job_file = "/jobs/other.json";
    return signs;
}

RunSigns changed(RunSigns signs, const std::function<void(RunSigns&)>& change) {
    change(signs);
    return signs;
}

enum class Of { none, record, heartbeat, both };
enum class End { unknown, known };
enum class Agrees { no, yes };
enum class Worker { not_started, started };
enum class Begun { no, yes };
enum class Before { no, yes };

struct ChoiceRow {
    const char* name;
    RunSigns signs;
    Of of;
    End end;
    Agrees agrees;
    Worker worker;
    Begun new_run;
    Before before;
};

void check(const std::vector<ChoiceRow>& rows) {
    for (const ChoiceRow& row : rows) {
        INFO(row.name);
        const RunChoice choice = choose_run(row.signs);
        REQUIRE(choice.run.has_value() == (row.of != Of::none));
        if (row.of == Of::record || row.of == Of::both)
            CHECK(choice.run->shim == row.signs.recorded->shim);
        if (row.of == Of::heartbeat || row.of == Of::both)
            CHECK(choice.run->shim == row.signs.beat.run->shim);
        CHECK(choice.known_end.has_value() == (row.end == End::known));
        CHECK(choice.heartbeat_agrees == (row.agrees == Agrees::yes));
        CHECK(choice.worker_was_started == (row.worker == Worker::started));
        CHECK(choice.new_run_began == (row.new_run == Begun::yes));
        CHECK(choice.has_run_before == (row.before == Before::yes));
        // The OOM counters are those of the heartbeat file's run.
        if (choice.run) CHECK(choice.oom.has_value() == (row.of != Of::record));
    }
}

}  // namespace

TEST_CASE("run choice: the record and the heartbeat file describe the same run") {
    check({
        {"it goes on", held(both()), Of::both, End::unknown, Agrees::yes, Worker::started,
         Begun::no, Before::no},
        {"its shim is gone, and nobody knows the end", both(), Of::both, End::unknown, Agrees::yes,
         Worker::started, Begun::no, Before::no},
        {"its end did not get into the record", with_end(both()), Of::both, End::known, Agrees::yes,
         Worker::started, Begun::no, Before::no},
        {"its end is recorded", says(Status::failed, recorded_end(with_end(both()))), Of::both,
         End::unknown, Agrees::yes, Worker::started, Begun::no, Before::yes},
        {"the worker wrote its status, and the shim died before it could add the end",
         says(Status::completed, with_end(both())), Of::both, End::known, Agrees::yes,
         Worker::started, Begun::no, Before::no},
        {"the record has no worker yet",
         changed(both(), [](RunSigns& signs) { signs.recorded->worker.reset(); }), Of::both,
         End::unknown, Agrees::yes, Worker::started, Begun::no, Before::no},
        {"neither has a worker",
         changed(both(),
                 [](RunSigns& signs) {
                     signs.recorded->worker.reset();
                     signs.beat.run->worker.reset();
                 }),
         Of::both, End::unknown, Agrees::yes, Worker::not_started, Begun::no, Before::no},
        {"they name different workers: the heartbeat file is believed",
         changed(both(), [](RunSigns& signs) { signs.recorded->worker = other_worker; }), Of::both,
         End::unknown, Agrees::yes, Worker::started, Begun::no, Before::no},
        {"only the record names a worker",
         changed(both(), [](RunSigns& signs) { signs.beat.run->worker.reset(); }), Of::both,
         End::unknown, Agrees::no, Worker::started, Begun::no, Before::no},
        {"the directory goes by another name", of_another_job(both()), Of::both, End::unknown,
         Agrees::yes, Worker::started, Begun::no, Before::no},
    });
}

// A directory that was moved, or is mounted elsewhere, keeps the names of its jobs.
TEST_CASE("run choice: another job's heartbeat file, moved here, does not keep this job running") {
    struct Row {
        const char* beat_of;
        RunSigns signs;
        bool is_anothers;
    };
    for (const Row& row : {
             Row{"/jobs/other.json", held(earlier_record()), true},
             Row{"/jobs/other.json", held(heartbeat_alone()), true},
             Row{"/jobs/other.json", heartbeat_alone(), false},  // a free lock is no witness
             Row{"/jobs/other.json", held(both()), false},
             Row{"/moved/j.json", held(heartbeat_alone()), false},
             Row{"", held(heartbeat_alone()), false},
         }) {
        RunSigns signs = row.signs;
        signs.beat.job_file = row.beat_of;
        const RunChoice choice = choose_run(signs);
        CAPTURE(row.beat_of);
        CHECK(choice.heartbeat_is_anothers == row.is_anothers);
        if (row.is_anothers) CHECK_FALSE(choice.new_run_began);
    }
}

TEST_CASE("run choice: the heartbeat file's worker is added to a record that has none") {
    RunSigns signs = both();
    signs.recorded->worker.reset();
    CHECK(choose_run(signs).run->worker == the_worker);
}

// More people can write the record than the heartbeat file.
TEST_CASE("run choice: the heartbeat file says whom to signal and whether to") {
    RunSigns signs = both();
    signs.recorded->worker = other_worker;
    signs.recorded->kill_on_shim_death = true;
    signs.beat.run->kill_on_shim_death = false;
    const RunChoice choice = choose_run(signs);
    CHECK(choice.run->worker == the_worker);
    CHECK_FALSE(choice.run->kill_on_shim_death);
}

TEST_CASE("run choice: a job made active again after its end was recorded") {
    const RunSigns ended = recorded_end(with_end(both()));
    check({
        {"queued: requested again", says(Status::queued, ended), Of::none, End::unknown,
         Agrees::yes, Worker::started, Begun::no, Before::yes},
        {"queued: requested again by a host that had read it during the run",
         says(Status::queued, with_end(both())), Of::none, End::unknown, Agrees::yes,
         Worker::started, Begun::no, Before::no},
        {"running: the host put its old copy back", ended, Of::both, End::known, Agrees::yes,
         Worker::started, Begun::no, Before::yes},
        {"running, and stamped later than the end: still an old copy, written late",
         changed(ended, [](RunSigns& signs) { signs.updated_at = at(12); }), Of::both, End::known,
         Agrees::yes, Worker::started, Begun::no, Before::yes},
        {"running, started after the end: a new run",
         changed(ended, [](RunSigns& signs) { signs.started_at = at(12); }), Of::none, End::unknown,
         Agrees::yes, Worker::started, Begun::no, Before::yes},
        {"running, made after the run began: a new run",
         changed(ended, [](RunSigns& signs) { signs.created_at = at(12); }), Of::none, End::unknown,
         Agrees::yes, Worker::started, Begun::no, Before::yes},
        {"running, and the heartbeat file has lost the end: nothing speaks for a new run",
         recorded_end(both()), Of::both, End::unknown, Agrees::yes, Worker::started, Begun::no,
         Before::yes},
        {"queued, but its shim is still running", held(says(Status::queued, ended)), Of::both,
         End::known, Agrees::yes, Worker::started, Begun::no, Before::yes},
        {"the host's own word instead of a status: not active", says(Status::other, ended),
         Of::both, End::known, Agrees::yes, Worker::started, Begun::no, Before::yes},
    });
}

TEST_CASE("run choice: the heartbeat file and the record describe different runs") {
    check({
        {"a new shim holds the lock: its run, whichever began later", held(later_record()),
         Of::heartbeat, End::unknown, Agrees::yes, Worker::started, Begun::yes, Before::no},
        {"likewise over the end of the previous run",
         held(says(Status::failed, recorded_end(earlier_record()))), Of::heartbeat, End::unknown,
         Agrees::yes, Worker::started, Begun::yes, Before::yes},
        {"the host put back a copy from before this run", earlier_record(), Of::heartbeat,
         End::unknown, Agrees::yes, Worker::started, Begun::no, Before::no},
        {"likewise, and the end of this run is known", with_end(earlier_record()), Of::heartbeat,
         End::known, Agrees::yes, Worker::started, Begun::no, Before::no},
        {"likewise with the end of the run before",
         says(Status::failed, recorded_end(with_end(earlier_record()))), Of::heartbeat,
         End::unknown, Agrees::yes, Worker::started, Begun::no, Before::yes},
        {"this run's worker was not started",
         changed(earlier_record(), [](RunSigns& signs) { signs.beat.run->worker.reset(); }),
         Of::heartbeat, End::unknown, Agrees::yes, Worker::not_started, Begun::no, Before::no},
        {"a later record has lost its heartbeat file: this one is of a run before", later_record(),
         Of::record, End::unknown, Agrees::no, Worker::started, Begun::no, Before::no},
        {"likewise with an end, which is not the record's", with_end(later_record()), Of::record,
         End::unknown, Agrees::no, Worker::started, Begun::no, Before::no},
        {"requested again: queued after this run's end",
         says(Status::queued, changed(with_end(earlier_record()),
                                      [](RunSigns& signs) { signs.updated_at = at(12); })),
         Of::none, End::unknown, Agrees::no, Worker::not_started, Begun::no, Before::no},
        {"running after this run's end: an old copy, written late",
         changed(with_end(earlier_record()), [](RunSigns& signs) { signs.updated_at = at(12); }),
         Of::heartbeat, End::known, Agrees::yes, Worker::started, Begun::no, Before::no},
        {"made after this run began: requested again",
         changed(earlier_record(), [](RunSigns& signs) { signs.created_at = at(12); }), Of::none,
         End::unknown, Agrees::no, Worker::not_started, Begun::no, Before::no},
        {"likewise, but a shim holds the lock: it has taken it on",
         held(changed(earlier_record(), [](RunSigns& signs) { signs.created_at = at(12); })),
         Of::heartbeat, End::unknown, Agrees::yes, Worker::started, Begun::yes, Before::no},
        {"made later, but final: nothing is asked for",
         says(Status::failed,
              changed(earlier_record(), [](RunSigns& signs) { signs.created_at = at(12); })),
         Of::heartbeat, End::unknown, Agrees::yes, Worker::started, Begun::no, Before::no},
        {"the heartbeat file is another job's", of_another_job(earlier_record()), Of::record,
         End::unknown, Agrees::no, Worker::started, Begun::no, Before::no},
        {"another job's, and the lock is held: a shim that has not written yet",
         held(of_another_job(earlier_record())), Of::record, End::unknown, Agrees::no,
         Worker::started, Begun::no, Before::no},
    });
}

TEST_CASE("run choice: which of two runs came later") {
    const auto row = [](const char* name, const RunSigns& signs, Of of) {
        return ChoiceRow{name,
                         signs,
                         of,
                         End::unknown,
                         of == Of::heartbeat ? Agrees::yes : Agrees::no,
                         Worker::started,
                         Begun::no,
                         Before::no};
    };
    const auto with_times = [](RunSigns signs, int recorded, int beating) {
        signs.started_at = at(recorded);
        signs.beat.started_at = at(beating);
        return signs;
    };
    check({
        row("within a boot by start time: the heartbeat's", earlier_record(), Of::heartbeat),
        row("within a boot by start time: the record's", later_record(), Of::record),
        row("the same start time under two pids: the record's",
            changed(differing(0), [](RunSigns& signs) { signs.recorded->shim.pid = 99; }),
            Of::record),
        row("within an earlier boot by start time, whatever the clock says",
            with_times(of_boots("old", "old"), 12, 10), Of::heartbeat),
        row("only the heartbeat's is of this boot", with_times(of_boots("old", "now"), 12, 10),
            Of::heartbeat),
        row("only the record's is of this boot", with_times(of_boots("now", "old"), 10, 12),
            Of::record),
        row("both of this boot, one start time is unknown: the heartbeat's",
            changed(later_record(), [](RunSigns& signs) { signs.recorded->shim.start_time = {}; }),
            Of::heartbeat),
        row("neither of this boot: by the wall clock, the heartbeat's",
            with_times(of_boots("older", "old"), 10, 12), Of::heartbeat),
        row("neither of this boot: by the wall clock, the record's",
            with_times(of_boots("older", "old"), 12, 10), Of::record),
        row("neither of this boot, both at once: the record's",
            with_times(of_boots("older", "old"), 10, 10), Of::record),
        row("neither of this boot, and the record has no time: the heartbeat's",
            changed(of_boots("older", "old"), [](RunSigns& signs) { signs.started_at = ""; }),
            Of::heartbeat),
        row("neither of this boot, and the heartbeat has no time: the record's",
            changed(of_boots("older", "old"), [](RunSigns& signs) { signs.beat.started_at = ""; }),
            Of::record),
    });
}

TEST_CASE("run choice: the record describes no run of ours") {
    check({
        {"nothing at all", says(Status::queued, RunSigns{}), Of::none, End::unknown, Agrees::no,
         Worker::not_started, Begun::no, Before::no},
        {"the host has overwritten the record of a run that goes on", held(heartbeat_alone()),
         Of::heartbeat, End::unknown, Agrees::yes, Worker::started, Begun::no, Before::no},
        {"or of one whose shim is gone", heartbeat_alone(), Of::heartbeat, End::unknown,
         Agrees::yes, Worker::started, Begun::no, Before::no},
        {"or of one whose end is known", with_end(heartbeat_alone()), Of::heartbeat, End::known,
         Agrees::yes, Worker::started, Begun::no, Before::no},
        {"with a final status of its own, which is not added to",
         says(Status::completed, with_end(heartbeat_alone())), Of::heartbeat, End::unknown,
         Agrees::yes, Worker::started, Begun::no, Before::no},
        {"or asks for a new run: made after the last one began",
         changed(heartbeat_alone(), [](RunSigns& signs) { signs.created_at = at(12); }), Of::none,
         End::unknown, Agrees::no, Worker::not_started, Begun::no, Before::no},
        {"or asks for a new run: queued after the last one's end",
         says(Status::queued, changed(with_end(heartbeat_alone()),
                                      [](RunSigns& signs) { signs.updated_at = at(12); })),
         Of::none, End::unknown, Agrees::no, Worker::not_started, Begun::no, Before::no},
        {"queued before the last one's end: an old copy",
         says(Status::queued, with_end(heartbeat_alone())), Of::heartbeat, End::known, Agrees::yes,
         Worker::started, Begun::no, Before::no},
        {"queued, and only the file has a time, which is after the end",
         says(Status::queued, changed(without_times(with_end(heartbeat_alone())),
                                      [](RunSigns& signs) { signs.written_ms = ms(12); })),
         Of::none, End::unknown, Agrees::no, Worker::not_started, Begun::no, Before::no},
        {"likewise, within the tick of the clock in which that end was written",
         says(Status::queued,
              changed(without_times(with_end(heartbeat_alone())),
                      [](RunSigns& signs) { signs.last_beat_ms = signs.written_ms = ms(11) - 4; })),
         Of::none, End::unknown, Agrees::no, Worker::not_started, Begun::no, Before::no},
        {"likewise, but before that end was written: an old copy",
         says(Status::queued, changed(without_times(with_end(heartbeat_alone())),
                                      [](RunSigns& signs) {
                                          signs.last_beat_ms = ms(11) - 4;
                                          signs.written_ms = ms(11) - 8;
                                      })),
         Of::heartbeat, End::known, Agrees::yes, Worker::started, Begun::no, Before::no},
        {"after the end, and it names that run's worker: an old copy",
         says(Status::queued, changed(without_times(with_end(heartbeat_alone())),
                                      [](RunSigns& signs) {
                                          signs.written_ms = ms(12);
                                          signs.pid = std::to_string(the_worker.pid);
                                      })),
         Of::heartbeat, End::known, Agrees::yes, Worker::started, Begun::no, Before::no},
        {"running, likewise: an old copy",
         changed(without_times(with_end(heartbeat_alone())),
                 [](RunSigns& signs) { signs.written_ms = ms(12); }),
         Of::heartbeat, End::known, Agrees::yes, Worker::started, Begun::no, Before::no},
        {"queued long after the last beat of a shim that is gone",
         says(Status::queued, changed(without_times(heartbeat_alone()),
                                      [](RunSigns& signs) {
                                          signs.last_beat_ms = ms(10);
                                          signs.written_ms = ms(11);
                                      })),
         Of::none, End::unknown, Agrees::no, Worker::not_started, Begun::no, Before::no},
        {"queued before its heartbeat was overdue: perhaps during that run",
         says(Status::queued, changed(without_times(heartbeat_alone()),
                                      [](RunSigns& signs) {
                                          signs.last_beat_ms = ms(10);
                                          signs.written_ms = ms(10) + 5000;
                                      })),
         Of::heartbeat, End::unknown, Agrees::yes, Worker::started, Begun::no, Before::no},
        {"neither file has a time",
         changed(with_end(heartbeat_alone()),
                 [](RunSigns& signs) {
                     signs.created_at = signs.updated_at = "";
                     signs.started_at = signs.beat.started_at = "";
                 }),
         Of::heartbeat, End::known, Agrees::yes, Worker::started, Begun::no, Before::no},
        {"the heartbeat file is another job's", of_another_job(heartbeat_alone()), Of::none,
         End::unknown, Agrees::no, Worker::not_started, Begun::no, Before::no},
        {"the heartbeat file does not say whose it is",
         changed(heartbeat_alone(), [](RunSigns& signs) { signs.beat.job_file = ""; }),
         Of::heartbeat, End::unknown, Agrees::yes, Worker::started, Begun::no, Before::no},
        {"there is no job file, or none that can be read",
         says(Status::none, changed(with_end(heartbeat_alone()),
                                    [](RunSigns& signs) {
                                        signs.created_at = signs.updated_at = "";
                                        signs.started_at = "";
                                    })),
         Of::heartbeat, End::known, Agrees::yes, Worker::started, Begun::no, Before::no},
    });
}

TEST_CASE("run choice: there is no heartbeat file") {
    check({
        {"whether the worker was started cannot be told: presumed", record_alone(), Of::record,
         End::unknown, Agrees::no, Worker::started, Begun::no, Before::no},
        {"the end is recorded", says(Status::failed, recorded_end(record_alone())), Of::record,
         End::unknown, Agrees::no, Worker::started, Begun::no, Before::yes},
        {"made active again after its end", recorded_end(record_alone()), Of::none, End::unknown,
         Agrees::no, Worker::not_started, Begun::no, Before::yes},
        {"likewise, but a shim holds the lock and has not written yet",
         held(recorded_end(record_alone())), Of::record, End::unknown, Agrees::no, Worker::started,
         Begun::no, Before::yes},
    });
}
