#include "shim/jobctl/options.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <iterator>
#include <sstream>
#include <string_view>

#include "common/say.hpp"
#include "common/units.hpp"
#include "shim/jobctl/event_cursor.hpp"
#include "shim/jobctl/outcome.hpp"
#include "shim/option_values.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;

const std::vector<State> all_states = {State::queued,    State::running, State::stalled,
                                       State::orphaned,  State::lost,    State::unknown,
                                       State::completed, State::failed,  State::cancelled};

// An empty name comes from a script's unset variable, and does not mean the working directory.
const CLI::Validator is_not_empty(
    [](const std::string& name) {
        return name.empty() ? std::string("the directory name is empty") : std::string();
    },
    "");

State state_or_fault(const std::string& text) {
    for (const State state : all_states)
        if (word(state) == text) return state;
    throw CLI::ValidationError("invalid verdict '" + text +
                               "' (must be queued, running, stalled, orphaned, lost, unknown, "
                               "completed, failed or cancelled)");
}

struct ExitStatus {
    int status;
    const char* meaning;
};

// The end of a help text.
std::string exit_statuses(std::initializer_list<ExitStatus> statuses,
                          const std::string& note = "") {
    std::string text = "Exit status:\n";
    for (const ExitStatus& each : statuses) {
        const std::string number = std::to_string(each.status);
        text += "  " + number + std::string(7 - number.size(), ' ') + each.meaning + "\n";
    }
    text += note;
    return text.substr(0, text.find_last_not_of('\n') + 1);
}

constexpr ExitStatus completed{0, "completed"};
constexpr ExitStatus failed{1, "failed or lost"};
constexpr ExitStatus bad_usage{2, "bad usage"};
constexpr ExitStatus ambiguous{2, "bad usage, or JOB is ambiguous"};
constexpr ExitStatus active{3, "active: queued, running, stalled or orphaned"};
constexpr ExitStatus no_such_job{4, "no such job"};
constexpr ExitStatus cancelled{5, "cancelled"};
constexpr ExitStatus unknown{6, "unknown"};
constexpr ExitStatus own_failure{125, "jobctl failed"};

std::string exit_statuses_of(Command command) {
    switch (command) {
        case Command::status:
            return exit_statuses({completed, failed, ambiguous, active, no_such_job, cancelled,
                                  unknown, own_failure},
                                 "With several JOBs, the first of 125, 4, 6, 1, 5, 3, 0 that "
                                 "applies.");
        case Command::wait:
            return exit_statuses(
                {completed,
                 failed,
                 ambiguous,
                 no_such_job,
                 cancelled,
                 {124, "timed out"},
                 own_failure},
                "With several JOBs, the first of 125, 4, 124, 1, 5, 0 that applies; with --any, "
                "that of the job\nthat ended. With --mirror, the worker's own, or 128+n if signal "
                "n killed it.");
        case Command::result:
            return exit_statuses({completed, failed, ambiguous, active, no_such_job, cancelled,
                                  unknown, own_failure});
        case Command::list:
            return exit_statuses({{0, "the jobs were listed"}, bad_usage, own_failure});
        case Command::events:
            return exit_statuses({{0, "all JOBs have ended, or the output was closed"},
                                  ambiguous,
                                  no_such_job,
                                  own_failure},
                                 "Without JOB, it reports all jobs in the directories, until it is "
                                 "killed or its output is closed.");
        case Command::logs:
            return exit_statuses({{0, "the log was printed"},
                                  {1, "this run keeps no log"},
                                  ambiguous,
                                  no_such_job,
                                  own_failure});
        case Command::cancel:
            return exit_statuses({{0, "the job ended as cancelled"},
                                  {1, "it ended otherwise"},
                                  ambiguous,
                                  no_such_job,
                                  {6, "it stays unknown"},
                                  {124, "timed out: it has not ended yet"},
                                  {125, "it cannot be cancelled, or jobctl failed"}},
                                 "With several JOBs, the first of 125, 4, 124, 6, 1, 0 that "
                                 "applies.");
        case Command::settle:
            return exit_statuses({{0, "the job was settled"},
                                  ambiguous,
                                  no_such_job,
                                  {125, "it cannot be settled, or jobctl failed"}});
        case Command::reap:
            return exit_statuses({{0, "every dead job was settled"},
                                  bad_usage,
                                  {125, "a job cannot be settled or examined, or jobctl failed"}});
        case Command::prune:
            return exit_statuses({{0, "every such job was removed"},
                                  bad_usage,
                                  {125, "a job cannot be removed, or jobctl failed"}});
        case Command::doctor:
            return exit_statuses({{0, "every job here can be judged"},
                                  {1, "a job here may stay unknown"},
                                  ambiguous,
                                  no_such_job,
                                  own_failure});
        case Command::hook:
            return exit_statuses({{0, "always, so that nothing of the agent's is held up"}});
        case Command::completion:
            return exit_statuses({{0, "the script was printed"}, bad_usage, own_failure});
    }
    return "";
}

void add_dir(CLI::App* sub, CtlOptions& options) {
    // One directory per option: by default, CLI11 would swallow the JOBs after it.
    sub->add_option("--dir", options.directories,
                    "Directory of job files; may be repeated ($XDG_STATE_HOME/jobshim/jobs, else "
                    "~/.local/state/jobshim/jobs)")
        ->type_name("DIR")
        ->check(is_not_empty)
        ->allow_extra_args(false);
}

// For the commands that can show jobs of codex-companion.
void add_companion(CLI::App* sub, CtlOptions& options) {
    CLI::Option* dir = sub->get_option("--dir");
    sub->add_option(
           "--companion", options.companions,
           "Jobs of codex-companion instead, in this state directory or workspace; may be repeated")
        ->type_name("DIR")
        ->check(is_not_empty)
        ->allow_extra_args(false)
        ->excludes(dir);
    sub->add_flag("--all-states", options.all_states,
                  "Jobs of codex-companion instead, in all your state directories below "
                  "$CLAUDE_PLUGIN_DATA/state and codex-companion in the temporary directory")
        ->excludes(dir);
}

void add_json(CLI::App* sub, CtlOptions& options) {
    sub->add_flag("--json", options.json, "Print JSON");
}

void add_no_reap(CLI::App* sub, CtlOptions& options) {
    sub->add_flag_callback(
        "--no-reap", [&options] { options.settle = false; }, "Read-only: do not settle dead jobs");
}

// For the commands that show jobs, and settle the dead ones among them.
void add_reading(CLI::App* sub, CtlOptions& options) {
    add_json(sub, options);
    add_no_reap(sub, options);
    add_companion(sub, options);
}

// Commands that end a job or settle it take whole ids only.
void add_jobs(CLI::App* sub, CtlOptions& options, bool by_prefix = true) {
    sub->add_option("JOB", options.jobs,
                    std::string("Path (contains a / or ends in .json), ") +
                        (by_prefix ? "id, or a unique prefix of an id" : "or whole id"))
        ->type_name("")
        ->required();
}

void add_job(CLI::App* sub, CtlOptions& options, bool by_prefix = true) {
    add_jobs(sub, options, by_prefix);
    sub->get_option("JOB")->expected(1);
}

void declare_status(CLI::App* sub, CtlOptions& options) {
    add_jobs(sub, options);
    add_reading(sub, options);
}

void declare_result(CLI::App* sub, CtlOptions& options) {
    add_job(sub, options);
    add_reading(sub, options);
}

// An option whose value is a duration.
void add_duration(CLI::App* sub, const char* name, const char* description,
                  const std::function<void(milliseconds)>& on_value) {
    sub->add_option_function<std::string>(
           name, [on_value](const std::string& text) { on_value(duration_value(text)); },
           description)
        ->type_name("DUR");
}

void declare_wait(CLI::App* sub, CtlOptions& options) {
    add_jobs(sub, options);
    sub->add_flag("--any", options.any, "Return when the first of them has ended");
    sub->add_flag("--mirror", options.mirror, "Exit as the worker did (one job only)");
    add_duration(sub, "--timeout", "Give up after DUR, with status 124 (0: never)",
                 [&options](milliseconds timeout) {
                     if (timeout.count() > 0) options.timeout = timeout;
                 });
    add_duration(sub, "--appear", "Wait up to DUR for the job file to appear",
                 [&options](milliseconds patience) { options.appear = patience; });
    add_reading(sub, options);
}

void declare_list(CLI::App* sub, CtlOptions& options) {
    sub->add_option_function<std::vector<std::string>>(
           "--status",
           [&options](const std::vector<std::string>& words) {
               for (const std::string& text : words) options.states.push_back(state_or_fault(text));
           },
           "Only jobs with this verdict; may be repeated")
        ->type_name("STATUS")
        ->allow_extra_args(false);
    sub->add_flag("--watch", options.watch,
                  "Keep running, and print the table again when something changes");
    sub->add_flag("--why", options.why,
                  "Below each job that did not simply complete, print the reason");
    add_reading(sub, options);
    sub->get_option("--watch")->excludes("--companion")->excludes("--all-states");
}

void declare_events(CLI::App* sub, CtlOptions& options) {
    add_jobs(sub, options);
    sub->get_option("JOB")->required(false);
    sub->add_option_function<std::string>(
           "--since",
           [&options](const std::string& cursor) {
               if (!parse_cursor(cursor))
                   throw CLI::ValidationError("invalid cursor '" + cursor + "'");
               options.since = cursor;
           },
           "Continue after the line with this cursor")
        ->type_name("CURSOR");
    add_no_reap(sub, options);
}

void declare_logs(CLI::App* sub, CtlOptions& options) {
    add_job(sub, options);
    sub->add_flag("-f,--follow", options.follow, "Keep printing until the job has ended");
    sub->add_option_function<std::string>(
           "-n,--lines",
           [&options](const std::string& text) {
               options.lines = parse_count(text);
               if (!options.lines) throw CLI::ValidationError("invalid number '" + text + "'");
           },
           "Begin with the last N lines")
        ->type_name("N");
}

void declare_cancel(CLI::App* sub, CtlOptions& options) {
    add_jobs(sub, options, false);
    sub->add_option("--reason", options.reason, "The reason, stored in the record")
        ->type_name("TEXT");
    sub->add_option_function<std::string>(
           "--signal",
           [&options](const std::string& text) {
               options.signal = parse_signal(text);
               if (!options.signal) throw CLI::ValidationError("invalid signal '" + text + "'");
           },
           "First signal to send (TERM)")
        ->type_name("SIG");
    add_duration(sub, "--kill-after",
                 "Grace period before KILL; 0: never send it (the shim's own; 10s for an orphan)",
                 [&options](milliseconds grace) { options.kill_after = grace; });
    add_duration(
        sub, "--timeout",
        "Give up waiting after DUR, with status 124; the request stays (60s, plus the grace "
        "period; 0: never)",
        [&options](milliseconds timeout) { options.timeout = timeout; });
    add_json(sub, options);
}

void declare_settle(CLI::App* sub, CtlOptions& options) {
    add_job(sub, options, false);
    sub->add_option_function<std::string>(
           "--as",
           [&options](const std::string& text) {
               options.settle_as = status_from(text);
               if (text != "failed" && text != "cancelled")
                   throw CLI::ValidationError("invalid status '" + text +
                                              "' (must be failed or cancelled)");
           },
           "Status to settle the job with")
        ->type_name("failed|cancelled")
        ->required();
    sub->add_option("--because", options.reason, "How you know; stored in the record")
        ->type_name("TEXT")
        ->required();
    add_json(sub, options);
}

void declare_prune(CLI::App* sub, CtlOptions& options) {
    add_duration(sub, "--older-than", "Jobs that ended more than DUR ago (0: all that have ended)",
                 [&options](milliseconds age) { options.older_than = age; });
    sub->add_option_function<std::string>(
           "--keep",
           [&options](const std::string& text) {
               const auto keep = parse_count(text);
               if (!keep) throw CLI::ValidationError("invalid number '" + text + "'");
               options.keep = *keep;
           },
           "All jobs that have ended but the last N")
        ->type_name("N");
    sub->add_flag("--dry-run", options.dry_run, "Only list them and their files, change nothing");
    sub->add_flag("--logs", options.logs,
                  "Also remove logs elsewhere, if nothing but the removed job wrote to them");
    add_json(sub, options);
}

void declare_doctor(CLI::App* sub, CtlOptions& options) {
    add_jobs(sub, options);
    sub->get_option("JOB")->required(false)->expected(0, 1);
    add_json(sub, options);
}

void declare_reap(CLI::App* sub, CtlOptions& options) {
    sub->add_flag("--dry-run", options.dry_run, "Only list them, change nothing");
    add_duration(sub, "--presume-dead",
                 "Also settle jobs that are unknown and have shown no heartbeat for DUR",
                 [&options](milliseconds silence) { options.presume_dead = silence; });
    add_json(sub, options);
    add_companion(sub, options);
    sub->get_option("--presume-dead")->excludes("--companion")->excludes("--all-states");
}

void declare_hook(CLI::App* sub, CtlOptions& options) {
    sub->add_option_function<std::string>(
           "AGENT",
           [](const std::string& agent) {
               if (agent != "claude")
                   throw CLI::ValidationError("unknown agent '" + agent + "' (known: claude)");
           },
           "Whose hook it is: claude")
        ->type_name("")
        ->required();
    sub->add_option("EVENT", options.event,
                    "SessionStart, UserPromptExpansion, UserPromptSubmit, PreToolUse, Stop or "
                    "SessionEnd; any other is ignored")
        ->type_name("")
        ->required();
}

void declare_completion(CLI::App* sub, CtlOptions& options) {
    sub->add_option_function<std::string>(
           "SHELL",
           [&options](const std::string& shell) {
               if (shell != "bash" && shell != "zsh" && shell != "fish")
                   throw CLI::ValidationError("unknown shell '" + shell +
                                              "' (must be bash, zsh or fish)");
               options.shell = shell;
           },
           "Shell to print the script for")
        ->type_name("bash|zsh|fish")
        ->required();
}

struct CommandEntry {
    Command command;
    const char* name;
    const char* description;
    void (*declare)(CLI::App* sub, CtlOptions& options);
};

constexpr CommandEntry commands[] = {
    {Command::status, "status", "Print one line per job: the verdict and the reason",
     declare_status},
    {Command::wait, "wait", "Wait until all jobs have ended", declare_wait},
    {Command::result, "result", "Show the final record", declare_result},
    {Command::list, "list", "List jobs, newest first", declare_list},
    {Command::events, "events", "Print job events, one JSON object per line", declare_events},
    {Command::logs, "logs", "Show what this run wrote to its log", declare_logs},
    {Command::cancel, "cancel", "Cancel jobs, and wait for their records", declare_cancel},
    {Command::settle, "settle", "Record what you know about a job that stays unknown",
     declare_settle},
    {Command::reap, "reap", "Settle every dead job in the directories", declare_reap},
    {Command::prune, "prune", "Remove jobs that ended long ago, with their logs", declare_prune},
    {Command::doctor, "doctor", "Check what jobctl can determine on this host", declare_doctor},
    {Command::hook, "hook", "Answer a hook of a coding agent (JSON on standard input)",
     declare_hook},
    {Command::completion, "completion", "Print a shell completion script for jobshim and jobctl",
     declare_completion},
};

bool has_directories(Command command) {
    return command != Command::hook && command != Command::completion;
}

// `called`: the first word. If it is a command, the options of the others are left out: to declare
// them would double what a status costs.
void set_up(CLI::App& app, CtlOptions& options, std::string_view called) {
    app.set_help_flag("-h,--help", "Print this help and exit");
    app.set_version_flag("--version", std::string("jobctl ") + JOBSHIM_VERSION,
                         "Print the version and exit");
    app.require_subcommand(1);
    app.get_formatter()->label("SUBCOMMAND", "COMMAND");
    app.get_formatter()->label("SUBCOMMANDS", "Commands");
    app.get_formatter()->label("Subcommands", "Commands");
    app.footer(exit_statuses({completed,
                              failed,
                              ambiguous,
                              active,
                              no_such_job,
                              cancelled,
                              unknown,
                              {124, "wait timed out"},
                              own_failure},
                             "'jobctl COMMAND --help' lists the statuses of COMMAND; see "
                             "jobctl(1)."));
    app.failure_message([](const CLI::App*, const CLI::Error& error) {
        return format_message("jobctl", error.what()) + "Try 'jobctl --help'.\n";
    });
    const auto is_called = [&](const CommandEntry& command) { return called == command.name; };
    const bool declare_all = std::none_of(std::begin(commands), std::end(commands), is_called);
    for (const CommandEntry& command : commands) {
        CLI::App* sub = app.add_subcommand(command.name, command.description);
        if (!declare_all && !is_called(command)) continue;
        sub->callback([&options, which = command.command] { options.command = which; });
        sub->footer(exit_statuses_of(command.command));
        if (has_directories(command.command)) add_dir(sub, options);
        command.declare(sub, options);
    }
}

// Put before an operand that CLI11 would take for syntax of its own: an option, a list, or the end
// of a subcommand's arguments.
constexpr char shield = '\x02';

bool is_syntax(const std::string& operand) {
    return operand.starts_with('-') || operand.starts_with('[') || operand == "++" ||
           operand.starts_with(shield);
}

// The words of the command line as CLI11 expects them, last one first. Throws CLI::ParseError for
// an option that the command does not have, because CLI11 might complain of the word after it
// instead.
std::vector<std::string> words_of(const CLI::App& app, int argc, const char* const* argv) {
    const auto called = app.get_subcommands(
        [&](const CLI::App* command) { return argc > 1 && command->get_name() == argv[1]; });
    std::vector<std::string> words;
    bool operands_only = false;
    for (int i = 1; i < argc; ++i) {
        const std::string word = argv[i];
        if (operands_only || word.size() < 2 || word[0] != '-') {
            words.push_back(is_syntax(word) ? shield + word : word);
            continue;
        }
        if (word == "--") {
            // CLI11 would pass what follows to the subcommand only while a JOB is missing.
            operands_only = true;
            continue;
        }
        const std::size_t equals = word.find('=');
        const std::string name = word.substr(0, equals);
        const CLI::Option* option =
            called.empty() ? nullptr : called.front()->get_option_no_throw(name);
        if (option == nullptr && !called.empty() && name.starts_with("--"))
            throw CLI::ParseError(std::string(argv[1]) + " has no option " + name,
                                  CLI::ExitCodes::ExtrasError);
        const bool takes_value = option != nullptr && option->get_items_expected_max() > 0;
        if (takes_value && name.starts_with("--") && equals == word.size() - 1) {
            // For `--dir=`, CLI11 would take the next word as the value.
            words.insert(words.end(), {name, ""});
        } else {
            words.push_back(word);
            if (takes_value && equals == std::string::npos && i + 1 < argc)
                words.emplace_back(argv[++i]);
        }
    }
    std::reverse(words.begin(), words.end());
    return words;
}

OptionSyntax syntax_of(const CLI::Option& option) {
    OptionSyntax syntax;
    for (const std::string& name : option.get_snames()) syntax.names.push_back("-" + name);
    for (const std::string& name : option.get_lnames()) syntax.names.push_back("--" + name);
    syntax.help = option.get_description();
    for (const CLI::Option* excluded : option.get_excludes())
        syntax.excluded.push_back(excluded->get_name());
    if (option.get_items_expected_max() == 0) return syntax;
    syntax.value = option.get_type_name();
    syntax.may_repeat = option.get_expected_max() > 1;
    return syntax;
}

// To remove all ended jobs is possible, but must be said.
void demand_a_limit(const CLI::App& prune) {
    if (prune.count("--older-than") == 0 && prune.count("--keep") == 0)
        throw CLI::ValidationError("prune needs --older-than or --keep");
}

}  // namespace

std::variant<CtlOptions, EarlyExit> parse_options(int argc, const char* const* argv) {
    CtlOptions options;
    CLI::App app("Shows, waits for and cancels jobs that run under jobshim.", "jobctl");
    set_up(app, options, argc > 1 ? argv[1] : "");
    try {
        app.parse(words_of(app, argc, argv));
        for (std::string& job : options.jobs)
            if (job.starts_with(shield)) job.erase(0, 1);
        if (options.mirror && options.jobs.size() != 1)
            throw CLI::ValidationError("--mirror takes only one JOB");
        if (options.command == Command::prune) demand_a_limit(*app.get_subcommand("prune"));
    } catch (const CLI::RequiredError& error) {
        // CLI11 only says that a subcommand is missing, whatever was written in its place.
        const std::string wrong = argc > 1 && app.get_subcommands().empty()
                                      ? "invalid command '" + std::string(argv[1]) + "'"
                                      : std::string(error.what());
        return EarlyExit{usage_exit_status, "",
                         format_message("jobctl", wrong) + "Try 'jobctl --help'.\n"};
    } catch (const CLI::ParseError& error) {
        std::ostringstream out;
        std::ostringstream err;
        // CLI11 has its own exit status for each kind of error.
        const bool wrong = app.exit(error, out, err) != 0;
        return EarlyExit{wrong ? usage_exit_status : 0, out.str(), err.str()};
    }
    return options;
}

std::vector<CommandSyntax> list_commands() {
    std::vector<CommandSyntax> all;
    for (const CommandEntry& command : commands) all.push_back({command.name, command.description});
    return all;
}

std::optional<CommandSyntax> syntax_of(const std::string& command) {
    const auto is_called = [&](const CommandEntry& each) { return command == each.name; };
    if (!command.empty() && std::none_of(std::begin(commands), std::end(commands), is_called))
        return std::nullopt;
    CtlOptions options;
    CLI::App app;
    set_up(app, options, command);
    const CLI::App* declared = command.empty() ? &app : app.get_subcommand(command);
    CommandSyntax syntax{command, declared->get_description()};
    for (const CLI::Option* option : declared->get_options()) {
        if (option->nonpositional()) {
            syntax.options.push_back(syntax_of(*option));
        } else if (syntax.operand.empty()) {
            const std::string values = option->get_type_name();
            syntax.operand = values.empty() ? option->get_name(true) : values;
            syntax.takes_many = option->get_expected_max() > 1;
        }
    }
    return syntax;
}

}  // namespace jobshim
