#include "shim/jobshim/run_description.hpp"

#include <vector>

#include "common/units.hpp"

namespace jobshim {

namespace {

std::string joined(const std::vector<std::string>& words) {
    std::string line;
    for (const std::string& word : words) line += (&word == &words.front() ? "" : " ") + word;
    return line;
}

// The command as a title. A long one has its place in `command`, and must not take it twice.
std::string title_of(const std::vector<std::string>& command) {
    constexpr std::size_t longest = 4096;
    std::string title = joined(command);
    if (title.size() <= longest) return title;
    std::size_t end = longest;
    while ((title[end] & 0xC0) == 0x80) --end;  // not within a character
    title.resize(end);
    return title + "\u2026";
}

}  // namespace

JobEdit describe_run(const ShimOptions& options, const RunContext& context, const JobFiles& files,
                     const std::string& id, const std::optional<JobDocument>& before) {
    std::vector<std::string> exact;
    for (char** word = options.command; *word != nullptr; ++word) exact.emplace_back(*word);

    JobEdit edit;
    for (const std::string& word : exact) edit.command.push_back(to_utf8(word));
    edit.id = id;
    edit.title = options.title.empty() ? title_of(edit.command) : to_utf8(options.title);
    edit.cwd = to_utf8(context.working_directory);

    RunRecord& run = edit.run;
    run.shim = context.observer.here;
    run.heartbeat_file = to_utf8(files.path_of(files.heartbeat));
    run.interval_ms = options.heartbeat_interval.count();
    if (options.stall_after.count() > 0) run.stall_after_ms = options.stall_after.count();
    run.kill_on_shim_death = options.kill_on_shim_death;
    run.expect_record = options.expect_record;
    if (before) run.previous = before->exit_text();
    if (edit.cwd != context.working_directory) run.raw_cwd = context.working_directory;
    if (edit.command != exact) run.raw_command = exact;
    // `command` is set only if it is absent. A job file that is run again with another command must
    // not show the end of one command beside the words of the other.
    if (before && before->has_other_command(edit.command)) run.command = edit.command;
    return edit;
}

}  // namespace jobshim
