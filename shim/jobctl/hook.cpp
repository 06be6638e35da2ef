// jobctl hook claude EVENT: Claude Code runs it at what its plugins can ask to be told of, with
// JSON on standard input. It settles the companions' jobs that have died, and puts the preload into
// a command that is about to start one (integration/claude-code).
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <exception>

#include "common/clocks.hpp"
#include "common/companion/preloaded_command.hpp"
#include "common/job_names.hpp"
#include "common/json_text.hpp"
#include "common/process_identity.hpp"
#include "common/record_json.hpp"
#include "shim/jobctl/commands.hpp"
#include "shim/jobctl/companion/directories.hpp"
#include "shim/jobctl/companion/survey.hpp"
#include "shim/jobctl/output.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;

constexpr std::size_t input_limit = std::size_t{4} << 20U;
// The agent has all of it ready; a person may have typed the command.
constexpr milliseconds input_patience{2000};

// Standard input up to its end; "" if that does not come, or is too far away. What is not needed is
// read as well: the agent would take a closed pipe for a failure.
std::string read_input() {
    std::string input;
    std::array<char, 65536> piece{};
    const auto deadline = monotonic_now() + input_patience;
    while (monotonic_now() < deadline && input.size() <= input_limit) {
        pollfd readable{STDIN_FILENO, POLLIN, 0};
        if (::poll(&readable, 1, 100) <= 0) continue;
        const ssize_t got = ::read(STDIN_FILENO, piece.data(), piece.size());
        if (got == 0) return input;
        if (got < 0 && errno != EINTR && errno != EAGAIN) return "";
        if (got > 0) input.append(piece.data(), static_cast<std::size_t>(got));
    }
    return "";
}

void settle_dead_jobs(const Context& context) {
    std::vector<CompanionJob> jobs;
    for (CompanionDirectory& directory : own_companion_directories()) {
        try {
            Context one = context;
            one.companions.push_back(std::move(directory));
            for (CompanionJob& job : unsettled_companion_jobs(one)) jobs.push_back(std::move(job));
        } catch (const std::exception&) {
            continue;  // the others may be readable
        }
    }
    // The agent waits for us. What the plugin undoes is put right at the next event.
    (void)look_at_companion_jobs(jobs, context, true, KeepChecking::never);
}

// The preload of the plugin that this program is a part of (bin/jobctl, lib/preload.mjs); "" if
// there is none.
std::string preload_path() {
    std::string path = path_of_own_program();
    for (int levels = 0; levels < 2; ++levels) path.resize(path.empty() ? 0 : path.rfind('/'));
    if (path.empty()) return "";
    const std::string library = path_in(path, "lib");
    constexpr const char* name = "preload.mjs";
    const auto directory = Directory::open_if_there(library);
    return directory && directory->stamp_if_known(name) ? path_in(library, name) : "";
}

void answer_tool_use(const std::string& text) {
    if (scan_json_object(text).fault != JsonFault::none) return;
    const Json input = parse_leniently(text);
    if (input.at("tool_name") != "Bash") return;
    const std::string preload = preload_path();
    if (preload.empty()) return;
    Json tool_input = input.at("tool_input");
    const auto command =
        preloaded_command(tool_input.at("command").get<std::string>(), file_url(preload));
    if (!command) return;
    tool_input["command"] = *command;
    // Without a decision: whether the command may run is decided as it would be without us.
    const Json output = {{"hookEventName", "PreToolUse"}, {"updatedInput", std::move(tool_input)}};
    print(dump(Json{{"hookSpecificOutput", output}}) + "\n");
}

}  // namespace

Outcome answer_hook(const CtlOptions& options, const Context& context) {
    const std::string input = read_input();
    if (options.event == "PreToolUse") answer_tool_use(input);
    // UserPromptExpansion: only that one comes before a slash command's own commands.
    for (const char* event :
         {"SessionStart", "UserPromptExpansion", "UserPromptSubmit", "Stop", "SessionEnd"})
        if (options.event == event) settle_dead_jobs(context);
    return Outcome::completed;
}

}  // namespace jobshim
