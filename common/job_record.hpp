// The job file (SPEC section 2) and the heartbeat file's lines (section 3) as values. Pure, and the
// only door to nlohmann_json of the writer and the readers.
//
// What the host wrote into a job file is kept byte for byte: a JobDocument is its text together
// with the places of its members, and an edit replaces only values that are ours.
//
// Caveats: `pid` numbers mean something only beside the boot id and the pid namespace of `shim`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/exit_reason.hpp"
#include "common/json_text.hpp"

namespace jobshim {

constexpr std::size_t max_job_file_bytes = std::size_t{64} << 20U;

struct ShimIdentity {
    int pid = 0;
    std::optional<std::uint64_t> start_time;  // field 22 of /proc/PID/stat, ticks
    std::string boot_id;                      // "" where unknown, here and below
    std::string machine_id;
    std::optional<std::uint64_t> pid_namespace;  // inode of /proc/self/ns/pid
    std::string host;
    // Inode of /proc/self/ns/time; nothing for the initial one, through which start times are as
    // they are.
    std::optional<std::uint64_t> time_namespace = {};

    bool operator==(const ShimIdentity&) const = default;
};

enum class Group { own, share };

struct WorkerIdentity {
    int pid = 0;
    std::optional<std::uint64_t> start_time;
    Group group = Group::own;
    std::optional<int> session;  // the one it was started in, with a group of its own

    bool operator==(const WorkerIdentity&) const = default;
};

struct LogPlace {
    std::string file;
    std::int64_t offset = 0;  // where this run begins
};

// The OOM killer's counters at the start of a run, which a later look is compared with.
struct OomBaseline {
    std::string group;    // as /proc/self/cgroup names it; "" if they are the whole machine's
    std::string counter;  // the file that holds `oom_kill N`
    std::uint64_t kills = 0;
    std::optional<std::uint64_t> group_kills;  // of the group as a whole (memory.oom.group)
    std::optional<std::uint64_t> kills_below;  // in the group and in those below it
    std::int64_t at_us = 0;                    // CLOCK_MONOTONIC

    bool operator==(const OomBaseline&) const = default;
};

// The `jobshim` member: one run.
struct RunRecord {
    ShimIdentity shim;  // pid 0: none; then there is only an exit
    std::optional<WorkerIdentity> worker;
    std::string heartbeat_file;
    std::int64_t interval_ms = 5000;
    bool kill_on_shim_death = true;
    bool expect_record = false;  // the worker must have written a terminal status itself
    std::optional<LogPlace> log;
    std::optional<CancelRequest> cancel;
    std::string previous;  // JSON text of the exit of the run before; "" for none
    std::optional<ExitRecord> exit;
    std::vector<std::string> command;      // UTF-8; only where the file's `command` is another
    std::vector<std::string> raw_command;  // exact bytes, where argv is not UTF-8; else empty
    std::string raw_cwd;                   // likewise
    // The job of a codex-companion state directory that this is the run of; "" for none.
    std::string companion_job;
    // The member's text as it was read. What this version does not know is kept from it.
    std::string source;
};

// A job file's text, and what it says.
class JobDocument {
public:
    // The fault says why a text is none; `document` is usable only without one.
    static JobDocument parse(std::string text);

    JsonFault fault() const { return scan_.fault; }
    std::size_t fault_at() const { return scan_.fault_at; }
    const std::string& text() const { return text_; }

    Status status() const;
    // The value of a top-level string member, decoded; nothing if it is absent or no string. Of
    // repeated keys the last counts, as in JavaScript.
    std::optional<std::string> string(std::string_view key) const;
    // The raw text of a member's value.
    std::optional<std::string_view> value(std::string_view key) const;
    // Nothing if the file has no `jobshim` member or one that is not of our making.
    std::optional<RunRecord> run() const;
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

    // With `worker_spoke` (the worker wrote a terminal status itself) only pid, completedAt where
    // absent or null, and jobshim are touched.
    std::string applied_to(const JobDocument& document, bool worker_spoke) const;
    // A new job file.
    std::string as_new_file() const;
};

// The heartbeat file's lines, each with its line feed.
std::string heartbeat_first_line(const RunRecord& run, std::string_view job_file,
                                 std::string_view started_at,
                                 const std::optional<OomBaseline>& oom = {});
std::string heartbeat_last_line(const FinalWord& last);
// Every heartbeat file of ours starts with these bytes.
constexpr std::string_view heartbeat_magic = R"({"jobshim":)";

struct Heartbeat {
    std::optional<RunRecord> run;  // with the worker, if its line is there
    std::string job_file;
    std::string started_at;
    std::optional<OomBaseline> oom;  // as anybody may have written it: `counter` is any path
    std::optional<FinalWord> last;
};

// Reads as far as the lines are whole; never fails.
Heartbeat parse_heartbeat(std::string_view text);

// The second line, which the worker's process writes of itself.
std::string heartbeat_worker_line(const WorkerIdentity& worker);

// NAME.cancel
std::string cancel_request_text(const CancelRequest& request);
std::optional<CancelRequest> parse_cancel_request(std::string_view text);

// The `jobshim` member as JSON text.
std::string run_text(const RunRecord& run);

// A JSON string literal; bytes that are not UTF-8 become U+FFFD.
std::string json_string(std::string_view text);

}  // namespace jobshim
