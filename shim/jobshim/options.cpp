#include "shim/jobshim/options.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/units.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;

constexpr const char* description =
    "Runs COMMAND as a child, waits on it, and on any end (a signal or the OOM killer included)\n"
    "writes what happened into the job file. A prefix command, like env, timeout or nice.";

constexpr const char* footer = R"(
DUR is a number, fractions allowed, with ms, s (default), m, h or d; 0 means never.
SIG is a name with or without SIG, or a number. COMMAND finds the job file's path in
JOBSHIM_JOB_FILE.

Exit status:
  the worker's own: the same code, or death by the same signal
         (128+n where that cannot be: process 1 of a pid namespace)
  124    --timeout ended it
  125    jobshim itself failed: bad usage, already supervised, record cannot be kept
  126    COMMAND was found but cannot be executed
  127    COMMAND was not found
The record tells these from a worker that exits so itself. Read it with jobctl(1).)";

class HelpFormatter : public CLI::Formatter {
public:
    std::string make_usage(const CLI::App*, std::string) const override {
        return "Usage: jobshim [OPTIONS] [--] COMMAND [ARG...]\n";
    }
};

milliseconds duration_option(const std::string& text) {
    const auto duration = parse_duration(text);
    if (!duration)
        throw CLI::ValidationError("'" + text + "' is not a duration (such as 500ms, 10s, 5m)");
    return *duration;
}

// Declares an option that names a file. An empty name is a script's unset variable, and no request
// for what holds without the option.
void add_file(CLI::App& app, const std::string& name, std::string& value, const std::string& help) {
    app.add_option_function<std::string>(
           name,
           [&value, name](const std::string& text) {
               if (text.empty()) throw CLI::ValidationError(name + ": the file's name is empty");
               value = text;
           },
           help)
        ->type_name("FILE");
}

// Declares an option whose value is one of a few words.
template <class Value>
CLI::Option* add_choice(CLI::App& app, const std::string& name, Value& value,
                        const std::map<std::string, Value>& words, const std::string& help,
                        const std::string& type) {
    return app
        .add_option_function<std::string>(
            name,
            [&value, words, name, type](const std::string& word) {
                const auto found = words.find(word);
                if (found == words.end())
                    throw CLI::ValidationError(name + ": '" + word + "' is none of " + type);
                value = found->second;
            },
            help)
        ->type_name(type);
}

// True for an option that is to be declared.
using Wanted = std::function<bool(std::string_view)>;

void declare(CLI::App& app, Options& options, const Wanted& wanted) {
    app.description(description);
    app.formatter(std::make_shared<HelpFormatter>());
    app.footer(footer);
    app.set_help_flag("-h,--help", "print this help and exit");
    app.set_version_flag("--version", std::string("jobshim ") + JOBSHIM_VERSION,
                         "print the version and exit");

    if (wanted("--job"))
        add_file(app, "-j,--job", options.job,
                 "the job file ($XDG_STATE_HOME/jobshim/jobs/ID.json, else below ~/.local/state)");
    if (wanted("--id"))
        app.add_option_function<std::string>(
               "--id",
               [&options](const std::string& id) {
                   if (!is_job_id(id))
                       throw CLI::ValidationError("--id: '" + id +
                                                  "' is no id ([A-Za-z0-9][A-Za-z0-9._-]{0,127})");
                   options.id = id;
               },
               "the job's id (the file's own; else its name; else made up)")
            ->type_name("ID");
    if (wanted("--title"))
        app.add_option("--title", options.title, "shown by jobctl (the command)")
            ->type_name("TEXT");
    if (wanted("--heartbeat-interval"))
        app.add_option_function<std::string>(
               "--heartbeat-interval",
               [&options](const std::string& text) {
                   options.heartbeat_interval = duration_option(text);
                   if (options.heartbeat_interval < milliseconds(100) ||
                       options.heartbeat_interval > std::chrono::hours(1))
                       throw CLI::ValidationError("--heartbeat-interval: 100ms to 1h");
               },
               "how often the heartbeat file is touched (5s; 100ms to 1h)")
            ->type_name("DUR");
    if (wanted("--log"))
        add_file(app, "--log", options.log,
                 "append the worker's stdout and stderr there (inherit both)");
    if (wanted("--tail"))
        app.add_option_function<std::string>(
               "--tail",
               [&options](const std::string& text) {
                   const auto bytes = parse_count(text);
                   if (!bytes || *bytes > 65536)
                       throw CLI::ValidationError("--tail: '" + text + "' is not 0 to 65536");
                   options.tail_bytes = *bytes;
               },
               "how much of the log's end goes into the record (2048; 0 to 65536)")
            ->type_name("BYTES");
    if (wanted("--timeout"))
        app.add_option_function<std::string>(
               "--timeout",
               [&options](const std::string& text) { options.timeout = duration_option(text); },
               "end the worker after DUR (never)")
            ->type_name("DUR");
    if (wanted("--signal"))
        app.add_option_function<std::string>(
               "--signal",
               [&options](const std::string& text) {
                   const auto signal = parse_signal(text);
                   if (!signal) throw CLI::ValidationError("--signal: '" + text + "' is no signal");
                   options.signal = *signal;
               },
               "what the time-out sends first (TERM)")
            ->type_name("SIG");
    if (wanted("--kill-after"))
        app.add_option_function<std::string>(
               "--kill-after",
               [&options](const std::string& text) { options.kill_after = duration_option(text); },
               "and KILL so much later (10s)")
            ->type_name("DUR");
    if (wanted("--on-shim-death"))
        add_choice<bool>(app, "--on-shim-death", options.kill_on_shim_death,
                         {{"kill", true}, {"keep", false}},
                         "what becomes of the worker if the shim dies (kill)", "kill|keep");
    if (wanted("--leftovers"))
        add_choice<bool>(
            app, "--leftovers", options.kill_leftovers, {{"keep", false}, {"kill", true}},
            "what becomes of members of the worker's own group that are still there at "
            "its end (keep)",
            "keep|kill");
    if (wanted("--group"))
        add_choice<std::optional<Group>>(
            app, "--group", options.group, {{"own", Group::own}, {"share", Group::share}},
            "the worker's process group (own without a controlling terminal, share with one)",
            "own|share");
    if (wanted("--expect-record"))
        app.add_flag("--expect-record", options.expect_record,
                     "the worker writes a terminal status itself; exit 0 without one is a failure");
    if (wanted("--companion"))
        app.add_option_function<std::string>(
               "--companion",
               [&options](const std::string& directory) {
                   if (directory.empty())
                       throw CLI::ValidationError("--companion: the directory's name is empty");
                   options.companion = directory;
               },
               "keep a codex-companion state directory in step: the record goes into its jobshim "
               "folder; implies --expect-record and --group own")
            ->type_name("STATE_DIR");
    if (wanted("--detach"))
        app.add_flag("--detach", options.detach,
                     "run in the background: prints the id once COMMAND was executed");
    if (wanted("--best-effort"))
        app.add_flag("--best-effort", options.best_effort,
                     "if the record cannot be kept, say so and run COMMAND all the same");
    if (wanted("--sync"))
        add_choice<SyncPolicy>(app, "--sync", options.sync,
                               {{"always", SyncPolicy::always},
                                {"final", SyncPolicy::final},
                                {"never", SyncPolicy::never}},
                               "which writes of the record are flushed to the disk (final)",
                               "always|final|never");
}

// Those words of argv that are ours: up to the first that is neither an option nor an option's
// value. CLI11 is given no more than these; it would take brackets and quotes in the command's
// words for syntax of its own. And of `--title=` it would take the next word for the value, so the
// empty one becomes a word.
std::vector<std::string> own_words(const CLI::App& app, int argc, char** argv, int& command_at) {
    std::vector<std::string> words;
    for (command_at = 1; command_at < argc; ++command_at) {
        const std::string word = argv[command_at];
        if (word == "--") {
            ++command_at;
            break;
        }
        if (word.size() < 2 || word[0] != '-') break;
        const bool is_long = word[1] == '-';
        const std::size_t equals = word.find('=');
        const std::string name(is_long ? word.substr(0, equals) : word.substr(0, 2));
        const CLI::Option* option = app.get_option_no_throw(name);
        const bool takes_value = option != nullptr && option->get_items_expected_max() > 0;
        const bool value_is_inside = is_long ? equals != std::string_view::npos : word.size() > 2;
        if (takes_value && is_long && equals == word.size() - 1) {
            words.insert(words.end(), {name, ""});
            continue;
        }
        words.push_back(word);
        if (takes_value && !value_is_inside && command_at + 1 < argc)
            words.emplace_back(argv[++command_at]);
    }
    return words;
}

// Throws what CLI11 throws.
Options parse(CLI::App& app, const Wanted& wanted, int argc, char** argv) {
    Options options;
    declare(app, options, wanted);
    int command_at = argc;
    std::vector<std::string> words = own_words(app, argc, argv, command_at);
    std::reverse(words.begin(), words.end());  // as CLI11 likes them
    app.parse(std::move(words));
    if (command_at >= argc) throw CLI::ValidationError("COMMAND is missing");
    if (!options.companion.empty()) {
        if (!options.job.empty())
            throw CLI::ValidationError("--job and --companion exclude each other");
        if (options.group == Group::share)
            throw CLI::ValidationError(
                "--companion needs --group own: the plugin cancels a process group");
        // With an id the plugin's job is known; without one, what the worker says may be none.
        options.group = Group::own;
        options.expect_record = true;
    }
    options.command = argv + command_at;
    return options;
}

}  // namespace

CommandLine parse_command_line(int argc, char** argv) {
    // To declare an option is most of what parsing costs. So at first there are only those that
    // some word names, the command's included. Whatever is amiss then is for the second attempt.
    const Wanted named = [&](std::string_view option) {
        return std::any_of(argv, argv + argc, [&](const char* word) {
            const std::string_view text = word;
            return text.starts_with(option) || (option == "--job" && text.starts_with("-j"));
        });
    };
    try {
        CLI::App app;
        return {parse(app, named, argc, argv), 0, "", ""};
    } catch (const CLI::Error&) {
        // As if it had not been tried.
    }
    CLI::App app;
    try {
        return {parse(
                    app, [](std::string_view) { return true; }, argc, argv),
                0, "", ""};
    } catch (const CLI::CallForHelp&) {
        return {std::nullopt, 0, app.help(), ""};
    } catch (const CLI::CallForVersion& version) {
        return {std::nullopt, 0, std::string(version.what()) + "\n", ""};
    } catch (const CLI::ParseError& error) {
        return {std::nullopt, 125, "",
                "jobshim: " + printable(error.what()) + "\nTry 'jobshim --help'.\n"};
    }
}

}  // namespace jobshim
