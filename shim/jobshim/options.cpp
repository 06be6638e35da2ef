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
#include "shim/jobshim/exit_statuses.hpp"
#include "shim/option_values.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;

constexpr const char* description =
    "Runs COMMAND as a child, waits for it and, however it ends, records what happened in the job\n"
    "file. Used as a prefix, like env, timeout or nice.";

constexpr const char* footer = R"(
DUR is a number, which may have a fraction, followed by ms, s (default), m, h or d; 0 means never.
SIG is a number, or a name with or without SIG. COMMAND finds the path of the job file in
JOBSHIM_JOB_FILE.

Exit status:
  0-255  the worker's own; if a signal killed it, jobshim dies by the same signal
         (as process 1 of a pid namespace: 128+n)
  124    the worker timed out (--timeout)
  125    jobshim failed: bad usage, already supervised, or the record cannot be kept
         (COMMAND has run only if the final write failed)
  126    COMMAND was found but cannot be executed
  127    COMMAND was not found
  137    the job was cancelled, and the worker survived SIGKILL
Whether one of these came from the worker or from jobshim is in the record; see jobctl(1).)";

class HelpFormatter : public CLI::Formatter {
public:
    std::string make_usage(const CLI::App*, std::string) const override {
        return "Usage: jobshim [OPTIONS] [--] COMMAND [ARG...]\n";
    }
};

// An option of the grammar, looked up by name. An unknown name does not compile.
class Known {
public:
    // By index, not by address: GCC 12 with UBSan has no constant addresses here.
    consteval Known(std::string_view name) : index_(0) {
        while (shim_grammar[index_].name != name) ++index_;
    }
    consteval Known(const char* name) : Known(std::string_view(name)) {}
    const ShimOption& option() const { return shim_grammar[index_]; }

private:
    std::size_t index_;
};

// "-j,--job", the form that CLI11 expects.
std::string names_of(Known known) {
    std::string names(known.option().short_name);
    if (!names.empty()) names += ',';
    return names += known.option().name;
}

std::string help_of(Known known) { return std::string(known.option().help); }

// True for an option to declare.
using Wanted = std::function<bool(const ShimOption&)>;

// Declares those of the options it is given that are wanted, and ignores the others.
class Declaration {
public:
    Declaration(CLI::App& app, const Wanted& wanted) : app_(app), wanted_(wanted) {}

    template <class OnValue>
    void option(Known known, const OnValue& on_value) {
        if (wanted_(known.option()))
            app_.add_option_function<std::string>(names_of(known), on_value, help_of(known))
                ->type_name(std::string(known.option().value));
    }
    void flag(Known known, bool& value) {
        if (wanted_(known.option())) app_.add_flag(names_of(known), value, help_of(known));
    }
    // For a "file", or whatever `what` is. An empty name comes from a script's unset variable, and
    // does not ask for the default.
    void path(Known known, const char* what, std::string& value) {
        option(known, [&value, known, what](const std::string& text) {
            if (text.empty())
                throw CLI::ValidationError(names_of(known) + ": the " + what + " name is empty");
            value = text;
        });
    }
    template <class Value>
    void duration(Known known, Value& value) {
        option(known, [&value](const std::string& text) { value = duration_value(text); });
    }
    // An option that takes one of a few words.
    template <class Value>
    void choice(Known known, Value& value,
                std::initializer_list<std::pair<const char*, Value>> words) {
        if (!wanted_(known.option())) return;
        option(known, [&value, known, words = std::vector<std::pair<const char*, Value>>(words)](
                          const std::string& word) {
            for (const auto& [each, meaning] : words)
                if (word == each) {
                    value = meaning;
                    return;
                }
            throw CLI::ValidationError(std::string(known.option().name) + ": invalid value '" +
                                       word + "' (must be " + std::string(known.option().value) +
                                       ")");
        });
    }

private:
    CLI::App& app_;
    const Wanted& wanted_;
};

void declare(CLI::App& app, ShimOptions& options, const Wanted& wanted) {
    app.description(description);
    app.formatter(std::make_shared<HelpFormatter>());
    app.footer(footer);
    app.set_help_flag(names_of("--help"), help_of("--help"));
    app.set_version_flag(names_of("--version"), std::string("jobshim ") + JOBSHIM_VERSION,
                         help_of("--version"));

    Declaration declare(app, wanted);
    declare.path("--job", "file", options.job);
    declare.option("--id", [&options](const std::string& id) {
        if (!is_job_id(id))
            throw CLI::ValidationError("--id: invalid id '" + id +
                                       "' (must match [A-Za-z0-9][A-Za-z0-9._-]{0,127})");
        options.id = id;
    });
    declare.option("--title", [&options](const std::string& title) { options.title = title; });
    declare.option("--heartbeat-interval", [&options](const std::string& text) {
        options.heartbeat_interval = duration_value(text);
        if (options.heartbeat_interval < milliseconds(100) ||
            options.heartbeat_interval > std::chrono::hours(1))
            throw CLI::ValidationError("--heartbeat-interval: must be 100ms to 1h");
    });
    declare.path("--log", "file", options.log);
    declare.option("--tail", [&options](const std::string& text) {
        const auto bytes = parse_count(text);
        if (!bytes || *bytes > 65536)
            throw CLI::ValidationError("--tail: invalid number '" + text +
                                       "' (must be 0 to 65536)");
        options.tail_bytes = *bytes;
    });
    declare.duration("--timeout", options.timeout);
    declare.option("--signal", [&options](const std::string& text) {
        const auto signal = parse_signal(text);
        if (!signal) throw CLI::ValidationError("--signal: invalid signal '" + text + "'");
        options.signal = *signal;
    });
    declare.duration("--kill-after", options.kill_after);
    declare.duration("--stall-after", options.stall_after);
    declare.choice<bool>("--on-shim-death", options.kill_on_shim_death,
                         {{"kill", true}, {"keep", false}});
    declare.choice<bool>("--leftovers", options.kill_leftovers, {{"keep", false}, {"kill", true}});
    declare.choice<std::optional<Group>>("--group", options.group,
                                         {{"own", Group::own}, {"share", Group::share}});
    declare.flag("--expect-record", options.expect_record);
    declare.path("--companion", "directory", options.companion);
    declare.flag("--detach", options.detach);
    declare.flag("--best-effort", options.best_effort);
    declare.choice<SyncPolicy>("--sync", options.sync,
                               {{"always", SyncPolicy::always},
                                {"final", SyncPolicy::final},
                                {"never", SyncPolicy::never}});
}

// The words of argv that belong to jobshim: up to the first that is neither an option nor an
// option's value. CLI11 gets only these; it would take brackets and quotes in the command's words
// for syntax of its own. For `--title=` it would take the next word as the value, so the empty
// value becomes a word.
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

// Throws whatever CLI11 throws.
ShimOptions parse(CLI::App& app, const Wanted& wanted, int argc, char** argv) {
    ShimOptions options;
    declare(app, options, wanted);
    int command_at = argc;
    std::vector<std::string> words = own_words(argc, argv, command_at);
    std::reverse(words.begin(), words.end());  // the order CLI11 expects
    app.parse(std::move(words));
    if (command_at >= argc) throw CLI::ValidationError("missing COMMAND");
    if (!options.companion.empty()) {
        if (!options.job.empty())
            throw CLI::ValidationError("--job and --companion cannot be combined");
        if (options.group == Group::share)
            throw CLI::ValidationError(
                "--companion needs --group own: the plugin cancels a process group");
        // Without an id the worker may keep no job at all; CompanionGate::worker_reported() allows
        // for it.
        options.group = Group::own;
        options.expect_record = true;
    }
    options.command = argv + command_at;
    return options;
}

}  // namespace

CommandLine parse_command_line(int argc, char** argv) {
    // Declaring options is most of the cost of parsing. So at first declare only those that some
    // word of argv names, the command's words included. Whatever fails then is left to the second
    // attempt.
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
        // Try again with every option.
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
        return {std::nullopt, own_failure, "",
                format_message("jobshim", error.what()) + "Try 'jobshim --help'.\n"};
    }
}

}  // namespace jobshim
