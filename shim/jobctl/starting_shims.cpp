#include "shim/jobctl/starting_shims.hpp"

#include <algorithm>
#include <array>
#include <exception>
#include <string_view>

#include "common/process_identity.hpp"

namespace jobshim {

namespace {

// Options of jobshim that take a value; one unknown here is taken for a flag.
constexpr std::array<std::string_view, 14> options_with_value = {
    "--job",       "--id",     "--title",      "--heartbeat-interval", "--log",       "--tail",
    "--timeout",   "--signal", "--kill-after", "--on-shim-death",      "--leftovers", "--group",
    "--companion", "--sync"};

bool takes_value(std::string_view option) {
    return std::find(options_with_value.begin(), options_with_value.end(), option) !=
           options_with_value.end();
}

std::string file_of(const NamedJob& named, const RunningCommand& running,
                    const std::string& default_directory) {
    if (named.file.starts_with('/')) return named.file;
    if (!named.file.empty())
        return running.working_directory.empty() ? ""
                                                 : running.working_directory + "/" + named.file;
    // Without an id it makes up a new one, and a new file.
    if (named.id.empty() || default_directory.empty()) return "";
    return default_directory + "/" + named.id + ".json";
}

bool is_same_job(const std::string& path, const JobFiles& files) {
    try {
        return !path.empty() && job_files_of(path).job == files.job;
    } catch (const std::exception&) {
        return false;  // it will not get far with that file
    }
}

}  // namespace

NamedJob job_named_by(const std::vector<std::string>& arguments) {
    NamedJob named;
    for (std::size_t i = 1; i < arguments.size(); ++i) {
        const std::string& argument = arguments[i];
        if (argument.size() < 2 || argument[0] != '-' || argument == "--") break;  // the worker's
        std::string option = argument;
        std::string value;
        const std::size_t equals = argument.find('=');
        if (argument.starts_with("--") && equals != std::string::npos) {
            option = argument.substr(0, equals);
            value = argument.substr(equals + 1);
        } else if (argument.starts_with("-j")) {
            option = "--job";
            value = argument.substr(2);
            if (value.empty() && i + 1 < arguments.size()) value = arguments[++i];
        } else if (takes_value(option) && i + 1 < arguments.size()) {
            value = arguments[++i];
        }
        if (option == "--job") named.file = value;
        if (option == "--id") named.id = value;
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
        const NamedJob named = job_named_by(running.arguments);
        if (!is_same_job(file_of(named, running, default_directory), files)) continue;
        // None if it has ended since; a zombie has no command line and was not found above.
        ProcessHandle shim = open_process(running.pid, running.start_time);
        if (shim && !wait_for_end(shim, std::chrono::milliseconds(0)))
            shims.push_back(std::move(shim));
    }
    return shims;
}

}  // namespace jobshim
