// jobctl __complete PROGRAM WORD...: what may come next on a command line of jobctl or jobshim.
//
// Prints a line for each candidate, "WORD\tMEANING", and a last one, which says what else the shell
// may offer: ":0" files, ":4" nothing, ":16" directories (as in Go's cobra), or ":command N": the
// command line of another program, whose name is or will be the Nth word after PROGRAM.
#include <algorithm>
#include <cstdlib>
#include <exception>
#include <optional>

#include "common/shim_grammar.hpp"
#include "common/units.hpp"
#include "shim/jobctl/commands.hpp"
#include "shim/jobctl/completion/job_candidates.hpp"
#include "shim/jobctl/output.hpp"

namespace jobshim {

namespace {

using Words = std::vector<std::string>;

enum class Rest { files = 0, nothing = 4, directories = 16 };

struct Offer {
    std::vector<Candidate> candidates;
    Rest rest = Rest::nothing;
    std::optional<std::size_t> command_at = {};
};

CommandSyntax syntax_of_jobshim() {
    CommandSyntax syntax{.name = "jobshim", .help = "", .operand = "COMMAND"};
    for (const ShimOption& option : shim_grammar) {
        OptionSyntax& added = syntax.options.emplace_back();
        if (!option.short_name.empty()) added.names.emplace_back(option.short_name);
        added.names.emplace_back(option.name);
        added.value = option.value;
        added.help = option.help;
    }
    return syntax;
}

bool has_name(const OptionSyntax& option, std::string_view name) {
    return std::find(option.names.begin(), option.names.end(), name) != option.names.end();
}

const OptionSyntax* find_option(const CommandSyntax& syntax, std::string_view name) {
    const auto found =
        std::find_if(syntax.options.begin(), syntax.options.end(),
                     [&](const OptionSyntax& option) { return has_name(option, name); });
    return found == syntax.options.end() ? nullptr : &*found;
}

// An option on the command line.
struct Given {
    const OptionSyntax* option;
    std::string value;
};

// What is left of the word at the cursor.
struct Before {
    std::vector<Given> options;
    Words operands;
    bool operands_only = false;             // "--" was there
    const OptionSyntax* awaited = nullptr;  // the option whose value is the word at the cursor
    std::optional<std::size_t> command_at;  // jobshim's COMMAND has begun
};

// `words` without the last. As words_of() in options.cpp, and own_words() in jobshim's.
Before read_words(const Words& words, std::size_t first, const CommandSyntax& syntax) {
    Before before;
    const bool is_prefix = syntax.operand == "COMMAND";
    const std::size_t cursor = words.size() - 1;
    for (std::size_t i = first; i < cursor; ++i) {
        const std::string& word = words[i];
        if (before.operands_only || word.size() < 2 || word[0] != '-') {
            if (is_prefix) {
                before.command_at = i;
                return before;
            }
            before.operands.push_back(word);
            continue;
        }
        if (word == "--") {
            before.operands_only = true;
            continue;
        }
        const bool is_long = word[1] == '-';
        const std::size_t end = is_long ? std::min(word.find('='), word.size()) : 2;
        const OptionSyntax* option = find_option(syntax, word.substr(0, end));
        if (option == nullptr) continue;
        Given given{option, ""};
        if (end < word.size())
            given.value = word.substr(is_long ? end + 1 : end);
        else if (!option->value.empty() && i + 1 == cursor)
            before.awaited = option;
        else if (!option->value.empty())
            given.value = words[++i];
        before.options.push_back(std::move(given));
    }
    if (is_prefix && before.operands_only) before.command_at = cursor;
    return before;
}

bool is_given(const Before& before, std::string_view name) {
    return std::any_of(before.options.begin(), before.options.end(),
                       [&](const Given& given) { return has_name(*given.option, name); });
}

bool can_be_added(const OptionSyntax& option, const Before& before) {
    return (option.may_repeat || !is_given(before, option.names.front())) &&
           std::none_of(option.excluded.begin(), option.excluded.end(),
                        [&](const std::string& name) { return is_given(before, name); });
}

std::vector<Candidate> options_of(const CommandSyntax& syntax, const Before& before) {
    std::vector<Candidate> candidates;
    for (const OptionSyntax& option : syntax.options)
        if (can_be_added(option, before))
            for (const std::string& name : option.names) candidates.push_back({name, option.help});
    return candidates;
}

std::vector<Candidate> words_in(std::string_view choice) {
    std::vector<Candidate> candidates;
    while (!choice.empty()) {
        const std::size_t end = std::min(choice.find('|'), choice.size());
        candidates.push_back({std::string(choice.substr(0, end))});
        choice.remove_prefix(std::min(end + 1, choice.size()));
    }
    return candidates;
}

std::vector<Candidate> verdicts() {
    std::vector<Candidate> candidates;
    for (int state = 0; state <= static_cast<int>(State::cancelled); ++state)
        candidates.push_back({std::string(word(static_cast<State>(state)))});
    return candidates;
}

// With or without SIG, as they are being typed. The real-time signals, whose names say nothing,
// are left out.
std::vector<Candidate> signals(std::string_view typed) {
    constexpr int last_standard_signal = 31;
    constexpr std::string_view sig = "SIG";
    const bool is_whole = typed.starts_with(sig.substr(0, typed.size())) && typed.size() > 1;
    std::vector<Candidate> candidates;
    for (int signal = 1; signal <= last_standard_signal; ++signal)
        if (const std::string name = signal_name(signal); name.starts_with(sig))
            candidates.push_back({is_whole || typed.starts_with(sig) ? name : name.substr(3)});
    return candidates;
}

// Values of the kind that --help calls `value`.
Offer values_of(const std::string& value, std::string_view typed) {
    if (value == "FILE") return {.candidates = {}, .rest = Rest::files};
    if (value == "DIR" || value == "STATE_DIR")
        return {.candidates = {}, .rest = Rest::directories};
    if (value == "STATUS") return {.candidates = verdicts()};
    if (value == "SIG") return {.candidates = signals(typed)};
    if (value.find('|') != std::string::npos) return {.candidates = words_in(value)};
    return {};
}

// The shell has not expanded it.
std::string without_tilde(const std::string& path) {
    const char* home = std::getenv("HOME");
    return home != nullptr && path.starts_with("~/") ? home + path.substr(1) : path;
}

std::vector<std::string> directories_of(const Before& before) {
    std::vector<std::string> directories;
    for (const Given& given : before.options)
        if (has_name(*given.option, "--dir")) directories.push_back(without_tilde(given.value));
    if (directories.empty())
        if (const std::string state = state_directory_if_any(); !state.empty())
            directories.push_back(state + "/jobs");
    return directories;
}

Offer jobs(const Before& before, const std::string& typed) {
    // The plugin's ids are in its state files, which are not read here.
    if (is_given(before, "--companion") || is_given(before, "--all-states")) return {};
    Offer offer;
    if (typed.find('/') == std::string::npos) {
        offer.candidates = job_candidates(directories_of(before), typed);
        std::erase_if(offer.candidates, [&](const Candidate& job) {
            return (job.word.starts_with('-') && !before.operands_only) ||
                   std::find(before.operands.begin(), before.operands.end(), job.word) !=
                       before.operands.end();
        });
    }
    // A job may also be named by its file.
    if (offer.candidates.empty()) offer.rest = Rest::files;
    return offer;
}

Offer operands(const CommandSyntax& syntax, const Before& before, const std::string& typed) {
    if (!syntax.operand.empty() && (syntax.takes_many || before.operands.empty()))
        return syntax.operand == "JOB" ? jobs(before, typed) : values_of(syntax.operand, typed);
    if (before.operands_only) return {};
    return {.candidates = options_of(syntax, before)};
}

// Puts `head`, which the word at the cursor begins with, before every candidate.
Offer behind(const std::string& head, Offer offer) {
    for (Candidate& candidate : offer.candidates) candidate.word.insert(0, head);
    return offer;
}

Offer offer_for(const CommandSyntax& syntax, const Words& words, std::size_t first) {
    const Before before = read_words(words, first, syntax);
    const std::string& typed = words.back();
    if (before.awaited != nullptr) return values_of(before.awaited->value, typed);
    if (before.command_at) return {.candidates = {}, .command_at = before.command_at};
    if (!before.operands_only && typed.starts_with('-')) {
        const std::size_t equals = typed.find('=');
        if (equals == std::string::npos) return {.candidates = options_of(syntax, before)};
        const OptionSyntax* option = find_option(syntax, typed.substr(0, equals));
        if (option == nullptr) return {};
        return behind(typed.substr(0, equals + 1),
                      values_of(option->value, typed.substr(equals + 1)));
    }
    if (syntax.operand == "COMMAND") return {.candidates = {}, .command_at = words.size() - 1};
    return operands(syntax, before, typed);
}

Offer offer_for_jobctl(const Words& words) {
    if (words.size() == 1) {
        const auto self = syntax_of("");
        if (words[0].starts_with('-')) return {.candidates = options_of(*self, {})};
        Offer offer;
        for (const CommandSyntax& command : list_commands())
            offer.candidates.push_back({command.name, command.help});
        return offer;
    }
    const auto syntax = syntax_of(words[0]);
    return syntax ? offer_for(*syntax, words, 1) : Offer{};
}

std::string text_of(const Offer& offer, const std::string& typed) {
    std::string text;
    for (const auto& [word, help] : offer.candidates) {
        if (!word.starts_with(typed)) continue;
        text += word;
        if (!help.empty()) text += "\t" + help;
        text += "\n";
    }
    if (offer.command_at) return text + ":command " + std::to_string(*offer.command_at + 1) + "\n";
    return text + ":" + std::to_string(static_cast<int>(offer.rest)) + "\n";
}

}  // namespace

Outcome complete(const std::vector<std::string>& line) {
    try {
        Words words(line.begin() + 1, line.end());
        if (words.empty()) words.emplace_back();
        const bool is_jobshim = line.front() == "jobshim";
        print(
            text_of(is_jobshim ? offer_for(syntax_of_jobshim(), words, 0) : offer_for_jobctl(words),
                    words.back()));
        return done;
    } catch (const std::exception&) {
        return Outcome::own_failure;  // its words would disturb the line that is being typed
    }
}

}  // namespace jobshim
