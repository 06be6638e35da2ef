#include "shim/jobshim/options.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <initializer_list>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/say.hpp"
#include "common/shim_grammar.hpp"
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

// An option of the grammar, by its name. Any other name does not compile.
struct Known {
    consteval Known(const char* name)
        : option(find_shim_option(name) != nullptr
                     ? *find_shim_option(name)
                     : throw std::invalid_argument("not in shim_grammar")) {}
    const ShimOption& option;
};

// "-j,--job", as CLI11 takes it.
std::string names_of(Known known) {
    std::string names(known.option.short_name);
    if (!names.empty()) names += ',';
    return names += known.option.name;
}

// True for an option that is to be declared.
using Wanted = std::function<bool(const ShimOption&)>;

// Declares the wanted ones of the options that it is told of; of the others it makes nothing.
class Declaration {
public:
    Declaration(CLI::App& app, const Wanted& wanted) : app_(app), wanted_(wanted) {}

    template <class OnValue>
    void option(Known known, const OnValue& on_value, const char* help) {
        if (wanted_(known.option))
            app_.add_option_function<std::string>(names_of(known), on_value, help)
                ->type_name(std::string(known.option.value));
    }
    void flag(Known known, bool& value, const char* help) {
        if (wanted_(known.option)) app_.add_flag(names_of(known), value, help);
    }
    // Of a "file", or whatever `what` is. An empty name is a script's unset variable, and no
    // request for what holds without the option.
    void path(Known known, const char* what, std::string& value, const char* help) {
        option(
            known,
            [&value, known, what](const std::string& text) {
                if (text.empty())
                    throw CLI::ValidationError(names_of(known) + ": the " + what +
                                               "'s name is empty");
                value = text;
            },
            help);
    }
    template <class Value>
    void duration(Known known, Value& value, const char* help) {
        option(
            known, [&value](const std::string& text) { value = duration_option(text); }, help);
    }
    // One of a few words.
    template <class Value>
    void choice(Known known, Value& value,
                std::initializer_list<std::pair<const char*, Value>> words, const char* help) {
        if (!wanted_(known.option)) return;
        option(
            known,
            [&value, known,
             words = std::vector<std::pair<const char*, Value>>(words)](const std::string& word) {
                for (const auto& [each, meaning] : words)
                    if (word == each) {
                        value = meaning;
                        return;
                    }
                throw CLI::ValidationError(std::string(known.option.name) + ": '" + word +
                                           "' is none of " + std::string(known.option.value));
            },
            help);
    }

private:
    CLI::App& app_;
    const Wanted& wanted_;
};

void declare(CLI::App& app, ShimOptions& options, const Wanted& wanted) {
    app.description(description);
    app.formatter(std::make_shared<HelpFormatter>());
    app.footer(footer);
    app.set_help_flag(names_of("--help"), "print this help and exit");
    app.set_version_flag(names_of("--version"), std::string("jobshim ") + JOBSHIM_VERSION,
                         "print the version and exit");

    Declaration declare(app, wanted);
    declare.path("--job", "file", options.job,
                 "the job file ($XDG_STATE_HOME/jobshim/jobs/ID.json, else below ~/.local/state)");
    declare.option(
        "--id",
        [&options](const std::string& id) {
            if (!is_job_id(id))
                throw CLI::ValidationError("--id: '" + id +
                                           "' is no id ([A-Za-z0-9][A-Za-z0-9._-]{0,127})");
            options.id = id;
        },
        "the job's id (the file's own; else its name; else made up)");
    declare.option(
        "--title", [&options](const std::string& title) { options.title = title; },
        "shown by jobctl (the command)");
    declare.option(
        "--heartbeat-interval",
        [&options](const std::string& text) {
            options.heartbeat_interval = duration_option(text);
            if (options.heartbeat_interval < milliseconds(100) ||
                options.heartbeat_interval > std::chrono::hours(1))
                throw CLI::ValidationError("--heartbeat-interval: 100ms to 1h");
        },
        "how often the heartbeat file is touched (5s; 100ms to 1h)");
    declare.path("--log", "file", options.log,
                 "append the worker's stdout and stderr there (inherit both)");
    declare.option(
        "--tail",
        [&options](const std::string& text) {
            const auto bytes = parse_count(text);
            if (!bytes || *bytes > 65536)
                throw CLI::ValidationError("--tail: '" + text + "' is not 0 to 65536");
            options.tail_bytes = *bytes;
        },
        "how much of the log's end goes into the record (2048; 0 to 65536)");
    declare.duration("--timeout", options.timeout, "end the worker after DUR (never)");
    declare.option(
        "--signal",
        [&options](const std::string& text) {
            const auto signal = parse_signal(text);
            if (!signal) throw CLI::ValidationError("--signal: '" + text + "' is no signal");
            options.signal = *signal;
        },
        "what the time-out sends first (TERM)");
    declare.duration("--kill-after", options.kill_after, "and KILL so much later (10s)");
    declare.choice<bool>("--on-shim-death", options.kill_on_shim_death,
                         {{"kill", true}, {"keep", false}},
                         "what becomes of the worker if the shim dies (kill)");
    declare.choice<bool>(
        "--leftovers", options.kill_leftovers, {{"keep", false}, {"kill", true}},
        "what becomes of members of the worker's own group that are still there at "
        "its end (keep)");
    declare.choice<std::optional<Group>>(
        "--group", options.group, {{"own", Group::own}, {"share", Group::share}},
        "the worker's process group (own without a controlling terminal, share with one)");
    declare.flag("--expect-record", options.expect_record,
                 "the worker writes a terminal status itself; exit 0 without one is a failure");
    declare.path("--companion", "directory", options.companion,
                 "keep a codex-companion state directory in step: the record goes into its jobshim "
                 "folder; implies --expect-record and --group own");
    declare.flag("--detach", options.detach,
                 "run in the background: prints the id once COMMAND was executed");
    declare.flag("--best-effort", options.best_effort,
                 "if the record cannot be kept, say so and run COMMAND all the same");
    declare.choice<SyncPolicy>("--sync", options.sync,
                               {{"always", SyncPolicy::always},
                                {"final", SyncPolicy::final},
                                {"never", SyncPolicy::never}},
                               "which writes of the record are flushed to the disk (final)");
}

// Those words of argv that are ours: up to the first that is neither an option nor an option's
// value. CLI11 is given no more than these; it would take brackets and quotes in the command's
// words for syntax of its own. And of `--title=` it would take the next word for the value, so the
// empty one becomes a word.
std::vector<std::string> own_words(int argc, char** argv, int& command_at) {
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
        const ShimOption* option = find_shim_option(name);
        const bool takes_value = option != nullptr && option->takes_value();
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
ShimOptions parse(CLI::App& app, const Wanted& wanted, int argc, char** argv) {
    ShimOptions options;
    declare(app, options, wanted);
    int command_at = argc;
    std::vector<std::string> words = own_words(argc, argv, command_at);
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
    const Wanted named = [&](const ShimOption& option) {
        return std::any_of(argv, argv + argc, [&](const char* word) {
            const std::string_view text = word;
            return text.starts_with(option.name) ||
                   (!option.short_name.empty() && text.starts_with(option.short_name));
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
                    app, [](const ShimOption&) { return true; }, argc, argv),
                0, "", ""};
    } catch (const CLI::CallForHelp&) {
        return {std::nullopt, 0, app.help(), ""};
    } catch (const CLI::CallForVersion& version) {
        return {std::nullopt, 0, std::string(version.what()) + "\n", ""};
    } catch (const CLI::ParseError& error) {
        return {std::nullopt, 125, "",
                as_said("jobshim", error.what()) + "Try 'jobshim --help'.\n"};
    }
}

}  // namespace jobshim
