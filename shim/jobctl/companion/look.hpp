// One look at a job in a state directory: what the plugin says about it, what our own record adds,
// what its process shows, and what has to be put right.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "common/companion/look.hpp"
#include "common/companion/mirror.hpp"
#include "common/unique_fd.hpp"
#include "shim/jobctl/commands.hpp"
#include "shim/jobctl/companion/jobs.hpp"
#include "shim/jobctl/look.hpp"
#include "shim/jobctl/record_budget.hpp"

namespace jobshim {

struct CompanionReport {
    Surveyed job;
    bool is_gone = false;   // from everywhere
    std::string log;        // "" if there is none
    ProcessHandle process;  // the shim's, else the worker's, if it is alive
};

struct CompanionLook {
    CompanionReport report;
    std::string text;  // all that the plugin says about it, to compare with a second look
    std::optional<CompanionMirror::Job> to_do;
    bool takes_two_looks = false;
    bool wrote_own = false;
};

class CompanionLooker {
public:
    // With `settle`, settles our own records of jobs that are certainly dead.
    CompanionLooker(const Context& context, bool settle) : context_(context), settle_(settle) {}

    // Never throws: a job that cannot be looked at is unknown.
    CompanionLook look(const CompanionJob& job);

private:
    void look_into(CompanionLook& seen, const CompanionDirectory& state, const std::string& id);
    const IndexSight& index_of(const CompanionDirectory& state);
    struct OwnRecord {
        JobFiles files;
        Settled settled;
    };
    // Nothing if we have no record.
    std::optional<OwnRecord> look_at_own(const CompanionDirectory& state, const std::string& id);
    void judge_by_own(CompanionLook& seen, const Settled& own, const JobDocument& shown,
                      bool out_of_step) const;

    const Context& context_;
    bool settle_;
    std::map<std::string, std::map<std::string, std::string>> records_;  // by directory's path
    std::map<std::string, IndexSight> indexes_;                          // likewise
    RecordBudget budget_;
};

}  // namespace jobshim
