#include "shim/jobctl/starting_shims.hpp"

#include <algorithm>
#include <exception>

#include "common/clocks.hpp"
#include "common/process_identity.hpp"
#include "common/shim_grammar.hpp"

namespace jobshim {

namespace {

// The path of the file that a shim with this command line uses, for that process; "" if unknown.
std::string file_of(const NamedJob& named, int pid) {
    if (!named.file.empty()) return named.file;
    // Without an id, the shim makes up a new one, and so a new file.
    if (named.id.empty()) return "";
    if (!named.companion.empty()) return named.companion + "/jobshim/" + named.id + ".json";
    const auto xdg = initial_environment_of(pid, "XDG_STATE_HOME");
    const auto home = initial_environment_of(pid, "HOME");
    return state_directory(xdg ? xdg->c_str() : nullptr, home ? home->c_str() : nullptr) +
           "/jobs/" + named.id + ".json";
}

// The same words mean another file in another directory, for another user, in another mount
// namespace.
bool means(const RunningCommand& shim, const JobFiles& files) {
    try {
        const std::string file = file_of(job_named_by(shim.arguments), shim.pid);
        if (file.empty()) return false;
        const JobFiles theirs = job_files_of(path_as_seen_by(shim.pid, file));
        return theirs.name == files.name && theirs.directory.is_same_as(files.directory);
    } catch (const std::exception&) {
        return false;  // it will not get far with that file, or it is not ours to look at
    }
}

std::chrono::milliseconds age_of(const RunningCommand& running) {
    ProcessStat stat;
    stat.start_time = running.start_time;
    return std::chrono::milliseconds(wall_now_ms() - wall_start_of(stat));
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
        if (option->name == "--companion") named.companion = value;
    }
    return named;
}

StartingShims find_starting_shims(const JobFiles& files, const ShimIdentity& last) {
    StartingShims shims;
    for (const RunningCommand& running : find_processes_named("jobshim")) {
        if (running.pid == last.pid && running.start_time == last.start_time) continue;
        // Anybody can start a program of that name, even one that runs as root.
        if (!counts_for(files.owner(), running.owner)) continue;
        const auto age = age_of(running);
        if (age >= start_time || !means(running, files)) continue;
        // Empty if it has ended since; a zombie has no command line, so it was not found above.
        ProcessHandle shim = open_process(running.pid, running.start_time);
        if (!shim || wait_for_end(shim, std::chrono::milliseconds(0))) continue;
        shims.handles.push_back(std::move(shim));
        shims.until = std::min(shims.until, monotonic_now() + (start_time - age));
    }
    return shims;
}

}  // namespace jobshim
