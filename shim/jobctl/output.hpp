// How jobs are shown: a line for people, an object for programs.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/job_document.hpp"
#include "common/settle.hpp"

namespace jobshim {

// What is said of one job, whichever command says it.
struct JobReport {
    std::string id;
    std::string file;
    std::optional<JobDocument> job;  // nothing: no file, or no JSON object
    Verdict verdict;
    std::optional<std::chrono::milliseconds> last_beat_age;
    std::string not_recorded;  // why the verdict could not be written; "": it was, or need not be
};

JobReport report_of(const JobFiles& files, const Settled& settled);

// The record's own id, else one made from the file's name.
std::string id_of(const std::optional<JobDocument>& job, std::string_view file_name);

// "ID  STATE  because", with its line feed. Nothing in it moves a terminal's cursor.
std::string status_line(const JobReport& report);

// The record goes in as its bytes are, but for those that are not UTF-8.
std::string json_of(const JobReport& report);
// With a line feed at the end.
std::string json_array_of(const std::vector<JobReport>& reports);

// To standard output. Throws std::system_error.
void print(std::string_view text);

// "jobctl: ..." to standard error, one line fit for a terminal; never fails.
void complain(std::string_view message);
void complain_of_no_such_job(const std::string& job);

// A stream of any bytes, made fit for a terminal: line feeds, tabs, carriage returns and colours
// stay; all other control characters, and what is not UTF-8, become U+FFFD.
class TerminalFilter {
public:
    std::string pass(std::string_view block);
    std::string rest();  // what was held back, for it may have been half of something

private:
    std::string held_;
};

}  // namespace jobshim
