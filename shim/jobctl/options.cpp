#include "shim/jobctl/options.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <sstream>

#include "common/say.hpp"
#include "common/units.hpp"
#include "shim/jobctl/outcome.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;

milliseconds duration_or_fault(const std::string& text) {
    const auto duration = parse_duration(text);
    if (!duration)
        throw CLI::ValidationError("'" + text + "' is no duration (250ms, 5s, 3m, 2h, 1d)");
    return *duration;
}

const std::vector<State> all_states = {State::queued,    State::running, State::stalled,
                                       State::orphaned,  State::lost,    State::unknown,
                                       State::completed, State::failed,  State::cancelled};

State state_or_fault(const std::string& text) {
    for (const State state : all_states)
        if (word(state) == text) return state;
    throw CLI::ValidationError(
        "'" + text +
        "' is no status (queued, running, stalled, orphaned, lost, unknown, completed, failed, "
        "cancelled)");
}

CLI::App* add_command(CLI::App& app, CtlOptions& options, Command command, const char* name,
                      const char* description) {
    CLI::App* sub = app.add_subcommand(name, description);
    sub->callback([&options, command] { options.command = command; });
    // One directory an option: by CLI11's custom it would swallow the JOBs after it.
    sub->add_option("--dir", options.directories,
                    "Directory of job files, may be repeated "
                    "($XDG_STATE_HOME/jobshim/jobs, else ~/.local/state/jobshim/jobs)")
        ->type_name("DIR")
        ->allow_extra_args(false);
    return sub;
}

// For the commands that know the jobs of codex-companion.
void add_companion(CLI::App* sub, CtlOptions& options) {
    CLI::Option* dir = sub->get_option("--dir");
    sub->add_option("--companion", options.companions,
                    "The jobs of codex-companion instead: a state directory of its, or a "
                    "workspace; may be repeated")
        ->type_name("DIR")
        ->allow_extra_args(false)
        ->excludes(dir);
    sub->add_flag("--all-states", options.all_states,
                  "The jobs of codex-companion instead: all your state directories below "
                  "$CLAUDE_PLUGIN_DATA/state and $TMPDIR/codex-companion")
        ->excludes(dir);
}

void add_json(CLI::App* sub, CtlOptions& options) {
    sub->add_flag("--json", options.json, "Print JSON");
}

void add_no_reap(CLI::App* sub, CtlOptions& options) {
    sub->add_flag_callback(
        "--no-reap", [&options] { options.settle = false; }, "Only look: settle no dead job");
}

void add_jobs(CLI::App* sub, CtlOptions& options) {
    sub->add_option("JOB", options.jobs, "Path (with a / or ending in .json), id, or prefix of one")
        ->type_name("")
        ->required();
}

void add_job(CLI::App* sub, CtlOptions& options) {
    add_jobs(sub, options);
    sub->get_option("JOB")->expected(1);
}

// An option whose value is a duration.
void add_duration(CLI::App* sub, const char* name, const char* description,
                  const std::function<void(milliseconds)>& on_value, bool required = false) {
    sub->add_option_function<std::string>(
           name, [on_value](const std::string& text) { on_value(duration_or_fault(text)); },
           description)
        ->type_name("DUR")
        ->required(required);
}

void add_wait(CLI::App& app, CtlOptions& options) {
    CLI::App* sub =
        add_command(app, options, Command::wait, "wait", "Return when the job(s) have ended");
    add_jobs(sub, options);
    sub->add_flag("--any", options.any, "Return when the first of them has ended");
    sub->add_flag("--mirror", options.mirror, "Exit as the worker did (one job only)");
    add_duration(sub, "--timeout", "Give up after DUR, with 124 (0: never)",
                 [&options](milliseconds timeout) {
                     if (timeout.count() > 0) options.timeout = timeout;
                 });
    add_duration(sub, "--appear", "Give a job file that is not there yet so long to come",
                 [&options](milliseconds patience) { options.appear = patience; });
    add_json(sub, options);
    add_no_reap(sub, options);
    add_companion(sub, options);
}

void add_list(CLI::App& app, CtlOptions& options) {
    CLI::App* sub =
        add_command(app, options, Command::list, "list", "A table of jobs, newest first");
    sub->add_option_function<std::vector<std::string>>(
           "--status",
           [&options](const std::vector<std::string>& words) {
               for (const std::string& text : words) options.states.push_back(state_or_fault(text));
           },
           "Only jobs of this status, may be repeated")
        ->type_name("STATUS")
        ->allow_extra_args(false);
    sub->add_flag("--watch", options.watch,
                  "Go on: print it again when something changes, until ^C");
    add_json(sub, options);
    add_no_reap(sub, options);
    add_companion(sub, options);
    sub->get_option("--watch")->excludes("--companion")->excludes("--all-states");
}

void add_logs(CLI::App& app, CtlOptions& options) {
    CLI::App* sub = add_command(app, options, Command::logs, "logs", "This run's log");
    add_job(sub, options);
    sub->add_flag("-f,--follow", options.follow, "Go on until the job has ended");
    sub->add_option_function<std::string>(
           "-n,--lines",
           [&options](const std::string& text) {
               options.lines = parse_count(text);
               if (!options.lines) throw CLI::ValidationError("'" + text + "' is no number");
           },
           "Begin with the last N lines")
        ->type_name("N");
}

void add_cancel(CLI::App& app, CtlOptions& options) {
    CLI::App* sub =
        add_command(app, options, Command::cancel, "cancel", "End a job, and wait for its record");
    add_job(sub, options);
    sub->add_option("--reason", options.reason, "Why, for the record")->type_name("TEXT");
    sub->add_option_function<std::string>(
           "--signal",
           [&options](const std::string& text) {
               options.signal = parse_signal(text);
               if (!options.signal) throw CLI::ValidationError("'" + text + "' is no signal");
           },
           "What to send first (TERM)")
        ->type_name("SIG");
    add_duration(sub, "--kill-after",
                 "The grace before KILL, 0: none is sent (as the shim was told, 10s)",
                 [&options](milliseconds grace) { options.kill_after = grace; });
    add_json(sub, options);
}

void add_settle(CLI::App& app, CtlOptions& options) {
    CLI::App* sub = add_command(app, options, Command::settle, "settle",
                                "A person's verdict on a job that stays unknown");
    add_job(sub, options);
    sub->add_option_function<std::string>(
           "--as",
           [&options](const std::string& text) {
               options.settle_as = status_from(text);
               if (text != "failed" && text != "cancelled")
                   throw CLI::ValidationError("'" + text + "' is neither failed nor cancelled");
           },
           "failed or cancelled")
        ->type_name("STATUS")
        ->required();
    sub->add_option("--because", options.reason, "How that is known, for the record")
        ->type_name("TEXT")
        ->required();
    add_json(sub, options);
}

void add_prune(CLI::App& app, CtlOptions& options) {
    CLI::App* sub = add_command(app, options, Command::prune, "prune",
                                "Remove ended jobs with their logs, heartbeat files and copies");
    add_duration(
        sub, "--older-than", "Those that ended longer ago than DUR",
        [&options](milliseconds age) { options.older_than = age; }, true);
    sub->add_flag("--dry-run", options.dry_run, "Only say which");
    add_json(sub, options);
}

void add_doctor(CLI::App& app, CtlOptions& options) {
    CLI::App* sub = add_command(app, options, Command::doctor, "doctor",
                                "What this host, and a job's directory, can prove and what not");
    add_jobs(sub, options);
    sub->get_option("JOB")->required(false)->expected(0, 1);
    add_json(sub, options);
}

void add_reap(CLI::App& app, CtlOptions& options) {
    CLI::App* sub = add_command(app, options, Command::reap, "reap",
                                "Settle every dead job of the directories");
    sub->add_flag("--dry-run", options.dry_run, "Only say which");
    add_duration(sub, "--presume-dead", "Also what is unknown and gave no beat for DUR",
                 [&options](milliseconds silence) { options.presume_dead = silence; });
    add_json(sub, options);
    add_companion(sub, options);
    sub->get_option("--presume-dead")->excludes("--companion")->excludes("--all-states");
}

void set_up(CLI::App& app, CtlOptions& options) {
    app.set_version_flag("--version", std::string("jobctl ") + JOBSHIM_VERSION);
    app.require_subcommand(1);
    app.footer(std::string(exit_status_table));  // the commands inherit it
    app.failure_message([](const CLI::App*, const CLI::Error& error) {
        return as_said("jobctl", error.what(), true) + "See jobctl --help.\n";
    });
    CLI::App* status =
        add_command(app, options, Command::status, "status", "One verdict a job, with the reason");
    add_jobs(status, options);
    add_json(status, options);
    add_no_reap(status, options);
    add_companion(status, options);
    add_wait(app, options);
    CLI::App* result = add_command(app, options, Command::result, "result", "The final record");
    add_job(result, options);
    add_json(result, options);
    add_no_reap(result, options);
    add_companion(result, options);
    add_list(app, options);
    add_logs(app, options);
    add_cancel(app, options);
    add_settle(app, options);
    add_reap(app, options);
    add_prune(app, options);
    add_doctor(app, options);
}

// Before an operand that CLI11 would take for syntax of its own: an option, a list, the end of a
// command's words.
constexpr char shield = '\x02';

bool is_syntax(const std::string& operand) {
    return operand.starts_with('-') || operand.starts_with('[') || operand == "++" ||
           operand.starts_with(shield);
}

// The words of the command line as CLI11 takes them, the last one first. Throws CLI::ParseError for
// an option that the command does not have: CLI11 might complain of what follows it instead.
std::vector<std::string> words_of(const CLI::App& app, int argc, const char* const* argv) {
    const auto commands = app.get_subcommands(
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
            // CLI11 would give what follows it to the command only while a JOB is missing.
            operands_only = true;
            continue;
        }
        const std::size_t equals = word.find('=');
        const std::string name = word.substr(0, equals);
        const CLI::Option* option =
            commands.empty() ? nullptr : commands.front()->get_option_no_throw(name);
        if (option == nullptr && !commands.empty() && name.starts_with("--"))
            throw CLI::ParseError(name + " is no option of " + argv[1],
                                  CLI::ExitCodes::ExtrasError);
        const bool takes_value = option != nullptr && option->get_items_expected_max() > 0;
        if (takes_value && name.starts_with("--") && equals == word.size() - 1) {
            // Of `--dir=` it would take the next word for the value.
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

}  // namespace

std::variant<CtlOptions, EarlyExit> parse_options(int argc, const char* const* argv) {
    CtlOptions options;
    CLI::App app("Tells the truth about jobs that run under jobshim.", "jobctl");
    set_up(app, options);
    try {
        app.parse(words_of(app, argc, argv));
        for (std::string& job : options.jobs)
            if (job.starts_with(shield)) job.erase(0, 1);
        if (options.mirror && options.jobs.size() != 1)
            throw CLI::ValidationError("--mirror takes one JOB only");
    } catch (const CLI::RequiredError& error) {
        // CLI11 only says that a subcommand is missing, whatever stands in its place.
        const std::string wrong = argc > 1 && app.get_subcommands().empty()
                                      ? "'" + std::string(argv[1]) + "' is no command"
                                      : std::string(error.what());
        return EarlyExit{usage_exit_status, "", as_said("jobctl", wrong) + "See jobctl --help.\n"};
    } catch (const CLI::ParseError& error) {
        std::ostringstream out;
        std::ostringstream err;
        // CLI11 has statuses of its own for each kind of error.
        const bool wrong = app.exit(error, out, err) != 0;
        return EarlyExit{wrong ? usage_exit_status : 0, out.str(), err.str()};
    }
    return options;
}

}  // namespace jobshim
