#include "common/job_record.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/units.hpp"

namespace jobshim {

namespace {

using Json = nlohmann::ordered_json;

template <class Value>
Json or_null(const std::optional<Value>& value) {
    return value ? Json(*value) : Json(nullptr);
}
Json or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

// Never throws: what is not JSON is a discarded value, which is neither object nor anything else.
// For texts that have passed the scanner: nlohmann descends by recursion, and a forged file of
// 50,000 levels would use up the stack.
Json parse_leniently(std::string_view text) { return Json::parse(text, nullptr, false); }

std::string dump(const Json& json, int indent = -1, char indent_char = ' ') {
    return json.dump(indent, indent_char, false, Json::error_handler_t::replace);
}

// An object from a file that anybody may have written.
Json parse_foreign_object(std::string_view text) {
    return scan_json_object(text).fault == JsonFault::none ? parse_leniently(text)
                                                           : Json(Json::value_t::discarded);
}

// Readers of members that may be absent, null, or (in a forged file) of another type.
template <class Number>
std::optional<Number> number(const Json& json, const char* key) {
    const auto found = json.find(key);
    if (found == json.end() || !found->is_number_integer()) return std::nullopt;
    const auto narrow = [](auto wide) {
        return std::in_range<Number>(wide) ? std::optional(static_cast<Number>(wide))
                                           : std::nullopt;
    };
    return found->is_number_unsigned() ? narrow(found->get<std::uint64_t>())
                                       : narrow(found->get<std::int64_t>());
}
std::string text(const Json& json, const char* key) {
    const auto found = json.find(key);
    return found != json.end() && found->is_string() ? found->get<std::string>() : "";
}
Json object(const Json& json, const char* key) {
    const auto found = json.find(key);
    return found != json.end() && found->is_object() ? *found : Json();
}
std::vector<std::string> texts(const Json& json, const char* key) {
    std::vector<std::string> result;
    if (const auto found = json.find(key); found != json.end() && found->is_array())
        for (const Json& item : *found)
            if (item.is_string()) result.push_back(item.get<std::string>());
    return result;
}

Json to_json(const ShimIdentity& shim) {
    Json json{{"pid", shim.pid},
              {"startTime", or_null(shim.start_time)},
              {"bootId", or_null(shim.boot_id)},
              {"machineId", or_null(shim.machine_id)},
              {"pidNamespace", or_null(shim.pid_namespace)},
              {"host", or_null(shim.host)}};
    if (shim.time_namespace) json["timeNamespace"] = *shim.time_namespace;
    return json;
}

std::optional<ShimIdentity> shim_from(const Json& json) {
    const auto pid = number<int>(json, "pid");
    if (!pid || *pid <= 0) return std::nullopt;
    return ShimIdentity{*pid,
                        number<std::uint64_t>(json, "startTime"),
                        text(json, "bootId"),
                        text(json, "machineId"),
                        number<std::uint64_t>(json, "pidNamespace"),
                        text(json, "host"),
                        number<std::uint64_t>(json, "timeNamespace")};
}

Json to_json(const WorkerIdentity& worker) {
    return {{"pid", worker.pid},
            {"startTime", or_null(worker.start_time)},
            {"group", worker.group == Group::own ? "own" : "share"},
            {"session", or_null(worker.session)}};
}

std::optional<WorkerIdentity> worker_from(const Json& json) {
    const auto pid = number<int>(json, "pid");
    if (!pid || *pid <= 0) return std::nullopt;
    return WorkerIdentity{*pid, number<std::uint64_t>(json, "startTime"),
                          text(json, "group") == "share" ? Group::share : Group::own,
                          number<int>(json, "session")};
}

Json to_json(const Requester& by) {
    return {{"pid", or_null(by.pid)}, {"uid", or_null(by.uid)}, {"command", or_null(by.command)}};
}

Requester requester_from(const Json& json, std::string how) {
    return {std::move(how), number<int>(json, "pid"), number<std::int64_t>(json, "uid"),
            text(json, "command")};
}

Json to_json(const CancelRequest& request) {
    Json json = {{"by", to_json(request.what.by)},
                 {"reason", or_null(request.what.reason)},
                 {"at", request.at}};
    // Those without a name (32 and 33 with glibc) by their number, which is read back likewise.
    if (request.signal)
        json["signal"] = parse_signal(signal_name(*request.signal))
                             ? signal_name(*request.signal)
                             : std::to_string(*request.signal);
    if (request.kill_after_ms) json["killAfterMs"] = *request.kill_after_ms;
    if (request.start_time) json["startTime"] = *request.start_time;
    return json;
}

std::optional<CancelRequest> cancel_from(const Json& json) {
    if (!json.is_object() || text(json, "at").empty()) return std::nullopt;
    auto kill_after = number<std::int64_t>(json, "killAfterMs");
    if (kill_after) kill_after = std::clamp<std::int64_t>(*kill_after, 0, 86'400'000);
    return CancelRequest{
        {requester_from(object(json, "by"), "jobctl cancel"), text(json, "reason")},
        text(json, "at"),
        parse_signal(text(json, "signal")),
        kill_after,
        number<std::uint64_t>(json, "startTime")};
}

Json to_json(const OomBaseline& oom) {
    Json json = {{"group", oom.group}, {"counter", oom.counter}, {"kills", oom.kills}};
    if (oom.group_kills) json["groupKills"] = *oom.group_kills;
    if (oom.kills_below) json["killsBelow"] = *oom.kills_below;
    json["atUs"] = oom.at_us;
    return json;
}

std::optional<OomBaseline> oom_from(const Json& json) {
    const auto kills = number<std::uint64_t>(json, "kills");
    if (!kills) return std::nullopt;
    return OomBaseline{text(json, "group"), text(json, "counter"), *kills,
                       number<std::uint64_t>(json, "groupKills"),
                       number<std::uint64_t>(json, "killsBelow"),
                       // A forged one must not make sums overflow.
                       std::clamp<std::int64_t>(number<std::int64_t>(json, "atUs").value_or(0), 0,
                                                1'000'000'000'000'000)};
}

Json to_json(const Resources& used) {
    Json json = {
        {"userMs", used.user_ms}, {"systemMs", used.system_ms}, {"maxRssKiB", used.max_rss_kib}};
    if (used.group_peak_kib) json["groupPeakKiB"] = *used.group_peak_kib;
    return json;
}

Json to_json(const ExitRecord& exit) {
    Json json = {{"reason", word(exit.reason)},
                 {"certainty", word(exit.certainty)},
                 {"code", or_null(exit.code)},
                 {"signal", or_null(exit.signal)},
                 {"signalName", exit.signal ? Json(signal_name(*exit.signal)) : Json(nullptr)},
                 {"coreDumped", or_null(exit.core_dumped)},
                 {"waitStatus", or_null(exit.wait_status)}};
    if (!exit.errno_name.empty()) json["errno"] = exit.errno_name;
    json["evidence"] = exit.evidence;
    json["requestedBy"] = nullptr;
    if (exit.requested_by) {
        json["requestedBy"] = {{"how", exit.requested_by->how}};
        json["requestedBy"].update(to_json(*exit.requested_by));
    }
    json["endedAt"] = or_null(exit.ended_at);
    json["durationMs"] = or_null(exit.duration_ms);
    json["resources"] = exit.resources ? to_json(*exit.resources) : Json(nullptr);
    json["leftovers"] = Json::array();
    for (const Leftover& left : exit.leftovers)
        json["leftovers"].push_back({{"pid", left.pid}, {"command", left.command}});
    json["tail"] = or_null(exit.tail);
    return json;
}

std::optional<ExitRecord> exit_from(const Json& json) {
    const auto reason = exit_reason_from(text(json, "reason"));
    if (!reason) return std::nullopt;
    ExitRecord exit;
    exit.reason = *reason;
    exit.certainty = certainty_from(text(json, "certainty")).value_or(Certainty::unknown);
    exit.code = number<int>(json, "code");
    exit.signal = number<int>(json, "signal");
    if (const auto found = json.find("coreDumped"); found != json.end() && found->is_boolean())
        exit.core_dumped = found->get<bool>();
    exit.wait_status = number<int>(json, "waitStatus");
    exit.errno_name = text(json, "errno");
    exit.evidence = texts(json, "evidence");
    if (const Json by = object(json, "requestedBy"); by.is_object())
        exit.requested_by = requester_from(by, text(by, "how"));
    exit.ended_at = text(json, "endedAt");
    exit.duration_ms = number<std::int64_t>(json, "durationMs");
    if (const Json used = object(json, "resources"); used.is_object())
        exit.resources = Resources{number<std::int64_t>(used, "userMs").value_or(0),
                                   number<std::int64_t>(used, "systemMs").value_or(0),
                                   number<std::int64_t>(used, "maxRssKiB").value_or(0),
                                   number<std::int64_t>(used, "groupPeakKiB")};
    if (const auto left = json.find("leftovers"); left != json.end() && left->is_array())
        for (const Json& item : *left)
            if (item.is_object())
                exit.leftovers.push_back(
                    {number<int>(item, "pid").value_or(0), text(item, "command")});
    if (const auto found = json.find("tail"); found != json.end() && found->is_string())
        exit.tail = found->get<std::string>();
    return exit;
}

Json to_json(const RunRecord& run) {
    Json json = run.source.empty() ? Json::object() : parse_leniently(run.source);
    if (!json.is_object()) json = Json::object();
    json["schema"] = 1;
    json["version"] = JOBSHIM_VERSION;
    json["shim"] = run.shim.pid > 0 ? to_json(run.shim) : Json(nullptr);
    json["worker"] = run.worker ? to_json(*run.worker) : Json(nullptr);
    json["heartbeat"] = {{"file", run.heartbeat_file}, {"intervalMs", run.interval_ms}};
    json["onShimDeath"] = run.kill_on_shim_death ? "kill" : "keep";
    if (run.expect_record) json["expectRecord"] = true;
    json["log"] = nullptr;
    if (run.log) json["log"] = {{"file", run.log->file}, {"offset", run.log->offset}};
    json["cancel"] = run.cancel ? to_json(*run.cancel) : Json(nullptr);
    json["previous"] = run.previous.empty() ? Json(nullptr) : parse_leniently(run.previous);
    if (json["previous"].is_discarded()) json["previous"] = nullptr;
    json["exit"] = run.exit ? to_json(*run.exit) : Json(nullptr);
    if (!run.command.empty()) json["command"] = run.command;
    if (!run.companion_job.empty()) json["companionJob"] = run.companion_job;
    if (!run.raw_command.empty() || !run.raw_cwd.empty()) {
        Json raw = Json::object();
        if (!run.raw_command.empty()) {
            raw["command"] = Json::array();
            for (const std::string& argument : run.raw_command)
                raw["command"].push_back(base64(argument));
        }
        if (!run.raw_cwd.empty()) raw["cwd"] = base64(run.raw_cwd);
        json["raw"] = raw;
    }
    return json;
}

std::optional<RunRecord> run_from(const Json& json, std::string_view source) {
    if (!json.is_object()) return std::nullopt;
    RunRecord run;
    run.exit = exit_from(object(json, "exit"));
    const auto shim = shim_from(object(json, "shim"));
    // Without one: a job that was settled though no shim had ever supervised it.
    if (!shim && !run.exit) return std::nullopt;
    if (shim) run.shim = *shim;
    run.worker = worker_from(object(json, "worker"));
    const Json beat = object(json, "heartbeat");
    run.heartbeat_file = text(beat, "file");
    // Clamped to what --heartbeat-interval takes: a forged one must not make sums overflow.
    run.interval_ms = std::clamp<std::int64_t>(
        number<std::int64_t>(beat, "intervalMs").value_or(5000), 100, 3'600'000);
    run.kill_on_shim_death = text(json, "onShimDeath") != "keep";
    if (const auto found = json.find("expectRecord"); found != json.end())
        run.expect_record = *found == true;
    if (const Json log = object(json, "log"); log.is_object())
        run.log = LogPlace{text(log, "file"), number<std::int64_t>(log, "offset").value_or(0)};
    run.cancel = cancel_from(object(json, "cancel"));
    if (const Json previous = object(json, "previous"); previous.is_object())
        run.previous = dump(previous);
    run.command = texts(json, "command");
    run.companion_job = text(json, "companionJob");
    run.source = source;
    return run;
}

// How the members of a document are set apart, so that ours look like the host's.
struct Layout {
    std::string line_feed;  // "" for a document on one line
    std::string indent;     // before each member
    std::string separator;  // between the colon and the value

    std::string render(const Json& value) const {
        if (line_feed.empty() || !value.is_structured()) return dump(value);
        const bool tabs = !indent.empty() && indent[0] == '\t';
        const int width = indent.empty() ? 2 : static_cast<int>(indent.size());
        const std::string plain = dump(value, width, tabs ? '\t' : ' ');
        const std::string begin_of_line = line_feed + indent;
        std::string result;
        std::size_t at = 0;
        for (std::size_t feed = 0; (feed = plain.find('\n', at)) != std::string::npos;
             at = feed + 1) {
            result.append(plain, at, feed - at);
            result += begin_of_line;
        }
        return result.append(plain, at);
    }
};

Layout layout_of(const std::string& text, const JsonScan& scan) {
    const std::size_t first = scan.members.empty() ? scan.close : scan.members.front().key_begin;
    const std::string gap = text.substr(scan.open + 1, first - scan.open - 1);
    Layout layout;
    const std::size_t feed = gap.rfind('\n');
    if (feed != std::string::npos) {
        layout.line_feed = feed > 0 && gap[feed - 1] == '\r' ? "\r\n" : "\n";
        layout.indent = gap.substr(feed + 1);
        layout.separator = " ";
        if (scan.members.empty()) layout.indent = "  ";
    }
    return layout;
}

bool is_empty_value(const Json& value) {
    return value.is_null() || ((value.is_array() || value.is_string()) && value.empty()) ||
           (value.is_string() && value.get_ref<const std::string&>().empty());
}

struct Assignment {
    const char* key;
    Json value;
    enum class When { always, absent, absent_or_null } when = When::always;
};

// Puts the assignments into the text. Every other byte stays as and where it is.
std::string assign(const std::string& text, const JsonScan& scan,
                   const std::vector<Assignment>& assignments) {
    const Layout layout = layout_of(text, scan);
    struct Splice {
        std::size_t begin;
        std::size_t end;
        std::string replacement;
    };
    std::vector<Splice> splices;
    std::string added;
    for (const Assignment& assignment : assignments) {
        bool there = false;
        for (const JsonMember& member : scan.members) {
            if (member.key != assignment.key) continue;
            there = true;
            const bool null =
                std::string_view(text).substr(member.value_begin,
                                              member.value_end - member.value_begin) == "null";
            using When = Assignment::When;
            if (assignment.when == When::absent ||
                (assignment.when == When::absent_or_null && !null))
                continue;
            // Of a repeated key every one is set: readers differ in which of them they take.
            splices.push_back(
                {member.value_begin, member.value_end, layout.render(assignment.value)});
        }
        if (there ||
            (assignment.when == Assignment::When::absent && is_empty_value(assignment.value)))
            continue;
        added += added.empty() && scan.members.empty() ? "" : ",";
        added += layout.line_feed + layout.indent + dump(Json(assignment.key)) + ":" +
                 layout.separator + layout.render(assignment.value);
    }
    if (!added.empty()) {
        const std::size_t at = scan.members.empty() ? scan.open + 1 : scan.members.back().value_end;
        splices.push_back({at, at, added});
    }
    std::sort(splices.begin(), splices.end(),
              [](const Splice& a, const Splice& b) { return a.begin < b.begin; });
    std::string result;
    std::size_t at = 0;
    for (const Splice& splice : splices) {
        result.append(text, at, splice.begin - at);
        result += splice.replacement;
        at = splice.end;
    }
    result.append(text, at);
    return result;
}

std::string final_phase(Status status) {
    switch (status) {
        case Status::completed:
            return "done";
        case Status::cancelled:
            return "cancelled";
        case Status::failed:
        case Status::queued:
        case Status::running:
        case Status::none:
        case Status::other:
            return "failed";
    }
    return "failed";
}

}  // namespace

JobDocument JobDocument::parse(std::string text) {
    JobDocument document;
    document.text_ = std::move(text);
    document.scan_ = scan_json_object(document.text_);
    return document;
}

std::optional<std::string_view> JobDocument::value(std::string_view key) const {
    for (auto member = scan_.members.rbegin(); member != scan_.members.rend(); ++member)
        if (member->key == key)
            return std::string_view(text_).substr(member->value_begin,
                                                  member->value_end - member->value_begin);
    return std::nullopt;
}

std::optional<std::string> JobDocument::string(std::string_view key) const {
    const auto raw = value(key);
    if (!raw || raw->front() != '"') return std::nullopt;
    return decode_json_string(*raw);
}

Status JobDocument::status() const {
    if (!value("status")) return Status::none;
    return status_from(string("status").value_or(""));
}

std::optional<RunRecord> JobDocument::run() const {
    const auto raw = value("jobshim");
    return raw ? run_from(parse_leniently(*raw), *raw) : std::nullopt;
}

std::string JobDocument::exit_text() const {
    const auto raw = value("jobshim");
    if (!raw) return "";
    const Json exit = object(parse_leniently(*raw), "exit");
    return exit.is_object() ? dump(exit) : "";
}

std::string JobDocument::end_sentence() const {
    if (auto message = string("errorMessage"); message && !message->empty()) return *message;
    return status() == Status::completed ? "Completed." : "The record gives no reason.";
}

bool JobDocument::has_other_command(const std::vector<std::string>& command) const {
    const auto raw = value("command");
    if (!raw) return false;
    const Json theirs = parse_leniently(*raw);
    return theirs.is_discarded() || theirs != Json(command);
}

std::string JobDocument::command_line() const {
    const auto raw = value("command");
    if (!raw) return "";
    if (raw->front() == '"') return decode_json_string(*raw);
    std::string line;
    if (const Json words = parse_leniently(*raw); words.is_array())
        for (const Json& argument : words)
            if (argument.is_string())
                line += (line.empty() ? "" : " ") + argument.get<std::string>();
    return line;
}

std::string JobDocument::with(const std::vector<Member>& members) const {
    std::vector<Assignment> assignments;
    for (const Member& member : members)
        assignments.push_back({member.key, parse_leniently(member.json)});
    return assign(text_, scan_, assignments);
}

std::string JobDocument::without(const std::vector<std::string_view>& keys) const {
    std::string result = text_.substr(0, scan_.open + 1);
    std::size_t at = scan_.open + 1;  // behind the member before, from its comma on
    bool is_first = true;
    for (const JsonMember& member : scan_.members) {
        if (std::find(keys.begin(), keys.end(), member.key) == keys.end()) {
            const std::size_t comma = text_.find(',', at);
            const std::size_t begin = is_first && comma < member.key_begin ? comma + 1 : at;
            result.append(text_, begin, member.value_end - begin);
            is_first = false;
        }
        at = member.value_end;
    }
    return result.append(text_, at);
}

bool same_host_members(const JobDocument& a, const JobDocument& b) {
    static constexpr std::string_view ours[] = {
        "status", "phase", "pid",     "startedAt", "updatedAt", "completedAt", "errorMessage",
        "id",     "title", "command", "cwd",       "logFile",   "createdAt",   "jobshim"};
    const auto theirs = [](const JobDocument& document) {
        std::vector<std::pair<std::string, std::string_view>> members;
        for (const JsonMember& member : document.scan_.members)
            if (std::find(std::begin(ours), std::end(ours), member.key) == std::end(ours))
                members.emplace_back(member.key, *document.value(member.key));
        return members;
    };
    return theirs(a) == theirs(b);
}

void JobEdit::set_end(const FinalWord& last, const std::string& now) {
    status = last.status;
    phase = final_phase(last.status);
    pid.reset();
    updated_at = now;
    completed_at = last.exit.ended_at.empty() ? now : last.exit.ended_at;
    error_message = last.sentence;
    run.exit = last.exit;
}

std::string JobEdit::applied_to(const JobDocument& document, bool worker_spoke) const {
    using When = Assignment::When;
    std::vector<Assignment> ours;
    if (worker_spoke) {
        ours = {{"pid", or_null(pid)}};
        if (!completed_at.empty())
            ours.push_back({"completedAt", completed_at, When::absent_or_null});
    } else {
        ours = {{"id", id, When::absent},
                {"title", title, When::absent},
                {"status", word(status)},
                {"phase", phase},
                {"pid", or_null(pid)},
                {"command", command, When::absent},
                {"cwd", cwd, When::absent},
                {"logFile", log_file, When::absent},
                {"createdAt", created_at, When::absent}};
        if (!started_at.empty()) ours.push_back({"startedAt", started_at});
        ours.push_back({"updatedAt", updated_at});
        ours.push_back({"completedAt", or_null(completed_at)});
        ours.push_back({"errorMessage", or_null(error_message)});
    }
    ours.push_back({"jobshim", to_json(run)});
    return assign(document.text_, document.scan_, ours);
}

std::string JobEdit::as_new_file() const { return applied_to(JobDocument::parse("{\n}\n"), false); }

std::string heartbeat_first_line(const RunRecord& run, std::string_view job_file,
                                 std::string_view started_at,
                                 const std::optional<OomBaseline>& oom) {
    // The key order matters: the file is known as ours by its first bytes.
    Json line = {{"jobshim", to_json(run)}, {"job", job_file}, {"startedAt", started_at}};
    if (oom) line["oom"] = to_json(*oom);
    return dump(line) + "\n";
}

std::string heartbeat_worker_line(const WorkerIdentity& worker) {
    return dump(Json{{"worker", to_json(worker)}}) + "\n";
}

std::string heartbeat_last_line(const FinalWord& last) {
    const Json line = {{"exit", to_json(last.exit)},
                       {"status", word(last.status)},
                       {"errorMessage", or_null(last.sentence)}};
    return dump(line) + "\n";
}

Heartbeat parse_heartbeat(std::string_view text) {
    Heartbeat beat;
    for (std::size_t end = text.find('\n'); end != std::string_view::npos; end = text.find('\n')) {
        const Json line = parse_foreign_object(text.substr(0, end));
        text.remove_prefix(end + 1);
        if (!line.is_object()) continue;
        if (const Json run = object(line, "jobshim"); run.is_object()) {
            // One without a shim is the settler's way to write, and never here.
            auto begun = run_from(run, dump(run));
            if (begun && begun->shim.pid <= 0) begun.reset();
            beat.run = std::move(begun);
            beat.job_file = jobshim::text(line, "job");
            beat.started_at = jobshim::text(line, "startedAt");
            beat.oom = oom_from(object(line, "oom"));
        } else if (const Json worker = object(line, "worker"); worker.is_object() && beat.run) {
            beat.run->worker = worker_from(worker);
        } else if (const auto exit = exit_from(object(line, "exit")); exit && beat.run) {
            const Status status = status_from(jobshim::text(line, "status"));
            beat.last = FinalWord{*exit, is_terminal(status) ? status : status_of(exit->reason),
                                  jobshim::text(line, "errorMessage")};
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

std::string run_text(const RunRecord& run) { return dump(to_json(run)); }

std::string json_string(std::string_view text) { return dump(Json(text)); }

}  // namespace jobshim
