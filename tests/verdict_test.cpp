// Every row of the verdict table in docs/how-it-knows.md, and the cases between the rows.
#include "common/verdict.hpp"

#include <vector>

#include "tests/catch.hpp"

using namespace jobshim;
using std::chrono::milliseconds;

namespace {

struct VerdictRow {
    const char* name;
    Sighting seen;
    State state;
    bool ended;
    bool settle;
};

Sighting sighting(LivenessLock lock, Liveness shim, Liveness worker, Status status) {
    Sighting seen;
    seen.lock = lock;
    seen.shim = shim;
    seen.worker = worker;
    seen.status = status;
    seen.beat_age = milliseconds(1000);
    return seen;
}

Sighting with_beat(Sighting seen, milliseconds age) {
    seen.beat_age = age;
    return seen;
}

Sighting with_known_end(Sighting seen) {
    seen.end_is_known = true;
    return seen;
}

Sighting of_previous_run(Sighting seen) {
    seen.new_run_began = true;
    return seen;
}

Sighting after_reboot(Sighting seen) {
    seen.rebooted = true;
    return seen;
}

Sighting perhaps_an_old_copy(Sighting seen) {
    seen.may_be_old_copy = true;
    return seen;
}

// After a minute without a sign of work the job is stalled.
Sighting idle(Sighting seen, std::optional<std::int64_t> silent_ms, std::int64_t no_cpu_ms) {
    seen.stall_after = milliseconds(60'000);
    seen.activity = Activity{silent_ms, no_cpu_ms};
    return seen;
}

Sighting with_moving_beat(Sighting seen) {
    seen.beat_seen_to_change = true;
    return seen;
}

std::vector<VerdictRow> rows() {
    using L = LivenessLock;
    using W = Liveness;
    using S = Status;
    return {
        {"dead, final: that status", sighting(L::free, W::dead, W::dead, S::completed),
         State::completed, true, false},
        {"dead, failed", sighting(L::no_file, W::dead, W::dead, S::failed), State::failed, true,
         false},
        {"dead, cancelled", sighting(L::no_file, W::dead, W::dead, S::cancelled), State::cancelled,
         true, false},
        {"final, no shim recorded", sighting(L::no_file, W::none, W::none, S::completed),
         State::completed, true, false},
        {"final, shim elsewhere", sighting(L::free, W::unknowable, W::none, S::failed),
         State::failed, true, false},
        {"alive, final: that status, not ended", sighting(L::held, W::alive, W::dead, S::completed),
         State::completed, false, false},
        {"final, a lock held by a shim of another namespace",
         sighting(L::held, W::unknowable, W::none, S::failed), State::failed, false, false},
        {"final, but another shim holds the lock: the next run has begun",
         of_previous_run(sighting(L::held, W::dead, W::dead, S::failed)), State::running, false,
         false},
        {"alive, beat fresh", sighting(L::held, W::alive, W::alive, S::running), State::running,
         false, false},
        {"alive, no beat known", with_beat(sighting(L::held, W::alive, W::alive, S::running), {}),
         State::running, false, false},
        {"alive, a beat from the future is fresh",
         with_beat(sighting(L::held, W::alive, W::alive, S::running), milliseconds(-9'000'000)),
         State::running, false, false},
        {"alive, beat just not overdue (3 x 5 s + 2 s)",
         with_beat(sighting(L::held, W::alive, W::alive, S::running), milliseconds(17'000)),
         State::running, false, false},
        {"alive, beat overdue: stalled, never dead",
         with_beat(sighting(L::held, W::alive, W::alive, S::running), milliseconds(17'001)),
         State::stalled, false, false},
        {"alive, overdue since 1970",
         with_beat(sighting(L::held, W::alive, W::dead, S::running),
                   std::chrono::hours(24 * 365 * 50)),
         State::stalled, false, false},
        {"alive, its worker silent and without CPU: stalled",
         idle(sighting(L::held, W::alive, W::alive, S::running), 60'000, 70'000), State::stalled,
         false, false},
        {"alive, its worker silent but at work",
         idle(sighting(L::held, W::alive, W::alive, S::running), 70'000, 59'999), State::running,
         false, false},
        {"alive, its worker without CPU, but not silent",
         idle(sighting(L::held, W::alive, W::alive, S::running), 59'999, 70'000), State::running,
         false, false},
        {"alive, its worker without a log and without CPU: stalled",
         idle(sighting(L::held, W::alive, W::alive, S::running), {}, 60'000), State::stalled, false,
         false},
        {"dead, and its worker without a sign of work before: lost all the same",
         idle(sighting(L::free, W::dead, W::dead, S::running), 60'000, 60'000), State::lost, false,
         true},
        {"alive, queued is active, too", sighting(L::held, W::alive, W::none, S::queued),
         State::running, false, false},
        {"the lock counts, whatever the look-up says",
         sighting(L::held, W::dead, W::dead, S::running), State::running, false, false},
        {"no locks here: the identity agrees",
         sighting(L::unavailable, W::alive, W::alive, S::running), State::running, false, false},
        {"heartbeat file missing: the identity agrees",
         sighting(L::no_file, W::alive, W::alive, S::running), State::running, false, false},
        {"lock free, but the shim is there: one witness is not enough",
         sighting(L::free, W::alive, W::dead, S::running), State::running, false, false},
        {"dead, worker alive", sighting(L::free, W::dead, W::alive, S::running), State::orphaned,
         false, false},
        {"dead, dead, the end is in the heartbeat file",
         with_known_end(sighting(L::free, W::dead, W::dead, S::running)), State::lost, false, true},
        {"dead, the end is known: the worker's pid no longer means anything",
         with_known_end(sighting(L::free, W::dead, W::unknowable, S::running)), State::lost, false,
         true},
        {"dead, dead, active", sighting(L::free, W::dead, W::dead, S::running), State::lost, false,
         true},
        {"dead, never started", sighting(L::free, W::dead, W::none, S::running), State::lost, false,
         true},
        {"dead, dead, queued", sighting(L::free, W::dead, W::dead, S::queued), State::lost, false,
         true},
        {"dead, dead, no locks here", sighting(L::unavailable, W::dead, W::dead, S::running),
         State::lost, false, true},
        {"dead, dead, heartbeat file missing", sighting(L::no_file, W::dead, W::dead, S::running),
         State::lost, false, true},
        {"an earlier boot of this host, local file system",
         after_reboot(sighting(L::free, W::unknowable, W::none, S::running)), State::lost, false,
         true},
        {"dead, perhaps an old copy",
         perhaps_an_old_copy(sighting(L::no_file, W::dead, W::dead, S::running)), State::unknown,
         false, false},
        {"perhaps an old copy, worker alive",
         perhaps_an_old_copy(sighting(L::no_file, W::dead, W::alive, S::running)), State::orphaned,
         false, false},
        {"dead, worker cannot be looked up", sighting(L::free, W::dead, W::unknowable, S::running),
         State::unknown, false, false},
        {"shim of another pid namespace, lock free",
         sighting(L::free, W::unknowable, W::unknowable, S::running), State::unknown, false, false},
        {"cannot be told, not even with a known end: no second witness",
         with_known_end(sighting(L::free, W::unknowable, W::unknowable, S::running)),
         State::unknown, false, false},
        {"other host, beat seen to change",
         with_moving_beat(sighting(L::unavailable, W::unknowable, W::none, S::running)),
         State::running, false, false},
        {"other host, beat not seen to change",
         sighting(L::unavailable, W::unknowable, W::none, S::running), State::unknown, false,
         false},
        {"none recorded, queued", sighting(L::no_file, W::none, W::none, S::queued), State::queued,
         false, false},
        {"none recorded, running", sighting(L::no_file, W::none, W::none, S::running),
         State::unknown, false, false},
        {"none recorded, no status", sighting(L::no_file, W::none, W::none, S::none),
         State::unknown, false, false},
        {"a word of the host's is neither active nor final",
         sighting(L::free, W::dead, W::dead, S::other), State::unknown, false, false},
        {"a word of the host's, shim alive", sighting(L::held, W::alive, W::alive, S::other),
         State::running, false, false},
    };
}

}  // namespace

TEST_CASE("verdict: every row of the table") {
    for (const VerdictRow& row : rows()) {
        INFO(row.name);
        const Verdict verdict = judge(row.seen);
        CHECK(word(verdict.state) == word(row.state));
        CHECK(verdict.ended == row.ended);
        CHECK(verdict.settle == row.settle);
    }
}

TEST_CASE("verdict: only dead jobs are settled and only on the word of two witnesses") {
    for (const LivenessLock lock :
         {LivenessLock::held, LivenessLock::free, LivenessLock::no_file, LivenessLock::unavailable})
        for (const Liveness shim :
             {Liveness::alive, Liveness::dead, Liveness::unknowable, Liveness::none})
            for (const Liveness worker :
                 {Liveness::alive, Liveness::dead, Liveness::unknowable, Liveness::none})
                for (const Status status :
                     {Status::none, Status::queued, Status::running, Status::completed,
                      Status::failed, Status::cancelled, Status::other})
                    for (unsigned choice = 0; choice < 64; ++choice) {
                        Sighting seen = sighting(lock, shim, worker, status);
                        const auto known = (choice & 1U) != 0;
                        seen.end_is_known = known;
                        seen.rebooted = (choice & 2U) != 0;
                        seen.new_run_began = (choice & 4U) != 0;
                        seen.beat_seen_to_change = (choice & 8U) != 0;
                        static constexpr milliseconds ages[] = {
                            milliseconds(1000), milliseconds(1'000'000), milliseconds::min(),
                            milliseconds::max()};
                        seen.beat_age = ages[choice / 16];
                        const Verdict verdict = judge(seen);
                        // There are too many combinations to list one by one.
                        const bool sure =
                            lock != LivenessLock::held && is_active(status) &&
                            ((shim == Liveness::dead &&
                              (known || worker == Liveness::dead || worker == Liveness::none)) ||
                             (shim == Liveness::unknowable && seen.rebooted));
                        // The worker recorded its own status; how it ended still has to be added.
                        const bool to_be_added = lock != LivenessLock::held && is_final(status) &&
                                                 shim == Liveness::dead && known &&
                                                 !seen.new_run_began;
                        if (verdict.settle != (sure || to_be_added) ||
                            (verdict.ended && !is_final(status)) ||
                            (!is_final(status) && verdict.because.empty()))
                            FAIL(static_cast<int>(lock)
                                 << " " << static_cast<int>(shim) << " " << static_cast<int>(worker)
                                 << " " << word(status) << " " << choice << ": "
                                 << verdict.because);
                    }
}

TEST_CASE("verdict: the sentence names what was seen") {
    Sighting seen = sighting(LivenessLock::free, Liveness::dead, Liveness::alive, Status::running);
    seen.shim_pid = 41;
    seen.worker_pid = 42;
    const std::string because = judge(seen).because;
    CHECK(because.find("pid 41") != std::string::npos);
    CHECK(because.find("pid 42") != std::string::npos);
}
