// jobctl result JOB: the final record, for people or as JSON. It looks the way status does, so that
// the two never disagree.
#include <algorithm>

#include "common/units.hpp"
#include "shim/jobctl/commands.hpp"
#include "shim/jobctl/companion/survey.hpp"
#include "shim/jobctl/look.hpp"
#include "shim/jobctl/output.hpp"
#include "shim/jobctl/selection.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;

// "name        value" lines. Further values of a name stay in the value column; a text of several
// lines is indented below its name.
class Sheet {
public:
    void add(std::string_view name, const std::string& value) {
        if (value.empty()) return;
        constexpr std::size_t column = 12;
        text_ += name;
        text_ += std::string(column - name.size(), ' ') + printable(value) + "\n";
    }
    void add_all(std::string_view name, const std::vector<std::string>& values) {
        for (const std::string& value : values) {
            add(name, value);
            name = "";
        }
    }
    void add_block(std::string_view name, const std::string& lines) {
        if (lines.empty()) return;
        text_ += name;
        text_ += "\n";
        for (std::size_t at = 0; at < lines.size();) {
            const std::size_t end = std::min(lines.find('\n', at), lines.size());
            const std::size_t length = end - at - (end > at && lines[end - 1] == '\r' ? 1 : 0);
            text_ += "  | " + printable(lines.substr(at, length), true) + "\n";  // tabs stay
            at = end + 1;
        }
    }
    const std::string& text() const { return text_; }

private:
    std::string text_;
};

std::string describe_signal(const ExitRecord& end) {
    if (!end.signal) return "";
    return signal_name(*end.signal) + " (" + std::to_string(*end.signal) + ")" +
           (end.core_dumped.value_or(false) ? ", core dumped" : "");
}

std::string describe_requester(const std::optional<Requester>& by) {
    if (!by) return "";
    std::string words = by->how;
    if (!by->command.empty()) words += ", " + by->command;
    if (by->pid) words += ", pid " + std::to_string(*by->pid);
    if (by->uid) words += ", uid " + std::to_string(*by->uid);
    return words;
}

std::string describe_size(std::int64_t kib) {
    if (kib < 10 * 1024) return std::to_string(kib) + " KiB";
    return std::to_string(kib / 1024) + " MiB";
}

std::string describe_resources(const std::optional<Resources>& used) {
    if (!used) return "";
    return "user " + describe_duration(milliseconds(used->user_ms)) + ", system " +
           describe_duration(milliseconds(used->system_ms)) + ", peak RSS " +
           describe_size(used->max_rss_kib) +
           (used->group_peak_kib ? ", its cgroup's peak " + describe_size(*used->group_peak_kib)
                                 : "");
}

std::vector<std::string> describe_leftovers(const ExitRecord& end) {
    std::vector<std::string> words;
    for (const Leftover& left : end.leftovers)
        words.push_back("pid " + std::to_string(left.pid) + " " + left.command);
    return words;
}

void add_end(Sheet& sheet, const ExitRecord& end) {
    sheet.add("reason",
              std::string(word(end.reason)) + " (" + std::string(word(end.certainty)) + ")");
    sheet.add("code", end.code ? std::to_string(*end.code) : "");
    sheet.add("signal", describe_signal(end));
    sheet.add("errno", end.errno_name);
    sheet.add("ended", end.ended_at);
    sheet.add("duration", end.duration_ms ? describe_duration(milliseconds(*end.duration_ms)) : "");
    sheet.add("resources", describe_resources(end.resources));
    sheet.add("requested", describe_requester(end.requested_by));
    sheet.add_all("evidence", end.evidence);
    sheet.add_all("leftovers", describe_leftovers(end));
}

std::string describe_log(const Observation& seen) {
    if (!seen.run || !seen.run->log) return "";
    const LogStart& log = *seen.run->log;
    return log.file + (log.offset > 0 ? ", from byte " + std::to_string(log.offset) : "");
}

std::string sheet_of(const JobReport& report, const std::string& log,
                     const std::optional<ExitRecord>& end) {
    Sheet sheet;
    sheet.add("id", report.id);
    sheet.add("title", report.job ? report.job->string("title").value_or("") : "");
    sheet.add("status", std::string(word(report.verdict.state)));
    sheet.add("because", report.verdict.because);
    if (end) add_end(sheet, *end);
    sheet.add("log", log);
    sheet.add("file", report.file);
    if (end) sheet.add_block("tail", end->tail.value_or(""));
    return sheet.text();
}

// An active or unknown job has no result yet.
bool has_a_result(const Verdict& verdict) {
    const Outcome outcome = outcome_of(verdict.state);
    return outcome != Outcome::active && outcome != Outcome::unknown;
}

Outcome show(const CtlOptions& options, const JobReport& report, const std::string& log,
             const std::optional<ExitRecord>& end) {
    if (options.json)
        print(json_of(report) + "\n");
    else if (has_a_result(report.verdict))
        print(sheet_of(report, log, end));
    else
        print(status_line(report));
    return outcome_of(report.verdict.state);
}

Outcome show_companion_result(const CtlOptions& options, const Context& context) {
    const std::string& name = options.jobs.front();
    if (const auto job = select_companion_job(name, context)) {
        const auto looked = look_at_companion_jobs({*job}, context, options.settle);
        const CompanionReport& found = looked.front();
        const JobReport& report = found.job.report;
        const auto run = report.job ? report.job->run() : std::nullopt;
        if (!found.is_gone) return show(options, report, found.log, run ? run->exit : std::nullopt);
    }
    complain_of_no_such_job(name);
    return Outcome::no_such_job;
}

}  // namespace

Outcome show_result(const CtlOptions& options, const Context& context) {
    if (context.is_companion) return show_companion_result(options, context);
    const std::string& job = options.jobs.front();
    const auto files = select_job(job, context.directories);
    const Settled settled = files ? look_at(*files, context, options.settle) : Settled{};
    if (!files || is_gone(settled.now)) {
        complain_of_no_such_job(job);
        return Outcome::no_such_job;
    }
    return show(options, report_of(*files, settled), describe_log(settled.now), end_of(settled));
}

}  // namespace jobshim
