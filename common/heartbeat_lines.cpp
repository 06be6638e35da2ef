#include "common/heartbeat_lines.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <utility>

#include "common/record_json.hpp"
#include "common/record_limits.hpp"
#include "common/units.hpp"

namespace jobshim {

namespace {

// A reader takes 1 MiB of a heartbeat file (heartbeat.cpp).
constexpr std::size_t longest_first_line = std::size_t{256} << 10U;
constexpr std::size_t longest_last_line = std::size_t{512} << 10U;
constexpr std::size_t most_leftovers = 100;

std::string first_line(const RunRecord& run, std::string_view job_file, std::string_view started_at,
                       const std::optional<OomBaseline>& oom) {
    // Key order matters: the first bytes identify the file as ours.
    Json line = {{"jobshim", to_json(run)}, {"job", job_file}, {"startedAt", started_at}};
    if (oom) line["oom"] = to_json(*oom);
    return dump(line) + "\n";
}

std::string last_line(const Conclusion& last) {
    const Json line = {{"exit", to_json(last.exit)},
                       {"status", word(last.status)},
                       {"errorMessage", or_null(last.sentence)}};
    return dump(line) + "\n";
}

}  // namespace

std::string heartbeat_first_line(const RunRecord& run, std::string_view job_file,
                                 std::string_view started_at,
                                 const std::optional<OomBaseline>& oom) {
    std::string line = first_line(run, job_file, started_at, oom);
    if (line.size() <= longest_first_line) return line;
    RunRecord identity = run;
    identity.command.clear();
    identity.raw_command.clear();
    identity.raw_cwd.clear();
    identity.previous.clear();
    identity.source.clear();
    return first_line(identity, job_file, started_at, oom);
}

std::string heartbeat_worker_line(const WorkerIdentity& worker) {
    return dump(Json{{"worker", to_json(worker)}}) + "\n";
}

std::string heartbeat_activity_line(const Activity& activity) {
    constexpr std::size_t length = 96;
    std::string line = dump(Json{{"activity", to_json(activity)}});
    line.resize(std::max(line.size(), length - 1), ' ');
    return line + "\n";
}

std::string heartbeat_last_line(const Conclusion& last) {
    std::string line = last_line(last);
    if (line.size() <= longest_last_line) return line;
    Conclusion shorter = last;
    shorter.exit.tail.reset();
    if (shorter.exit.leftovers.size() > most_leftovers)
        shorter.exit.leftovers.resize(most_leftovers);
    return last_line(shorter);
}

Heartbeat parse_heartbeat(std::string_view text) {
    Heartbeat beat;
    // There are three, and one may be torn.
    int lines_left = 16;
    for (std::size_t end = text.find('\n'); end != std::string_view::npos; end = text.find('\n')) {
        if (lines_left-- == 0) break;
        const Json line = parse_foreign_object(text.substr(0, end));
        text.remove_prefix(end + 1);
        if (!line.is_object()) continue;
        if (const Json run = object_in(line, "jobshim"); run.is_object()) {
            // Only a settler writes a record without a shim, and never to this file.
            auto begun = run_from(run, dump(run));
            if (begun && begun->shim.pid <= 0) begun.reset();
            beat.run = std::move(begun);
            beat.job_file = text_in(line, "job");
            beat.started_at = text_in(line, "startedAt");
            beat.oom = oom_from(object_in(line, "oom"));
        } else if (const Json activity = object_in(line, "activity");
                   activity.is_object() && beat.run) {
            beat.activity = activity_from(activity);
        } else if (const Json worker = object_in(line, "worker"); worker.is_object() && beat.run) {
            beat.run->worker = worker_from(worker);
        } else if (const auto exit = exit_from(object_in(line, "exit")); exit && beat.run) {
            const Status status = status_from(text_in(line, "status"));
            beat.last = Conclusion{*exit, is_final(status) ? status : status_of(exit->reason),
                                   text_in(line, "errorMessage")};
        }
    }
    return beat;
}

std::string cancel_request_text(const CancelRequest& request) {
    return dump(to_json(request), 2) + "\n";
}

std::optional<CancelRequest> parse_cancel_request(std::string_view text) {
    return cancel_from(parse_foreign_object(text));
}

namespace {

constexpr std::string_view short_mark = "cancel.";
constexpr int short_base = 36;

std::string short_number(std::optional<std::int64_t> number) {
    std::array<char, 16> digits;
    if (!number || *number < 0) return "";
    return {digits.data(), std::to_chars(digits.begin(), digits.end(), *number, short_base).ptr};
}

// Takes a number, possibly none, and the full stop after it off the line.
std::optional<std::int64_t> take_number(std::string_view& line, const Range& possible) {
    const std::string_view field = line.substr(0, line.find('.'));
    line.remove_prefix(std::min(field.size() + 1, line.size()));
    std::int64_t number = 0;
    const auto [end, error] =
        std::from_chars(field.data(), field.data() + field.size(), number, short_base);
    if (error != std::errc{} || end != field.data() + field.size() || !possible.contains(number))
        return std::nullopt;
    return number;
}

}  // namespace

std::string short_cancel_request(const CancelRequest& request, std::size_t longest) {
    std::string line(short_mark);
    for (const std::optional<std::int64_t> number :
         {std::optional<std::int64_t>(request.run.pid),
          std::optional<std::int64_t>(request.run.start_time),
          std::optional<std::int64_t>(request.what.by.pid), request.what.by.uid,
          std::optional<std::int64_t>(request.signal), request.kill_after_ms,
          parse_iso_time(request.at)})
        line += short_number(number) + ".";
    std::size_t room = line.size() < longest ? longest - line.size() : 0;
    const std::string& reason = request.what.reason;
    if (reason.size() <= room) return line + reason;
    while (room > 0 && (static_cast<unsigned char>(reason[room]) & 0xC0U) == 0x80) --room;
    return line + reason.substr(0, room);
}

std::optional<CancelRequest> parse_short_cancel_request(std::string_view line) {
    if (!line.starts_with(short_mark)) return std::nullopt;
    line.remove_prefix(short_mark.size());
    CancelRequest request;
    const auto pid = take_number(line, possible_pids);
    const auto start_time = take_number(line, possible_amounts);
    const auto by = take_number(line, possible_pids);
    const auto uid = take_number(line, possible_uids);
    const auto signal = take_number(line, possible_signals);
    request.kill_after_ms = take_number(line, possible_durations_ms);
    const auto at = take_number(line, possible_amounts);
    if (!pid || !at) return std::nullopt;
    request.run.pid = static_cast<int>(*pid);
    if (start_time) request.run.start_time = static_cast<std::uint64_t>(*start_time);
    request.what.by = {"jobctl cancel", std::nullopt, uid, "jobctl"};
    if (by) request.what.by.pid = static_cast<int>(*by);
    if (signal) request.signal = static_cast<int>(*signal);
    request.at = iso_time(*at);
    request.what.reason = to_utf8(std::string(line));
    return request;
}

}  // namespace jobshim
