#include "shim/jobshim/setup.hpp"

#include <unistd.h>

#include "common/clocks.hpp"
#include "common/posix_error.hpp"
#include "common/process_identity.hpp"
#include "shim/jobshim/companion_gate.hpp"
#include "shim/jobshim/descriptors.hpp"

namespace jobshim {

namespace {

std::string generated_id() {
    const auto base36 = [](std::uint64_t number, std::size_t width) {
        std::string text;
        for (; number != 0 || text.size() < width; number /= 36)
            text.insert(text.begin(), "0123456789abcdefghijklmnopqrstuvwxyz"[number % 36]);
        return text;
    };
    const auto now = static_cast<std::uint64_t>(wall_now_ms());
    // Unique, not secret: the file is created with O_EXCL, and a lock guards it.
    const auto noise = static_cast<std::uint64_t>(monotonic_now().count()) * 6364136223846793005U +
                       static_cast<std::uint64_t>(::getpid()) * 1442695040888963407U;
    return "job-" + base36(now, 1) + "-" + base36((noise >> 16U) % 2176782336U, 6);
}

std::unique_ptr<LogFile> open_requested_log(const ShimOptions& options, const JobFiles* files) {
    if (!options.log.empty()) {
        // Appending a log to the record or to the heartbeat file would destroy it; other files of
        // the job's own are removed in time.
        if (files != nullptr) {
            const std::string log = real_path(options.log);
            for (const std::string& name : {files->name, files->heartbeat, files->cancel,
                                            files->fresh, files->merged, files->reserve})
                if (log == files->path_of(name))
                    throw Refusal(options.log + ": is the job's own file and cannot be its log");
        }
        return std::make_unique<LogFile>(options.log);
    }
    if (!options.detach) return nullptr;
    if (files == nullptr) throw Refusal("--detach without a record needs --log");
    // The id may be a record's own, and stand for a log that is not this job's.
    const std::string name = options.id.empty() ? without_json(files->name) : options.id;
    return std::make_unique<LogFile>(files->directory, name + ".log");
}

}  // namespace

RunContext gather_context(const ShimOptions& options) {
    RunContext context;
    const ProcessStat own = own_process_stat();
    context.observer.here = identity_of_this_process(own);
    context.observer.state_directory = state_directory_if_any();
    context.working_directory = current_directory().value_or("");
    context.group = options.group.value_or(own.terminal == 0 ? Group::own : Group::share);
    return context;
}

CompanionDirectory open_companion(const std::string& path) {
    // Do not litter a mistyped directory. One that does not exist is created, as the plugin would.
    const auto there = Directory::open_if_there(path);
    if (there && !is_companion_directory(*there))
        throw Refusal(path + ": not a codex-companion state directory (no state.json, no jobs/)");
    if (!there) Directory::make(absolute_path(path));
    CompanionDirectory state(path);
    state.require_right_to(state.parties().owner, path);
    return state;
}

JobFiles choose_files(ShimOptions& options, const CompanionDirectory* companion) {
    if (!options.job.empty()) {
        // A shim is its starter's own, whosever the job file is.
        JobFiles files = job_files_of(options.job);
        if (files.parties.actor != 0 && files.owner() != files.parties.actor)
            throw Refusal(files.path + ": belongs to uid " + std::to_string(files.owner()));
        files.directory = files.directory.as(std::nullopt);
        return files;
    }
    const Directory jobs = companion == nullptr
                               ? make_default_directory(state_directory() + "/jobs")
                               : companion->make_own().as(std::nullopt);
    if (companion == nullptr) require_own(jobs);
    if (options.id.empty()) options.id = generated_id();
    return job_files_in(jobs, options.id + ".json");
}

JobLog open_log(const ShimOptions& options, const JobFiles* files, const std::string& id,
                const CompanionDirectory* companion) {
    if (auto log = open_requested_log(options, files)) return {std::move(log), false};
    // The plugin discards its workers' stderr, and with it what Node prints as it dies.
    if (companion == nullptr || files == nullptr || !leads_to_null_device(STDERR_FILENO)) return {};
    auto log = std::make_unique<LogFile>(companion->make_own().as(std::nullopt),
                                         CompanionDirectory::stderr_name(id));
    ::dup2(log->descriptor(), STDERR_FILENO);
    return {std::move(log), true};
}

}  // namespace jobshim
