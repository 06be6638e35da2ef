#include "shim/jobctl/look.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "common/clocks.hpp"
#include "common/posix_error.hpp"
#include "common/torn_file.hpp"
#include "common/units.hpp"
#include "shim/jobctl/record_budget.hpp"
#include "shim/jobctl/selection.hpp"

namespace jobshim {

namespace {

class Surveyor {
public:
    Surveyor(const Context& context, const SurveyOptions& options, const Visitor& hand_over)
        : context_(context),
          options_(options),
          hand_over_(hand_over),
          patience_(options.torn_patience) {
        context_.observer.hurry(survey_patience);
    }

    void visit(const Directory& directory) {
        for (const std::string& name : job_names_in(directory))
            if (!read_job(directory, name)) torn_.push_back({directory, name});
    }

    // Skips a job file that cannot be read: a file left beside it may be its last good version.
    void tidy_up(const Directory& directory) {
        for (const auto& [name, stale] : stale_files_in(directory)) {
            try {
                const auto job = directory.read_file(name, budget_.limit());
                if (job) budget_.spend(job->text.size());
                if (!job || JobDocument::parse(job->text).fault() == JsonFault::none)
                    tidy(files_of_stale(directory, name, stale));
            } catch (const std::exception&) {
                continue;  // what we may not remove stays
            }
        }
    }

    // Jobs of which only a copy of the end tells: their directory was not visited, or their file is
    // gone.
    void visit_copies(const std::vector<Directory>& visited) {
        for (UnrecordedEnd& copy : unrecorded_ends(context_, visited)) {
            switch (find_job_of(copy)) {
                case JobOfCopy::gone:
                    if (options_.final_too) {
                        JobReport report = report_of(copy);
                        hand_over_({.report = std::move(report), .copy = std::move(copy)});
                    }
                    break;
                case JobOfCopy::not_recorded:
                    look_elsewhere(copy.job_file(), visited);
                    break;
                case JobOfCopy::recorded:
                    if (options_.tidy_copies) copy.directory.remove(copy.name);
                    break;
                case JobOfCopy::unclear:
                    break;
            }
        }
    }

    void wait_for_the_torn() {
        while (!torn_.empty()) {
            patience_.pause();
            std::erase_if(
                torn_, [&](const FileInDirectory& at) { return read_job(at.directory, at.name); });
        }
    }

private:
    struct FileInDirectory {
        Directory directory;
        std::string name;
    };

    // False if the file has to be read again.
    bool read_job(const Directory& directory, const std::string& name) {
        const std::string path = directory.path_of(name);
        try {
            auto contents = directory.read_file(name, budget_.limit());
            if (!contents) return true;  // deleted meanwhile
            budget_.spend(contents->text.size());
            JobDocument document = JobDocument::parse(std::move(contents->text));
            if (document.is_beyond_bounds())
                add_broken(path, name, path + ": " + document.describe_fault());
            else if (document.is_torn() && !patience_.is_over_for(directory, name, contents->stamp))
                return false;  // a writer may be at work on it
            else if (document.is_torn())
                add_broken(path, name, path + ": not a JSON object");
            else if (is_final(document.status()))
                add_final(path, name, contents->stamp, std::move(document));
            else
                look_closely(job_files_in(directory, name));
        } catch (const std::system_error& error) {
            if (error.code().value() == ELOOP)
                add_broken(path, name,
                           path + ": a symbolic link, which is followed only if you name the job");
            else
                add_broken(path, name, error.what(), error.what());
        } catch (const TooLarge& refusal) {
            add_broken(path, name,
                       budget_.is_spent() ? path + ": " + RecordBudget::refusal : refusal.what());
        } catch (const Refusal& refusal) {
            add_broken(path, name, refusal.what());
        }
        return true;
    }

    // Without a job file the job is whose the file is that was left.
    static JobFiles files_of_stale(const Directory& directory, const std::string& name,
                                   const std::string& stale) {
        JobFiles files = job_files_in(directory, name);
        if (!directory.stamp_at(name))
            if (const auto stamp = directory.stamp_at(stale)) take_owner_from(files, *stamp);
        return files;
    }

    void look_elsewhere(const std::string& job_file, const std::vector<Directory>& visited) {
        const SplitPath at = split_path(job_file);
        const bool is_visited =
            std::any_of(visited.begin(), visited.end(),
                        [&](const Directory& each) { return each.path() == at.directory; });
        if (is_visited) return;
        try {
            look_closely(job_files_in(Directory::open(at.directory), at.name));
        } catch (const std::exception& error) {
            add_broken(job_file, at.name, error.what(), error.what());
        }
    }

    void look_closely(const JobFiles& files) {
        if (!budget_.take(files))
            return add_broken(files.path, files.name, files.path + ": " + RecordBudget::refusal);
        Settled settled = look_at(files, context_, options_.settle, options_.judgement);
        if (settled.wrote) budget_.take_again(files);
        if (is_gone(settled.now)) return;
        if (options_.beats != nullptr && settled.now.verdict.state == State::unknown)
            options_.beats->compare(files.path, settled.now);
        if (options_.final_too || settled.wrote || !is_final(settled.now.status()))
            hand_over_({.report = report_of(files, settled),
                        .wrote = settled.wrote,
                        .would_be_settled = settled.unwritten.has_value(),
                        .only_looked_at = !files.may_act(),
                        .failure = settled.now.look_failed ? settled.now.trouble : ""});
    }

    void add_final(const std::string& path, const std::string& name, const FileStamp& stamp,
                   JobDocument document) {
        if (!options_.final_too) return;
        JobReport report;
        report.file = path;
        report.modified_ms = stamp.modified_ns / 1'000'000;
        report.verdict = verdict_on_final(document);
        report.job = std::move(document);
        report.id = id_of(report.job, name);
        hand_over_({.report = std::move(report)});
    }

    void add_broken(const std::string& path, const std::string& name, const std::string& why,
                    const std::string& failure = "") {
        JobReport report;
        report.id = id_of(std::nullopt, name);
        report.file = path;
        report.verdict = {State::unknown, why + "."};
        hand_over_({.report = std::move(report), .failure = failure});
    }

    Context context_;
    const SurveyOptions& options_;
    const Visitor& hand_over_;
    TornPatience patience_;
    RecordBudget budget_;
    std::vector<FileInDirectory> torn_;
};

}  // namespace

namespace {

void say_once(const Parties& parties, const Directory& directory, const Context& context,
              const char* what_is_not_done) {
    if (standing_of(parties) != Standing::onlooker ||
        !context.only_looked_at->insert(parties.owner).second)
        return;
    complain("jobs of uid " + std::to_string(parties.owner) + ": shown, not " + what_is_not_done +
             (parties.actor == 0 || parties.actor == parties.owner
                  ? " (in " + directory.path() + ": " + why_only_looking(parties) + ")"
                  : ""));
}

}  // namespace

void say_whose_it_is(const JobFiles& files, const Context& context, const char* what_is_not_done) {
    say_once(files.parties, files.directory, context, what_is_not_done);
}

void say_whose_it_is(const CompanionDirectory& state, const Context& context) {
    say_once(state.parties(), state.top(), context, "settled");
}

Verdict verdict_on_final(const JobDocument& document) {
    Sighting sighting;
    sighting.status = document.status();
    sighting.end_sentence = document.end_sentence();
    return judge(sighting);
}

Settled look_at(const JobFiles& files, const Context& context, bool settle,
                const Judgement& judgement) {
    if (settle) say_whose_it_is(files, context, "settled");
    Settled settled = look(files, context.observer, settle, judgement);
    for (const std::string& notice : settled.notices) complain(notice);
    return settled;
}

Requester requester(std::string how, const Context& context) {
    return {std::move(how), context.observer.here.pid, own_user_outside(), "jobctl"};
}

bool has_fresh_beat(const Observation& seen) {
    const auto age = seen.sighting.beat_age;
    return age && *age <= overdue_after(seen.sighting.interval);
}

void complain_of_missing_directories(const Context& context) {
    for (const std::string& directory : context.directories)
        if (!Directory::open_if_there(directory) &&
            directory != context.observer.state_directory + "/jobs")
            complain(directory + ": " + errno_text(ENOENT));
}

std::vector<Surveyed> survey(const Context& context, const SurveyOptions& options) {
    std::vector<Surveyed> jobs;
    survey(context, options, [&](Surveyed job) { jobs.push_back(std::move(job)); });
    return jobs;
}

void survey(const Context& context, const SurveyOptions& options, const Visitor& visit) {
    if (context.directories.empty())
        throw Refusal(
            "no directory of jobs: neither XDG_STATE_HOME nor HOME is an absolute path (give one "
            "with --dir)");
    Surveyor surveyor(context, options, visit);
    const std::vector<Directory> visited = open_each_once(context.directories);
    for (const Directory& directory : visited) surveyor.visit(directory);
    surveyor.wait_for_the_torn();
    surveyor.visit_copies(visited);
    if (options.tidy)
        for (const Directory& directory : visited) surveyor.tidy_up(directory);
}

}  // namespace jobshim
