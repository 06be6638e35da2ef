// One look at a job of a state directory: what the plugin says of it, what our own record adds,
// what its process tells, and what is to be put right.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "common/companion/mirror.hpp"
#include "common/unique_fd.hpp"
#include "shim/jobctl/commands.hpp"
#include "shim/jobctl/companion/jobs.hpp"
#include "shim/jobctl/look.hpp"

namespace jobshim {

struct CompanionReport {
    Surveyed job;
    bool is_gone = false;   // from everywhere
    std::string log;        // "" if there is none
    ProcessHandle process;  // the shim's, else the worker's, if it lives
};

struct CompanionLook {
    CompanionReport report;
    std::string text;  // of all that the plugin says of it: what a second look is compared with
    std::optional<CompanionMirror::Job> to_do;
    bool takes_two_looks = false;
    bool wrote_own = false;
};

class CompanionLooker {
public:
    // With `settle`, our own records of what is certainly dead are settled.
    CompanionLooker(const Context& context, bool settle) : context_(context), settle_(settle) {}

    // Never throws: what cannot be looked at is unknown.
    CompanionLook look(const CompanionJob& job);

private:
    void look_into(CompanionLook& seen, const CompanionPaths& places, const std::string& id);
    // Nothing if there is no record of ours.
    std::optional<Settled> look_at_own(const CompanionPaths& places, const std::string& id);
    void judge_by_own(CompanionLook& seen, const Settled& own, const JobDocument& shown,
                      bool out_of_step) const;

    const Context& context_;
    bool settle_;
    std::map<std::string, std::map<std::string, std::string>> records_;  // by the directory
};

}  // namespace jobshim
