#include "shim/jobctl/job_watcher.hpp"

#include <algorithm>

#include "common/clocks.hpp"
#include "common/process_identity.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr milliseconds tick{1000};
// The first interval where a process should be there but is not; doubled with each look up to
// `tick`.
constexpr milliseconds shortest_tick{1};

bool shim_lives_here(const Observation& seen) {
    return seen.run && seen.place == Place::here &&
           (seen.probe.lock == LivenessLock::held || seen.sighting.shim == Liveness::alive);
}

}  // namespace

JobWatcher::JobWatcher(JobFiles files, FileWatch& watch)
    : files_(std::move(files)),
      watch_(watch),
      is_local_(files_.directory.is_local()),
      retry_delay_(shortest_tick) {}

const Settled& JobWatcher::look(const Context& context, bool settle) {
    const Judgement judgement = [&](const Observation& seen) {
        return conclude(seen, context.observer.here.pid);
    };
    do {
        seen_ = look_at(files_, context, settle, judgement);
        if (seen_.now.verdict.state == State::unknown) beats_.compare(files_.path, seen_.now);
        process_ = open_process_to_watch();
    } while (needs_watch() && watch_files());
    plan_next_look();
    return seen_;
}

// A process that watched an orphan until it ended may know how it ended, which the dead shim cannot
// report. Asked once a look has found the worker dead: before that it may still be alive.
std::optional<Conclusion> JobWatcher::conclude(const Observation& seen, int own_pid) {
    const auto* worker = seen.run && seen.run->worker ? &*seen.run->worker : nullptr;
    const bool watched_it = worker != nullptr && process_ && process_.pid() == worker->pid &&
                            process_.start_time() == worker->start_time;
    if (seen.verdict.settle && watched_it && wait_for_end(process_, milliseconds(0)))
        if (const auto status = wait_status_of(process_))
            eyewitness_ = Eyewitness{*worker, *status, own_pid, {}};
    return eyewitness_ ? with_eyewitness(*eyewitness_)(seen) : conclude_if_dead(seen);
}

bool JobWatcher::needs_watch() const {
    return !is_over() && !(process_ && shim_lives_here(seen_.now));
}

bool JobWatcher::watch_files() {
    if (is_watched_) return false;
    is_watched_ = true;
    watch_id_ = watch_.watch_directory(files_.directory);
    return true;
}

ProcessHandle JobWatcher::open_process_to_watch() const {
    const Observation& now = seen_.now;
    if (shim_lives_here(now)) return open_process(now.run->shim.pid, now.run->shim.start_time);
    if (now.verdict.state == State::orphaned && now.run && now.run->worker)
        return open_process(now.run->worker->pid, now.run->worker->start_time);
    return {};
}

void JobWatcher::plan_next_look() {
    look_again_at_ = end_of_time;
    const bool expects_process =
        shim_lives_here(seen_.now) || seen_.now.verdict.state == State::orphaned;
    if (expects_process && !process_) {
        // It died since the look, or a new shim holds the lock and has not identified itself yet.
        look_again_at_ = monotonic_now() + retry_delay_;
        retry_delay_ = std::min(2 * retry_delay_, tick);
        return;
    }
    retry_delay_ = shortest_tick;
    const bool gives_signs = is_local_ && (watch_id_ || !needs_watch());
    if (!gives_signs || seen_.now.verdict.state == State::unknown)
        look_again_at_ = monotonic_now() + tick;
}

void JobWatcher::add_to(std::vector<pollfd>& descriptors) const {
    if (process_) descriptors.push_back({process_.get(), POLLIN, 0});
}

bool JobWatcher::concerns_us(const FileWatch::Change& change) const {
    return watch_id_ && change.watch == *watch_id_ &&
           (change.name.empty() || change.name == files_.name || change.name == files_.heartbeat);
}

bool JobWatcher::is_due(const FileWatch::News& news, nanoseconds now) const {
    return news.some_were_lost || now >= look_again_at_ ||
           std::any_of(news.changes.begin(), news.changes.end(),
                       [&](const FileWatch::Change& change) { return concerns_us(change); }) ||
           (process_ && wait_for_end(process_, milliseconds(0)));
}

}  // namespace jobshim
