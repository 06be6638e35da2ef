#include "shim/jobshim/companion_gate.hpp"

#include <sys/wait.h>

#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "common/clocks.hpp"
#include "common/companion/last_word.hpp"
#include "common/companion/look.hpp"
#include "common/companion/unwatched.hpp"
#include "common/job_files.hpp"
#include "common/job_names.hpp"
#include "common/process_identity.hpp"
#include "common/units.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds gate_patience{10'000};
constexpr milliseconds gate_tick{20};
// Kin of codex-companion that keep no job file while a job runs list it before they start its
// worker. The others write the job file first.
constexpr milliseconds entry_alone_patience{500};
// The plugin kills a worker first and writes its record afterwards. A cancel of its own that is
// seen to be under way is given time to write first; for all others this must do: Claude Code,
// which stops a task by SIGTERM, kills what is left a second later. Whoever is slower overwrites
// our word.
constexpr milliseconds after_an_end{150};
constexpr milliseconds cancel_patience{2000};
constexpr milliseconds check_for_at_most{30'000};
// The plugin reads the same clock as we do, but stamps a moment earlier or later.
constexpr std::int64_t clock_tolerance_ms = 2000;

std::vector<std::string> ids_in(const Directory& directory) {
    std::vector<std::string> ids;
    try {
        directory.for_each_name([&](std::string_view name) {
            std::string id = without_json(name);
            if (id != name && is_job_id(id)) ids.push_back(std::move(id));
        });
    } catch (const std::system_error&) {
        // What cannot be read now may be readable at the next look.
    }
    return ids;
}

// Never throws: what cannot be read now may be readable next time.
CompanionView look(const CompanionDirectory& state, const std::string& id) {
    try {
        return look_at_companion(state, id, milliseconds(0));
    } catch (const std::exception&) {
        CompanionView nothing;
        nothing.file_exists = true;  // to be on the safe side: it is not gone
        return nothing;
    }
}

IndexSight look_at_index_if_readable(const CompanionDirectory& state) {
    try {
        return look_at_index(state, milliseconds(0));
    } catch (const std::exception&) {
        return {};
    }
}

// Why the worker must not start: the plugin has already ended the job. "" if it has not.
std::string refusal_by(const CompanionView& view, bool was_there) {
    if (const JobDocument* const last = final_word_in(view))
        return "the plugin's record was already " + std::string(word(last->status()));
    if (was_there && !view.file_exists) return "the plugin removed its record";
    return "";
}

// If there is no record, the worker starts and reports that itself.
CompanionGate::GateResult result_after_timeout(const CompanionView& view) {
    const std::string seconds = "after 10 s ";
    if (view.file_exists && !view.job)
        return {.refusal = seconds + "the plugin's record was not a JSON object"};
    return {.evidence = "started anyway: " + seconds +
                        (view.job ? "the plugin's index did not list the job"
                                  : "the plugin had no record of the job")};
}

// True if the process is the worker, or in the process group that the worker leads.
bool is_of(const WorkerIdentity& worker, int pid) {
    if (pid == worker.pid) return true;
    const auto stat = worker.group == Group::own ? read_process_stat(pid) : std::nullopt;
    return stat && stat->group == worker.pid &&
           (!worker.session || stat->session == *worker.session);
}

}  // namespace

CompanionGate::CompanionGate(CompanionDirectory state, std::string id)
    : state_(std::move(state)),
      id_(std::move(id)),
      was_given_(!id_.empty()),
      began_ms_(wall_now_ms()) {}

CompanionGate::GateResult CompanionGate::wait_at_gate(const std::function<bool()>& called_off) {
    if (!was_given_) return {};
    const auto deadline = monotonic_now() + gate_patience;
    bool was_there = false;
    auto entry_alone_since = monotonic_now();
    for (;;) {
        const CompanionView view = look(state_, id_);
        if (std::string refusal = refusal_by(view, was_there); !refusal.empty())
            return {.refusal = std::move(refusal)};
        if (view.job && view.entry) return {};
        const auto now = monotonic_now();
        if (!view.entry || view.file_exists) entry_alone_since = now;
        if (now - entry_alone_since >= entry_alone_patience) return {};
        if (called_off()) return {.called_off = true};
        if (now >= deadline) return result_after_timeout(view);
        was_there = was_there || view.file_exists;
        pause_for(gate_tick);
    }
}

bool CompanionGate::find_job_of(const WorkerIdentity& worker) {
    if (!id_.empty()) return true;
    const auto is_its_job = [&](const std::optional<JobDocument>& record) {
        const auto pid = record ? worker_pid_in(*record) : std::nullopt;
        return pid && is_of(worker, *pid) && begin_of(*record) + clock_tolerance_ms >= began_ms_;
    };
    // An old record may name a pid that the worker has been given since.
    const auto is_recent = [&](const std::optional<FileStamp>& stamp) {
        return stamp && stamp->modified_ns / 1'000'000 >= began_ms_;
    };
    if (const auto jobs = state_.jobs())
        for (const std::string& id : ids_in(*jobs)) {
            if (!is_recent(jobs->stamp_if_known(CompanionDirectory::job_name(id)))) continue;
            if (!is_its_job(look(state_, id).job)) continue;
            id_ = id;
            return true;
        }
    // Some kin of codex-companion have no job file while the job runs.
    if (!is_recent(state_.top().stamp_if_known(CompanionDirectory::index))) return false;
    const IndexSight sight = look_at_index_if_readable(state_);
    if (!sight.index) return false;
    for (const std::string& id : sight.index->ids()) {
        const auto entry = sight.index->find(id);
        if (!is_its_job(entry)) continue;
        id_ = id;
        return true;
    }
    return false;
}

bool CompanionGate::worker_reported() const {
    // Some foreground commands keep no job at all.
    if (id_.empty()) return true;
    return final_word_in(look(state_, id_)) != nullptr;
}

bool CompanionGate::may_have_ended_worker(const Ending& ending) {
    if (ending.sigterm_count > 0 || ending.survivor) return true;
    if (!WIFSIGNALED(ending.wait_status)) return false;
    const int signal = WTERMSIG(ending.wait_status);
    return signal == SIGTERM || signal == SIGINT || signal == SIGKILL;
}

void CompanionGate::keep_in_step(const Conclusion& last, const JobFiles& own, bool was_killed,
                                 const std::function<void(const std::string&)>& complain) {
    if (id_.empty()) return;
    const auto began = monotonic_now();
    const auto is_before = [&](milliseconds limit) { return monotonic_now() - began < limit; };
    while (is_before(after_an_end) || (was_killed && is_before(cancel_patience) &&
                                       final_word_in(look(state_, id_)) == nullptr &&
                                       find_process(cancels_jobs, state_.parties().owner)))
        pause_for(gate_tick);
    std::vector<CompanionMirror> mirrors;
    mirrors.emplace_back(state_, CompanionMirror::Job{id_, last, began_ms_, false, own});
    // Nobody waits for a background job, so keep watching its files even if they were right. The
    // plugin may still have its say on one that was killed.
    jobshim::keep_in_step(
        mirrors, was_given_ || was_killed ? KeepChecking::always : KeepChecking::after_a_write,
        check_for_at_most, complain);
}

}  // namespace jobshim
