#include "shim/jobctl/unrecorded.hpp"

#include <unistd.h>

#include <algorithm>

#include "common/units.hpp"

namespace jobshim {

namespace {

// Nothing if it counts for nothing.
std::optional<UnrecordedEnd> read_copy(const Directory& directory, const std::string& name) {
    const auto contents = directory.read_file(name, max_job_file_bytes);
    const bool is_evidence = contents && contents->stamp.names == 1 &&
                             counts_for(::geteuid(), contents->stamp.owner) &&
                             !others_may_write(contents->stamp.mode);
    if (!is_evidence) return std::nullopt;
    UnrecordedEnd copy{directory, name, parse_heartbeat(contents->text)};
    if (!copy.lines.run || !copy.lines.last || !copy.job_file().starts_with('/'))
        return std::nullopt;
    (void)split_path(copy.job_file());  // throws if that names no file
    return copy;
}

std::vector<UnrecordedEnd> copies_in(const Directory& directory) {
    std::vector<std::string> names;
    directory.for_each_name([&](std::string_view name) {
        if (name.ends_with(".heartbeat")) names.emplace_back(name);
    });
    std::vector<UnrecordedEnd> copies;
    for (const std::string& name : names) {
        try {
            if (auto copy = read_copy(directory, name)) copies.push_back(*std::move(copy));
        } catch (const std::exception&) {
            continue;  // the others are readable
        }
    }
    return copies;
}

}  // namespace

std::vector<UnrecordedEnd> unrecorded_ends(const Context& context,
                                           const std::vector<Directory>& directories) {
    std::vector<UnrecordedEnd> copies;
    const std::string& state = context.observer.state_directory;
    if (state.empty()) return copies;
    try {
        if (const auto directory = Directory::open_if_there(unrecorded_directory(state)))
            copies = copies_in(*directory);
    } catch (const std::exception&) {
        return copies;  // the jobs themselves are shown all the same
    }
    const bool of_all = std::find(context.directories.begin(), context.directories.end(),
                                  state + "/jobs") != context.directories.end();
    if (of_all) return copies;
    std::erase_if(copies, [&](const UnrecordedEnd& copy) {
        const std::string directory = split_path(copy.job_file()).directory;
        return std::none_of(directories.begin(), directories.end(),
                            [&](const Directory& each) { return each.path() == directory; });
    });
    return copies;
}

JobOfCopy find_job_of(const UnrecordedEnd& copy) {
    try {
        const SplitPath at = split_path(copy.job_file());
        const auto directory = Directory::open_if_there(at.directory);
        const auto contents =
            directory ? directory->read_file(at.name, max_job_file_bytes) : std::nullopt;
        if (!contents) return JobOfCopy::gone;
        const JobDocument document = JobDocument::parse(contents->text);
        if (document.fault() != JsonFault::none) return JobOfCopy::unclear;
        if (is_final(document.status())) return JobOfCopy::recorded;
        const auto run = document.run();
        return run && run->shim == copy.lines.run->shim ? JobOfCopy::not_recorded
                                                        : JobOfCopy::unclear;
    } catch (const std::exception&) {
        return JobOfCopy::unclear;
    }
}

JobReport report_of(const UnrecordedEnd& copy) {
    const Conclusion& last = *copy.lines.last;
    JobEdit edit;
    edit.id = id_of(std::nullopt, split_path(copy.job_file()).name);
    edit.run = *copy.lines.run;
    edit.started_at = edit.created_at = copy.lines.started_at;
    edit.set_end(last, last.exit.ended_at);
    Sighting sighting;
    sighting.status = last.status;
    JobReport report;
    report.id = edit.id;
    report.file = copy.job_file();
    report.not_recorded = "its job file is gone";
    sighting.end_sentence = (last.sentence.empty() ? "Completed." : last.sentence) +
                            " (not recorded: " + report.not_recorded + ")";
    report.verdict = judge(sighting);
    report.job = JobDocument::parse(edit.as_new_file());
    return report;
}

}  // namespace jobshim
