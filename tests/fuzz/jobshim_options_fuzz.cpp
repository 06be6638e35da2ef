// The command line of jobshim. The input is argv, each word terminated by NUL.
#include <algorithm>

#include "common/shim_grammar.hpp"
#include "shim/jobshim/options.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "tests/fuzz/words.hpp"

using namespace jobshim;
using namespace jobshim::fuzz;
using std::chrono::milliseconds;

namespace {

// This reader takes the set of options from shim_grammar, but decides for itself how they are
// written.
const Grammar grammar = [] {
    Grammar all;
    for (const ShimOption& option : shim_grammar) {
        const std::string name(option.name);
        (option.takes_value() ? all.with_value : all.flags).insert(name);
        if (!option.short_name.empty()) all.short_forms.emplace(option.short_name, name);
    }
    return all;
}();

bool is_one_of(const std::string& word, std::initializer_list<const char*> words) {
    return std::find(words.begin(), words.end(), word) != words.end();
}

bool is_good_value(const std::string& name, const std::string& text) {
    if (is_one_of(name, {"--job", "--log", "--companion"})) return !text.empty();
    if (name == "--id") return is_job_id(text);
    if (name == "--signal") return parse_signal(text).has_value();
    if (is_one_of(name, {"--timeout", "--kill-after"})) return parse_duration(text).has_value();
    if (name == "--heartbeat-interval") {
        const auto duration = parse_duration(text);
        return duration && *duration >= milliseconds(100) && *duration <= std::chrono::hours(1);
    }
    if (name == "--tail") {
        const auto bytes = parse_count(text);
        return bytes && *bytes <= 65536;
    }
    if (name == "--on-shim-death" || name == "--leftovers")
        return is_one_of(text, {"kill", "keep"});
    if (name == "--group") return is_one_of(text, {"own", "share"});
    if (name == "--sync") return is_one_of(text, {"always", "final", "never"});
    return true;
}

// Each option by itself, and the few that conflict with one another.
bool are_good_values(const Reading& reading) {
    if (reading.values.count("--companion") != 0 &&
        (reading.values.count("--job") != 0 || reading.value("--group") == "share"))
        return false;
    return std::all_of(reading.values.begin(), reading.values.end(), [](const auto& entry) {
        return entry.second.size() == 1 && is_good_value(entry.first, entry.second[0]);
    });
}

void check_options(const ShimOptions& options, const Reading& reading, Words& words) {
    const auto demand_value = [&](const char* name, const std::string& got,
                                  const std::string& otherwise) {
        demand_equal(got, reading.values.count(name) ? reading.value(name) : otherwise, name);
    };
    const auto demand_duration = [&](const char* name, milliseconds got, milliseconds otherwise) {
        demand(
            got == (reading.values.count(name) ? *parse_duration(reading.value(name)) : otherwise),
            name, reading.value(name));
    };
    demand_value("--job", options.job, "");
    demand_value("--id", options.id, "");
    demand_value("--title", options.title, "");
    demand_value("--log", options.log, "");
    demand(options.tail_bytes ==
               (reading.values.count("--tail") ? parse_count(reading.value("--tail")) : 2048),
           "--tail");
    demand_value("--on-shim-death", options.kill_on_shim_death ? "kill" : "keep", "kill");
    demand_value("--leftovers", options.kill_leftovers ? "kill" : "keep", "keep");
    const bool companion = reading.values.count("--companion") != 0;
    demand_value("--companion", options.companion, "");
    demand_value("--group",
                 !options.group                 ? ""
                 : *options.group == Group::own ? "own"
                                                : "share",
                 companion ? "own" : "");
    demand_value("--sync",
                 options.sync == SyncPolicy::always  ? "always"
                 : options.sync == SyncPolicy::final ? "final"
                                                     : "never",
                 "final");
    demand_duration("--heartbeat-interval", options.heartbeat_interval, milliseconds(5000));
    demand_duration("--timeout", options.timeout, milliseconds(0));
    demand_duration("--kill-after", options.kill_after, milliseconds(10'000));
    demand(
        options.signal ==
            (reading.values.count("--signal") ? parse_signal(reading.value("--signal")) : SIGTERM),
        "--signal");
    if (!reading.unusual) {
        demand(options.expect_record == (companion || reading.has("--expect-record")),
               "--expect-record");
        demand(options.detach == reading.has("--detach"), "--detach");
        demand(options.best_effort == reading.has("--best-effort"), "--best-effort");
    }
    // The words of the command are the original argv, not copies.
    demand(options.command == words.argv() + reading.operands_at && *options.command != nullptr,
           "COMMAND is where the options end");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    [[maybe_unused]] static const bool once = [] {
        Words words("jobshim", "--help");
        const std::string help = parse_command_line(words.argc(), words.argv()).out;
        demand_all_known(help, grammar);
        for (const ShimOption& option : shim_grammar)
            demand(help.find("  " + std::string(option.name) + " ") != std::string::npos ||
                       help.find("," + std::string(option.name) + " ") != std::string::npos,
                   "--help tells of every option of the grammar", option.name);
        return true;
    }();
    Words words("jobshim", view(data, size));
    const Reading reading = read_words(words, 1, grammar);
    const CommandLine line = parse_command_line(words.argc(), words.argv());
    if (line.options) {
        demand(line.out.empty() && line.err.empty(), "options say nothing");
        demand(!reading.wrong, "bad usage is refused");
        demand(are_good_values(reading), "a bad value is refused");
        check_options(*line.options, reading, words);
        return 0;
    }
    demand(!could_deceive(line.err, true) && is_utf8(line.err), "a message is fit for a terminal",
           line.err);
    demand(std::count(line.err.begin(), line.err.end(), '\n') == (line.exit_status == 0 ? 0 : 2),
           "a message is one line, and so is the hint", line.err);
    if (line.exit_status == 0) {
        demand(!line.out.empty() && line.err.empty(), "who asks for help gets it");
        return 0;
    }
    demand(line.exit_status == 125 && line.out.empty(), "bad usage is 125");
    demand(line.err.starts_with("jobshim: ") && line.err.ends_with('\n'), "and is told", line.err);
    const bool good =
        !reading.wrong && !reading.unusual && !reading.operands.empty() && are_good_values(reading);
    demand(!good, "good usage is not refused", line.err);
    return 0;
}
