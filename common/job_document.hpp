// The job file (docs/record.md) as text and what it says. Pure.
//
// What the host wrote into a job file is kept byte for byte: a JobDocument holds the text and the
// positions of its members, and an edit replaces only the values that are ours.
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

constexpr std::size_t max_job_file_bytes = std::size_t{4} << 20U;
// Why a larger one is not written: nobody could read it again.
constexpr const char* would_be_too_large = "would become larger than 4 MiB";

// The `phase` of a record with this final status.
std::string final_phase(Status status);

class JobDocument {
public:
    // If the text is not a job document, fault() says why; the document is usable only without a
    // fault.
    static JobDocument parse(std::string text);

    JsonFault fault() const { return scan_.fault; }
    // Not a JSON object, perhaps because a writer has not finished yet.
    bool is_torn() const {
        return fault() == JsonFault::malformed || fault() == JsonFault::not_object;
    }
    // To be refused, and never set aside.
    bool is_beyond_bounds() const { return scan_.is_beyond_bounds(); }
    // See JsonScan.
    bool is_for_some_parsers() const { return scan_.is_for_some_parsers; }
    bool has_lone_surrogate() const { return scan_.has_lone_surrogate; }
    std::size_t fault_at() const { return scan_.fault_at; }
    std::string describe_fault() const { return scan_.describe_fault(); }
    const std::string& text() const { return text_; }
    std::size_t member_count() const { return scan_.members.size(); }

    Status status() const;
    // The value of a top-level string member, decoded; nothing if it is absent or not a string. If
    // a key is repeated, the last one counts, as in JavaScript.
    std::optional<std::string> string(std::string_view key) const;
    // The raw text of a member's value.
    std::optional<std::string_view> value(std::string_view key) const;
    // Nothing if the file has no `jobshim` member, or one that we did not write. Parsed only when
    // first needed; copies of the document share the result.
    const std::optional<RunRecord>& run() const;
    // The JSON text of the previous run's exit, which becomes `previous`; "" if there is none.
    std::string exit_text() const;
    // True if there is a `command` and it differs from this one.
    bool has_other_command(const std::vector<std::string>& command) const;
    // What a final record says about the end: its `errorMessage`, or that it has none.
    std::string end_sentence() const;
    // `command` as one line for people; "" if it is absent.
    std::string command_line() const;

    // The text with these members set, each value being JSON text; every other byte is unchanged.
    // But if one of the keys is repeated, only the last occurrence stays and is set: parsers differ
    // in which one they use, and a text in which all of them were set would grow with each.
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

// True if two versions of a job file have the same host members.
bool same_host_members(const JobDocument& a, const JobDocument& b);

// One write of the job file: sets our members in whatever document is there.
class JobEdit {
public:
    // Always written; an empty pid, completed_at or error_message is written as null.
    Status status = Status::running;
    std::string phase;
    std::optional<int> pid;
    std::string started_at;  // "" leaves the member alone
    std::string updated_at;
    std::string completed_at;
    std::string error_message;
    RunRecord run;

    // Set only if the document has no such member, and if not empty here.
    std::string id;
    std::string title;
    std::vector<std::string> command;
    std::string cwd;
    std::string log_file;
    std::string created_at;

    // Records the end of the run; `now` (ISO 8601) stands in for an unknown end time.
    void set_end(const Conclusion& last, const std::string& now);

    // With `worker_reported` (the worker wrote a final status itself) this touches only pid,
    // jobshim, and completedAt if it is absent or null. Repeated keys: see JobDocument::with.
    std::string applied_to(const JobDocument& document, bool worker_reported) const;
    // A new job file.
    std::string as_new_file() const;
};

// The `jobshim` member as JSON text.
std::string run_text(const RunRecord& run);

// The record's own id, else one derived from the file name.
std::string id_of(const std::optional<JobDocument>& job, std::string_view file_name);

// A JSON string literal; invalid UTF-8 becomes U+FFFD.
std::string json_string(std::string_view text);

}  // namespace jobshim
