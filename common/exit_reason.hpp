// Turns what was seen of a worker's end into the reason that goes into the record. Pure: no clock,
// no files, no processes. Every exit reason of docs/record.md has a unit test.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/shim_identity.hpp"
#include "common/words.hpp"

namespace jobshim {

// The status in a job file. `none`: it has no status; `other`: a word of the host's own.
enum class Status { none, queued, running, completed, failed, cancelled, other };

std::string_view word(Status status);  // "" for none and other
std::optional<ExitReason> exit_reason_from(std::string_view word);
std::optional<Certainty> certainty_from(std::string_view word);
Status status_from(std::string_view word);

constexpr bool is_active(Status status) {
    return status == Status::queued || status == Status::running;
}
constexpr bool is_final(Status status) {
    return status == Status::completed || status == Status::failed || status == Status::cancelled;
}

Status status_of(ExitReason reason);

// Who requested the end. `pid`, `uid` and `command` are set as far as they are known.
struct Requester {
    std::string how;  // "jobctl cancel", "signal to the shim", "timeout"
    std::optional<int> pid;
    std::optional<std::int64_t> uid;
    std::string command;
};

struct Resources {
    std::int64_t user_ms = 0;
    std::int64_t system_ms = 0;
    std::int64_t max_rss_kib = 0;
    std::optional<std::int64_t> group_peak_kib = {};  // of the cgroup, if reached in this run
};

struct Leftover {
    int pid = 0;
    std::string command;
};

// `jobshim.exit` of docs/record.md, as it is written and read. What is unknown is empty, never 0 or
// -1.
struct ExitRecord {
    ExitReason reason = ExitReason::unknown;
    Certainty certainty = Certainty::unknown;
    std::optional<int> code;
    std::optional<int> signal;
    std::optional<bool> core_dumped;
    std::optional<int> wait_status;  // as wait(2) gives it
    std::string errno_name;          // with spawn_failed
    std::vector<std::string> evidence;
    std::optional<Requester> requested_by;
    std::string ended_at;  // ISO 8601
    std::optional<std::int64_t> duration_ms;
    std::optional<Resources> resources;
    std::vector<Leftover> leftovers;
    std::optional<std::string> tail;  // UTF-8
};

// The OOM killer's traces that concern this job.
struct OomFinding {
    bool counter_rose = false;           // in the worker's own memory cgroup, during this run
    bool worker_was_the_victim = false;  // proven, not inferred
    std::string group;                   // path of the memory cgroup
    std::optional<std::uint64_t> limit_bytes;
    std::vector<std::string> evidence;
    bool others_were_the_victims = false;  // proven: every victim was another process
    bool shim_was_the_victim = false;      // proven, if the shim is dead
};

// A program that frees memory before the kernel's OOM killer has to, and its word that it ended the
// worker.
struct OomDaemon {
    std::string name;
    std::string message;
};

struct Cancellation {
    Requester by;
    std::string reason;  // may be empty
};
// Of a reason that a person gives, in bytes. What is longer is cut off when it is written, so that
// no reader refuses the file that it is in.
constexpr std::size_t longest_reason = 4096;

// How long a worker may take to end when it is asked to, unless the user says otherwise.
constexpr std::chrono::milliseconds default_grace{10'000};

// NAME.cancel: a request to cancel a job, and how to do it.
struct CancelRequest {
    Cancellation what;
    std::string at;  // ISO 8601
    std::optional<int> signal;
    std::optional<std::int64_t> kill_after_ms;
    std::optional<std::uint64_t> start_time = {};  // of the requesting process
    ShimIdentity run =
        {};  // which it is for: a request that was moved to another job counts for nothing
};

// A worker that was to be killed and lives on: nobody waits for its end.
struct Survivor {
    int pid = 0;
    char state = '?';                         // from /proc/PID/stat
    std::string where;                        // the kernel function, if it can be read
    std::chrono::milliseconds after_kill{0};  // how long we waited
    std::string why_not_killed;               // why SIGKILL could not be sent; "" if it was

    // The kernel will end it, once it can.
    bool is_stuck() const { return state == 'D' && why_not_killed.empty(); }
};

// A signal, fatal unless it is handled, that the shim passed on.
struct PassedOn {
    int signal = 0;
    Requester by;
    std::chrono::milliseconds before_end{0};
    bool was_ignored = false;  // by the worker, at that moment
};

// The end of a process passes through three values, each made from the one before: Ending (what was
// seen), Conclusion (how it is judged) and JobEdit (job_document.hpp: what a write of the job file
// changes). ExitRecord is the part of a Conclusion that the record calls `exit`.

// What was seen of an end by the process that waited for it: the supervisor, or a reader that
// outlived the shim.
struct Ending {
    int wait_status = 0;                     // meaningless if there is a survivor
    std::optional<Survivor> survivor;        // timed out or cancelled, but still there
    bool timed_out = false;                  // --timeout was reached before the end
    std::optional<CancelRequest> cancelled;  // on disk before the end
    std::vector<PassedOn> passed_on;         // the last of each signal, the latest at the end
    int sigterm_count = 0;                   // how many times SIGTERM came
    std::optional<Resources> resources;
    std::vector<std::string> evidence;  // what was sent, and when

    // What the waiting process does not see for itself.
    std::chrono::milliseconds timeout{0};  // for the message
    bool result_expected = false;          // --expect-record
    bool worker_wrote_final_status = false;
    std::optional<OomFinding> oom;
    std::optional<OomDaemon> oom_daemon;
    // Where it was looked for who sent the SIGKILL, in vain: "the kernel's log".
    std::vector<std::string> looked_at;
};

// How an end is judged: what goes into the record, and a sentence for people (empty on success).
struct Conclusion {
    ExitRecord exit;
    Status status = Status::failed;
    std::string sentence;
};

// Leaves ended_at, duration_ms, leftovers and tail to the caller.
Conclusion judge_witnessed(const Ending& end);

// COMMAND could not be executed; `what` names the file and the reason.
Conclusion judge_spawn_failure(std::string_view errno_name, std::string_view what);

// The job was cancelled before its worker started.
Conclusion judge_never_started(const std::optional<Requester>& by, std::string_view why = {});

// Cancellation was requested and the worker is gone; nobody saw how it ended.
Conclusion judge_cancelled_unseen(const Cancellation& request);

// A person's verdict where no machine can know. `as` is failed or cancelled.
Conclusion judge_told(Status as, const Requester& by, std::string_view because);

// There was no heartbeat for so long that the caller presumes the job dead.
Conclusion judge_presumed(std::chrono::milliseconds silence, const Requester& by,
                          std::string_view because);

// It is over, and that is all: `because` says why no more can be known.
Conclusion judge_unknown(std::string_view because);

// Nobody saw the end. `evidence` says how we know that it ended.
Conclusion judge_lost(ExitReason reason, bool worker_was_started, std::vector<std::string> evidence,
                      const std::optional<OomFinding>& oom = std::nullopt);

}  // namespace jobshim
