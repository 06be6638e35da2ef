// The job file (SPEC section 2) as a text that says something. Pure.
//
// What the host wrote into a job file is kept byte for byte: a JobDocument is its text together
// with the places of its members, and an edit replaces only values that are ours.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/json_text.hpp"
#include "common/run_record.hpp"

namespace jobshim {

constexpr std::size_t max_job_file_bytes = std::size_t{64} << 20U;

// A job file's text, and what it says.
class JobDocument {
public:
    // The fault says why a text is none; `document` is usable only without one.
    static JobDocument parse(std::string text);

    JsonFault fault() const { return scan_.fault; }
    // No JSON object; or not yet, for its writer may be at it.
    bool is_torn() const {
        return fault() == JsonFault::malformed || fault() == JsonFault::not_object;
    }
    std::size_t fault_at() const { return scan_.fault_at; }
    const std::string& text() const { return text_; }

    Status status() const;
    // The value of a top-level string member, decoded; nothing if it is absent or no string. Of
    // repeated keys the last counts, as in JavaScript.
    std::optional<std::string> string(std::string_view key) const;
    // The raw text of a member's value.
    std::optional<std::string_view> value(std::string_view key) const;
    // Nothing if the file has no `jobshim` member or one that is not of our making. Parsed when it
    // is first asked for, and only then; copies of the document share it.
    const std::optional<RunRecord>& run() const;
    // The JSON text of the last run's exit, as it goes into `previous`; "" for none.
    std::string exit_text() const;
    // There is a `command`, and it is not this one.
    bool has_other_command(const std::vector<std::string>& command) const;
    // What a final record says of the end: its `errorMessage`, else that there is none.
    std::string end_sentence() const;
    // `command` as one line for people; "" if it is absent.
    std::string command_line() const;

    // The text with these members set, each value a JSON text; every other byte stays as it is.
    struct Member {
        const char* key;
        std::string json;
    };
    std::string with(const std::vector<Member>& members) const;
    // The text without these members.
    std::string without(const std::vector<std::string_view>& keys) const;

    friend class JobEdit;
    friend bool same_host_members(const JobDocument& a, const JobDocument& b);

private:
    std::string text_;
    JsonScan scan_;
    mutable std::shared_ptr<const std::optional<RunRecord>> run_;
};

// True if two versions of a job file differ in nothing that is the host's.
bool same_host_members(const JobDocument& a, const JobDocument& b);

// One write of the job file: our members, put into whatever document is found there.
class JobEdit {
public:
    // Set whenever not empty; completed_at and error_message are written as null if empty.
    Status status = Status::running;
    std::string phase;
    std::optional<int> pid;
    std::string started_at;  // "" leaves the member alone
    std::string updated_at;
    std::string completed_at;
    std::string error_message;
    RunRecord run;

    // Set only where the document has no such member; "" and empty: not at all.
    std::string id;
    std::string title;
    std::vector<std::string> command;
    std::string cwd;
    std::string log_file;
    std::string created_at;

    // The end of the run, as it was at `now` (ISO 8601) or when it was seen.
    void set_end(const FinalWord& last, const std::string& now);

    // With `worker_reported` (the worker wrote a terminal status itself) only pid, completedAt
    // where absent or null, and jobshim are touched.
    std::string applied_to(const JobDocument& document, bool worker_reported) const;
    // A new job file.
    std::string as_new_file() const;
};

// The `jobshim` member as JSON text.
std::string run_text(const RunRecord& run);

// A JSON string literal; bytes that are not UTF-8 become U+FFFD.
std::string json_string(std::string_view text);

}  // namespace jobshim
