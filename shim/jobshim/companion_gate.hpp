// jobshim --companion: the start gate before a worker of codex-companion runs, and what is made of
// its end in the plugin's own files (COMPANION.md).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "common/companion/look.hpp"
#include "common/companion/mirror.hpp"

namespace jobshim {

class CompanionGate {
public:
    // `id`: the plugin's job; "" if it is to be found by its worker's pid.
    CompanionGate(const std::string& state_directory, std::string id);

    const CompanionPaths& places() const { return places_; }
    const std::string& job() const { return id_; }

    // Waits, for 10 s at most, until the plugin has written both of its files: it starts the worker
    // first. `called_off` is asked again and again, and ends the waiting.
    struct Passage {
        std::string refusal = {};   // why the worker must not be started; "" if it may
        std::string evidence = {};  // what is odd about it all the same
        bool called_off = false;
    };
    Passage wait_at_gate(const std::function<bool()>& called_off);

    // Looks for the job that names this process as its worker. True once it is known.
    bool find_job_of(int worker_pid);

    // The plugin's record is final.
    bool worker_reported() const;

    // What is to be done after the end was recorded. `was_killed`: by a signal that the plugin may
    // have sent, or anybody, so that it is yet to write what it has to say of it.
    void keep_in_step(const FinalWord& last, bool was_killed,
                      const std::function<void(const std::string&)>& complain);

private:
    CompanionPaths places_;
    std::string id_;
    bool was_given_;
    std::int64_t began_ms_;
};

}  // namespace jobshim
