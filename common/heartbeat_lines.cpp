#include "common/heartbeat_lines.hpp"

#include <utility>

#include "common/record_json.hpp"

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

}  // namespace jobshim
