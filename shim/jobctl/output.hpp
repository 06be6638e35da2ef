// How jobs are shown: as a line for people, as an object for programs.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/job_document.hpp"
#include "common/settle.hpp"

namespace jobshim {

// What is reported about one job, whichever command reports it.
struct JobReport {
    std::string id;
    std::string file;
    std::optional<JobDocument> job;  // nothing: no file, or not a JSON object
    Verdict verdict;
    std::optional<std::chrono::milliseconds> last_beat_age;
    std::int64_t modified_ms = 0;  // of the file, since 1970; 0 if unknown
    std::string not_recorded;  // why the verdict could not be written; "": it was, or need not be
};

JobReport report_of(const JobFiles& files, const Settled& settled);

// "ID  STATE  because", with a line feed at the end. Nothing in it moves a terminal's cursor, and
// only its columns are separated by two spaces.
std::string status_line(const JobReport& report);
std::string single_spaced(std::string text);

// The record is copied byte for byte, except for bytes that are not UTF-8 and for characters that
// are better not shown, which are escaped (see printable_json), and for lone surrogates. One that
// not every parser takes is null: it must not keep the others in an array from being read.
std::string json_of(const JobReport& report);
// With a line feed at the end.
std::string json_array_of(const std::vector<JobReport>& reports);

// Prints such an array piece by piece, so that it need not be in memory as a whole.
class JsonArrayPrinter {
public:
    void add(std::string_view object);
    void finish();

private:
    std::string held_ = "[";
    bool is_first_ = true;
};

// To standard output. Throws std::system_error.
void print(std::string_view text);

// Writes "jobctl: ..." to standard error, as one line that is safe for a terminal; never fails.
void complain(std::string_view message);
void complain_of_no_such_job(const std::string& job);

// Makes a stream of arbitrary bytes safe for a terminal: nothing in it moves the cursor, hides text
// or writes over it. Line feeds, tabs and colours that can be read stay; a carriage return begins a
// new line; everything else is shown as `printable` shows it.
class TerminalFilter {
public:
    std::string pass(std::string_view block);
    // What was held back because it may have been incomplete, and the end of the last colour.
    std::string rest();

private:
    std::string fit(std::string_view text);

    std::string held_;
    bool is_coloured_ = false;
};

}  // namespace jobshim
