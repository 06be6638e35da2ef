#include "shim/jobctl/starting_shims.hpp"

#include <algorithm>
#include <exception>

#include "common/process_identity.hpp"
#include "common/shim_grammar.hpp"

namespace jobshim {

namespace {

std::string file_of(const NamedJob& named, const RunningCommand& running,
                    const std::string& default_directory) {
    if (named.file.starts_with('/')) return named.file;
    if (!named.file.empty())
        return running.working_directory.empty() ? ""
                                                 : running.working_directory + "/" + named.file;
    // Without an id, the shim makes up a new one, and so a new file.
    if (named.id.empty() || default_directory.empty()) return "";
    return default_directory + "/" + named.id + ".json";
}

bool is_same_job(const std::string& path, const JobFiles& files) {
    try {
        return !path.empty() && real_path(path) == files.path;
    } catch (const std::exception&) {
        return false;  // the shim will not get far with that file
    }
}

}  // namespace

NamedJob job_named_by(const std::vector<std::string>& arguments) {
    NamedJob named;
    for (std::size_t i = 1; i < arguments.size(); ++i) {
        const std::string& argument = arguments[i];
        if (argument.size() < 2 || argument[0] != '-' || argument == "--") break;  // the worker's
        const bool is_long = argument[1] == '-';
        const std::size_t name_end = is_long ? std::min(argument.find('='), argument.size()) : 2;
        const ShimOption* option = find_shim_option(argument.substr(0, name_end));
        // An option that is unknown here (of another version) is taken for a flag.
        if (option == nullptr || !option->takes_value()) continue;
        std::string value;
        if (name_end < argument.size())
            value = argument.substr(name_end + (is_long ? 1 : 0));
        else if (i + 1 < arguments.size())
            value = arguments[++i];
        if (option->name == "--job") named.file = value;
        if (option->name == "--id") named.id = value;
    }
    return named;
}

std::vector<ProcessHandle> find_starting_shims(const JobFiles& files, const ShimIdentity& last,
                                               const Observer& observer) {
    // Where a shim without --job puts its file.
    const std::string default_directory =
        observer.state_directory.empty() ? "" : observer.state_directory + "/jobs";
    std::vector<ProcessHandle> shims;
    for (const RunningCommand& running : find_processes_named("jobshim")) {
        if (running.pid == last.pid && running.start_time == last.start_time) continue;
        // Anybody can start a program of that name, even one that runs as root.
        if (!counts_for(files.owner(), running.owner)) continue;
        const NamedJob named = job_named_by(running.arguments);
        if (!is_same_job(file_of(named, running, default_directory), files)) continue;
        // Empty if it has ended since; a zombie has no command line, so it was not found above.
        ProcessHandle shim = open_process(running.pid, running.start_time);
        if (shim && !wait_for_end(shim, std::chrono::milliseconds(0)))
            shims.push_back(std::move(shim));
    }
    return shims;
}

}  // namespace jobshim
