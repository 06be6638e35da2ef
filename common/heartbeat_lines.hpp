// The lines of the heartbeat file (docs/record.md), and the cancel request. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/run_record.hpp"

namespace jobshim {

// Lines of the heartbeat file, each ending in a line feed. They are bounded, so that every reader
// reads all of them: what only the job file needs to say (the command) is left out of a long first
// line, and the tail and all but some of the leftovers out of a long last line.
std::string heartbeat_first_line(const RunRecord& run, std::string_view job_file,
                                 std::string_view started_at,
                                 const std::optional<OomBaseline>& oom = {});
std::string heartbeat_last_line(const Conclusion& last);
// Every heartbeat file starts with these bytes.
constexpr std::string_view heartbeat_magic = R"({"jobshim":)";

struct Heartbeat {
    std::optional<RunRecord> run;  // includes the worker, if its line is there
    std::string job_file;
    std::string started_at;
    std::optional<OomBaseline> oom;  // untrusted: `counter` may be any path
    std::optional<Activity> activity;
    std::optional<Conclusion> last;
};

// Reads the complete lines; never fails.
Heartbeat parse_heartbeat(std::string_view text);

// The second line, which the worker's process writes about itself.
std::string heartbeat_worker_line(const WorkerIdentity& worker);

// The line after the first, of a shim that looks for signs of work. It always has the same length,
// because it is written over at each beat.
std::string heartbeat_activity_line(const Activity& activity);

// NAME.cancel
std::string cancel_request_text(const CancelRequest& request);
std::optional<CancelRequest> parse_cancel_request(std::string_view text);

// The same in a line that fits into the target of a symbolic link: on a full disk there is room for
// no more. The reason is cut where the line would be longer than `longest`; the boot is left out.
std::string short_cancel_request(const CancelRequest& request, std::size_t longest);
std::optional<CancelRequest> parse_short_cancel_request(std::string_view line);

}  // namespace jobshim
