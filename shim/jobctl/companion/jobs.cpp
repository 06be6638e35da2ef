#include "shim/jobctl/companion/jobs.hpp"

#include <algorithm>
#include <set>

#include "common/companion/index.hpp"
#include "common/companion/look.hpp"
#include "common/companion/unwatched.hpp"
#include "common/job_names.hpp"
#include "common/json_text.hpp"
#include "common/torn_file.hpp"
#include "common/units.hpp"
#include "shim/jobctl/record_budget.hpp"
#include "shim/jobctl/selection.hpp"

namespace jobshim {

namespace {

// The pids of the workers that the plugin's active records name, and whose jobs those are.
std::map<int, std::string> plugins_workers(const CompanionDirectory& state) {
    std::map<int, std::string> workers;
    const auto jobs = state.jobs();
    if (!jobs) return workers;
    RecordBudget budget;
    for (const std::string& name : job_names_in(*jobs)) {
        const auto contents = jobs->read_file(name, budget.limit());
        if (!contents) continue;
        budget.spend(contents->text.size(), 4);
        const JobDocument document = JobDocument::parse(contents->text);
        const std::string id = without_json(name);
        if (document.fault() != JsonFault::none || !is_active(document.status()) || !is_job_id(id))
            continue;
        if (const auto pid = worker_pid_in(document)) workers.emplace(*pid, id);
    }
    return workers;
}

// Finds the plugin's jobs that our records belong to.
class Owners {
public:
    explicit Owners(const CompanionDirectory& state) : state_(state) {}

    // The job that the record names; else the one whose active record names the same worker, if the
    // shim died before it knew; else the one that is called as the record is.
    std::string job_of(const JobDocument& ours, const std::string& name) {
        // Only searched for: there may be many records, and it may be far into them.
        const auto run = ours.value("jobshim").value_or("");
        const auto member = run.starts_with('{') ? find_json_member(run, "companionJob") : "";
        const std::string job = member.starts_with('"') ? decode_json_string(member) : "";
        if (is_job_id(job)) return job;
        std::string found = is_active(ours.status()) ? job_with_worker_of(ours) : "";
        return found.empty() ? without_json(name) : found;
    }

private:
    std::string job_with_worker_of(const JobDocument& ours) {
        const auto& run = ours.run();
        if (!run || !run->worker) return "";
        if (!workers_) workers_ = plugins_workers(state_);
        const auto found = workers_->find(run->worker->pid);
        return found == workers_->end() ? "" : found->second;
    }

    const CompanionDirectory& state_;
    std::optional<std::map<int, std::string>> workers_;
};

IndexSight index_of(const CompanionDirectory& state, const Context& context) {
    return look_at_index(state, context.observer.patience(torn_companion_patience));
}

}  // namespace

std::map<std::string, std::string> own_records(const CompanionDirectory& state,
                                               const Directory& own) {
    std::map<std::string, std::string> records;
    RecordBudget budget;
    Owners owners(state);
    for (const std::string& name : job_names_in(own)) {
        try {
            const auto contents = own.read_file(name, budget.limit());
            if (!contents) continue;
            budget.spend(contents->text.size(), 4);  // done again and again
            const JobDocument document = JobDocument::parse(contents->text);
            records.emplace(document.fault() == JsonFault::none ? owners.job_of(document, name)
                                                                : without_json(name),
                            name);
        } catch (const std::exception&) {
            records.emplace(without_json(name), name);
        }
    }
    return records;
}

CompanionJobs companion_jobs(const Context& context) {
    CompanionJobs found;
    for (const CompanionDirectory& state : context.companions) {
        std::set<std::string> ids;
        const IndexSight sight = index_of(state, context);
        if (sight.index)
            for (std::string& id : sight.index->ids()) ids.insert(std::move(id));
        else if (sight.stamp)
            found.broken_indexes.push_back(state.index_path());
        if (const auto jobs = state.jobs())
            for (const std::string& name : job_names_in(*jobs))
                if (const std::string id = without_json(name); is_job_id(id)) ids.insert(id);
        if (const auto own = state.own())
            for (const auto& [id, name] : own_records(state, *own))
                if (is_job_id(id)) ids.insert(id);
        for (const std::string& id : ids) found.jobs.push_back({state, id});
    }
    return found;
}

std::vector<CompanionJob> unsettled_companion_jobs(const Context& context) {
    std::vector<CompanionJob> found;
    for (const CompanionDirectory& state : context.companions) {
        std::set<std::string> ids;
        const IndexSight sight = index_of(state, context);
        if (sight.index)
            for (std::string& id : sight.index->ids())
                if (!is_final(sight.index->find(id)->status())) ids.insert(std::move(id));
        // The plugin writes the index after the job's file.
        if (const auto jobs = state.jobs())
            for (const std::string& name : job_names_in(*jobs)) {
                const std::string id = without_json(name);
                if (!is_job_id(id)) continue;
                const auto stamp = jobs->stamp_if_known(name);
                if (!sight.index || !sight.index->find(id) ||
                    (stamp && stamp->modified_ns > sight.stamp->modified_ns))
                    ids.insert(id);
            }
        const auto own = state.own();
        if (own && !heartbeat_names_in(*own).empty())
            for (const auto& [id, name] : own_records(state, *own))
                if (is_job_id(id) && own->stamp_if_known(heartbeat_name_of(name))) ids.insert(id);
        for (const std::string& id : ids) found.push_back({state, id});
    }
    return found;
}

std::optional<CompanionJob> select_companion_job(const std::string& job, const Context& context,
                                                 Match match) {
    std::vector<CompanionJob> exact;
    std::vector<CompanionJob> longer;
    for (const CompanionJob& candidate : companion_jobs(context).jobs)
        if (!job.empty() && candidate.id.starts_with(job))
            (candidate.id == job ? exact : longer).push_back(candidate);
    const auto& found = exact.empty() && match == Match::or_beginning ? longer : exact;
    if (found.size() > 1) {
        constexpr std::size_t most = 20;
        std::string message = "'" + printable(job) + "' is ambiguous; it could be any of";
        for (std::size_t i = 0; i < std::min(found.size(), most); ++i)
            message += "\n  " + printable(found[i].id + " in " + found[i].directory.path());
        if (found.size() > most)
            message += "\n  and " + std::to_string(found.size() - most) + " more";
        throw AmbiguousJob(message);
    }
    return found.empty() ? std::nullopt : std::optional(found.front());
}

}  // namespace jobshim
