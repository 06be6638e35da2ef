// The command line of jobctl. The input is argv, each word terminated by NUL.
#include "shim/jobctl/options.hpp"

#include <algorithm>

#include "shim/jobctl/event_cursor.hpp"
#include "shim/jobctl/outcome.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "tests/fuzz/words.hpp"

using namespace jobshim;
using namespace jobshim::fuzz;
using std::chrono::milliseconds;

namespace {

struct CommandGrammar {
    Command command;
    int fewest_jobs;
    int most_jobs;
    std::set<std::string> with_value;
    std::set<std::string> flags;
    std::set<std::string> needed = {};  // options that are required
    bool knows_the_companion = false;   // takes --companion and --all-states
    bool is_about_jobs = true;          // takes --dir, and no operands but JOBs
};

// What these two exclude, if a command has it.
const std::set<std::string> not_of_the_companion = {"--dir", "--watch", "--presume-dead"};

constexpr int any_number = 1'000'000;

// Commands that are not listed here are only tested for crashes.
const std::map<std::string, CommandGrammar> commands = {
    {"status", {Command::status, 1, any_number, {}, {"--json", "--no-reap"}, {}, true}},
    {"wait",
     {Command::wait,
      1,
      any_number,
      {"--timeout", "--appear"},
      {"--any", "--mirror", "--json", "--no-reap"},
      {},
      true}},
    {"result", {Command::result, 1, 1, {}, {"--json", "--no-reap"}, {}, true}},
    {"list",
     {Command::list, 0, 0, {"--status"}, {"--watch", "--why", "--json", "--no-reap"}, {}, true}},
    {"events", {Command::events, 0, any_number, {"--since"}, {"--no-reap"}}},
    {"logs", {Command::logs, 1, 1, {"--lines"}, {"--follow"}}},
    {"cancel",
     {Command::cancel,
      1,
      any_number,
      {"--reason", "--signal", "--kill-after", "--timeout"},
      {"--json"}}},
    {"settle", {Command::settle, 1, 1, {"--as", "--because"}, {"--json"}, {"--as", "--because"}}},
    {"reap", {Command::reap, 0, 0, {"--presume-dead"}, {"--dry-run", "--json"}, {}, true}},
    {"prune",
     {Command::prune, 0, 0, {"--older-than", "--keep"}, {"--dry-run", "--logs", "--json"}}},
    {"doctor", {Command::doctor, 0, 1, {}, {"--json"}}},
    {"completion", {Command::completion, 1, 1, {}, {}, {}, false, false}},
};

Grammar grammar_of(const CommandGrammar& command) {
    Grammar grammar;
    grammar.with_value = command.with_value;
    if (command.is_about_jobs) grammar.with_value.insert("--dir");
    grammar.flags = command.flags;
    grammar.flags.insert("--help");
    if (command.knows_the_companion) {
        grammar.with_value.insert("--companion");
        grammar.flags.insert("--all-states");
    }
    grammar.short_forms = {{"-f", "--follow"}, {"-n", "--lines"}, {"-h", "--help"}};
    grammar.operands_among_options = true;
    return grammar;
}

bool is_state(const std::string& text) {
    for (int state = 0; state <= static_cast<int>(State::cancelled); ++state)
        if (word(static_cast<State>(state)) == text) return true;
    return false;
}

bool is_good_value(const std::string& name, const std::string& text) {
    if (name == "--timeout" || name == "--appear" || name == "--kill-after" ||
        name == "--presume-dead" || name == "--older-than")
        return parse_duration(text).has_value();
    if (name == "--signal") return parse_signal(text).has_value();
    if (name == "--as") return text == "failed" || text == "cancelled";
    if (name == "--status") return is_state(text);
    if (name == "--lines" || name == "--keep") return parse_count(text).has_value();
    if (name == "--dir") return !text.empty();
    if (name == "--since") return parse_cursor(text).has_value();
    return true;
}

bool is_good(const Reading& reading, const CommandGrammar& command) {
    if (reading.wrong || reading.unusual) return false;
    for (const auto& [name, values] : reading.values) {
        if (values.size() > 1 && name != "--dir" && name != "--status" && name != "--companion")
            return false;
        for (const std::string& value : values)
            if (!is_good_value(name, value)) return false;
    }
    for (const std::string& name : command.needed)
        if (reading.values.count(name) == 0) return false;
    const auto is_there = [&](const std::string& name) {
        return reading.values.count(name) != 0 || reading.has(name);
    };
    if (is_there("--companion") || is_there("--all-states"))
        if (std::any_of(not_of_the_companion.begin(), not_of_the_companion.end(), is_there))
            return false;
    if (command.command == Command::prune && !is_there("--older-than") && !is_there("--keep"))
        return false;
    const auto is_shell = [](const std::string& name) {
        return name == "bash" || name == "zsh" || name == "fish";
    };
    if (command.command == Command::completion &&
        !std::all_of(reading.operands.begin(), reading.operands.end(), is_shell))
        return false;
    const int jobs = static_cast<int>(reading.operands.size());
    return jobs >= command.fewest_jobs && jobs <= command.most_jobs &&
           (!reading.has("--mirror") || jobs == 1);
}

std::vector<std::string> words_of(const std::vector<State>& states) {
    std::vector<std::string> words;
    for (const State state : states) words.emplace_back(word(state));
    return words;
}

std::vector<std::string> all_values(const Reading& reading, const std::string& name) {
    const auto found = reading.values.find(name);
    return found == reading.values.end() ? std::vector<std::string>{} : found->second;
}

void check_options(const CtlOptions& options, const Reading& reading) {
    if (options.command == Command::completion)
        demand(options.shell == reading.operands.front() && options.jobs.empty(), "SHELL");
    else
        demand(options.jobs == reading.operands, "JOBs are taken as they are");
    demand(options.directories == all_values(reading, "--dir"), "--dir");
    demand(options.companions == all_values(reading, "--companion"), "--companion");
    demand(options.all_states == reading.has("--all-states"), "--all-states");
    demand(words_of(options.states) == all_values(reading, "--status"), "--status");
    if (const std::string text = reading.value("--timeout"); !text.empty()) {
        const auto duration = *parse_duration(text);
        demand(options.timeout == (duration.count() > 0 ? std::optional(duration) : std::nullopt),
               "--timeout");
    }
    if (const std::string text = reading.value("--appear"); !text.empty())
        demand(options.appear == parse_duration(text), "--appear");
    for (const auto& [name, taken] :
         {std::pair{"--kill-after", options.kill_after}, {"--presume-dead", options.presume_dead}})
        demand(taken == parse_duration(reading.value(name)), name);
    if (const std::string text = reading.value("--older-than"); !text.empty())
        demand(options.older_than == parse_duration(text), "--older-than");
    if (const std::string text = reading.value("--keep"); !text.empty())
        demand(options.keep == parse_count(text), "--keep");
    demand(options.signal == parse_signal(reading.value("--signal")), "--signal");
    if (const std::string text = reading.value("--as"); !text.empty())
        demand(word(options.settle_as) == text, "--as");
    for (const char* name : {"--reason", "--because"})
        if (reading.values.count(name) != 0) demand(options.reason == reading.value(name), name);
    demand(options.lines.has_value() == (reading.values.count("--lines") != 0) &&
               (!options.lines || options.lines == parse_count(reading.value("--lines"))),
           "--lines");
    demand(options.since == reading.value("--since"), "--since");
    demand(options.json == reading.has("--json"), "--json");
    demand(options.settle == !reading.has("--no-reap"), "--no-reap");
    demand(options.any == reading.has("--any"), "--any");
    demand(options.mirror == reading.has("--mirror"), "--mirror");
    demand(options.watch == reading.has("--watch"), "--watch");
    demand(options.why == reading.has("--why"), "--why");
    demand(options.follow == reading.has("--follow"), "--follow");
    demand(options.dry_run == reading.has("--dry-run"), "--dry-run");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    [[maybe_unused]] static const bool once = [] {
        for (const auto& [name, command] : commands) {
            Words words("jobctl", name + '\0' + "--help");
            const auto parsed = parse_options(words.argc(), words.argv());
            demand_all_known(std::get<EarlyExit>(parsed).out, grammar_of(command));
        }
        return true;
    }();
    Words words("jobctl", view(data, size));
    const auto parsed = parse_options(words.argc(), words.argv());
    const auto known = words.size() > 1 ? commands.find(words[1]) : commands.end();

    if (const auto* early_exit = std::get_if<EarlyExit>(&parsed)) {
        demand(!could_deceive(early_exit->err, true) && is_utf8(early_exit->err),
               "a message is fit for a terminal", early_exit->err);
        demand(std::count(early_exit->err.begin(), early_exit->err.end(), '\n') ==
                   (early_exit->status == 0 ? 0 : 2),
               "a message is one line, and so is the hint", early_exit->err);
        if (early_exit->status == 0) {
            demand(!early_exit->out.empty() && early_exit->err.empty(),
                   "who asks for help gets it");
            return 0;
        }
        demand(early_exit->status == usage_exit_status && early_exit->out.empty(),
               "bad usage is 2");
        demand(early_exit->err.starts_with("jobctl: ") && early_exit->err.ends_with('\n'),
               "and is told", early_exit->err);
        if (known != commands.end())
            demand(!is_good(read_words(words, 2, grammar_of(known->second)), known->second),
                   "good usage is not refused", early_exit->err);
        return 0;
    }
    const CtlOptions& options = std::get<CtlOptions>(parsed);
    if (known == commands.end()) return 0;
    const Reading reading = read_words(words, 2, grammar_of(known->second));
    demand(options.command == known->second.command, "the command is the first word");
    if (reading.unusual) return 0;  // --json=1, -fn5
    // CLI11 takes a word that cannot be the name of an option (---x, "- x") for a JOB.
    if (reading.wrong) return 0;
    demand(is_good(reading, known->second), "bad usage is refused");
    check_options(options, reading);
    return 0;
}
