// jobshim --companion: holds a codex-companion worker at a start gate, and brings the plugin's own
// files in step with its end (docs/codex.md).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "common/companion/look.hpp"
#include "common/companion/mirror.hpp"
#include "common/job_files.hpp"

namespace jobshim {

class CompanionGate {
public:
    // `id`: the plugin's job; "" to find it by its worker's pid.
    CompanionGate(CompanionDirectory state, std::string id);

    const CompanionDirectory& state() const { return state_; }
    const std::string& job() const { return id_; }

    // Waits up to 10 s for the plugin to write both of its files, because it starts the worker
    // before it writes them; but not for a job file that never comes, if the index lists the job.
    // `called_off` is polled, and ends the wait when it returns true.
    struct GateResult {
        std::string refusal = {};   // why the worker must not be started; "" if it may
        std::string evidence = {};  // what was odd, though the worker may start
        bool called_off = false;
    };
    GateResult wait_at_gate(const std::function<bool()>& called_off);

    // Looks for the job whose record names the worker, or another process of its group, in which a
    // shell may have started it. True once it is known.
    bool find_job_of(const WorkerIdentity& worker);

    // True if the plugin's record is final, or the job is not known.
    bool worker_reported() const;

    // True if the worker ended, or may have, by a signal that the plugin sends: a person may have
    // sent it as well.
    static bool may_have_ended_worker(const Ending& ending);
    // Brings the plugin's files in step, once the end is in our own record. `was_killed`: perhaps
    // by the plugin, which may then still have its own account to write.
    void keep_in_step(const Conclusion& last, const JobFiles& own, bool was_killed,
                      const std::function<void(const std::string&)>& complain);

private:
    CompanionDirectory state_;
    std::string id_;
    bool was_given_;
    std::int64_t began_ms_;
};

}  // namespace jobshim
