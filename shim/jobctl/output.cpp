#include "shim/jobctl/output.hpp"

#include <unistd.h>

#include <cstdio>

#include "common/atomic_file.hpp"
#include "common/units.hpp"

namespace jobshim {

namespace {

// The status word as it stands in the record, the host's own words too; null if there is none.
std::string status_json(const std::optional<JobDocument>& job) {
    const auto status = job ? job->string("status") : std::nullopt;
    return status ? json_string(*status) : "null";
}

std::string verdict_json(const JobReport& report) {
    std::string json = R"({"state": )" + json_string(word(report.verdict.state)) +
                       R"(, "because": )" + json_string(report.verdict.because) +
                       R"(, "lastBeatAgeMs": )";
    json += report.last_beat_age ? std::to_string(report.last_beat_age->count()) : "null";
    if (!report.not_recorded.empty())
        json += R"(, "notRecorded": )" + json_string(report.not_recorded);
    return json + "}";
}

std::string record_json(const std::optional<JobDocument>& job) {
    if (!job) return "null";
    std::string text = to_utf8(job->text());
    text.resize(text.find_last_of('}') + 1);  // without the white space after it
    return text;
}

}  // namespace

std::string id_of(const std::optional<JobDocument>& job, std::string_view file_name) {
    const auto id = job ? job->string("id") : std::nullopt;
    return id && !id->empty() ? *id : job_id_from_name(file_name);
}

JobReport report_of(const JobFiles& files, const Settled& settled) {
    const Observation& seen = settled.now;
    return {id_of(seen.document, files.name), files.job,         seen.document, seen.verdict,
            seen.sighting.beat_age,           settled.unwritable};
}

std::string status_line(const JobReport& report) {
    return printable(report.id) + "  " + std::string(word(report.verdict.state)) + "  " +
           printable(report.verdict.because) + "\n";
}

std::string json_of(const JobReport& report) {
    return R"({"id": )" + json_string(report.id) + R"(, "file": )" + json_string(report.file) +
           R"(, "status": )" + status_json(report.job) + R"(, "verdict": )" + verdict_json(report) +
           R"(, "job": )" + record_json(report.job) + "}";
}

std::string json_array_of(const std::vector<JobReport>& reports) {
    std::string json = "[";
    for (const JobReport& report : reports)
        json += (json.size() > 1 ? ",\n" : "") + json_of(report);
    return json + "]\n";
}

void print(std::string_view text) { write_all(STDOUT_FILENO, text, "standard output"); }

void complain(const std::string& message) {
    std::fputs(("jobctl: " + message + "\n").c_str(), stderr);
}

void complain_of_no_such_job(const std::string& job) {
    const bool is_path = job.find('/') != std::string::npos || job.ends_with(".json");
    complain(printable(job) + ": no such job" +
             (is_path ? "" : " (a job file is named by its path, with a slash in it)"));
}

}  // namespace jobshim
