#include "common/record_json.hpp"

#include <cstdint>
#include <utility>
#include <vector>

#include "common/json_text.hpp"
#include "common/record_limits.hpp"
#include "common/units.hpp"

namespace jobshim {

namespace {

// An exit has 14, and `jobshim` 16.
constexpr std::size_t most_members_of_ours = 256;
// Each costs some 100 bytes. A command line of 2 MiB, which is what Linux allows, has fewer words.
constexpr std::size_t most_values_of_ours = 262'144;

// For members that may be absent, null, or (in a forged file) of another type, or impossible.
std::optional<std::uint64_t> natural(const Json& json, const char* key) {
    const auto found = json.find(key);
    if (found == json.end() || !found->is_number_unsigned()) return std::nullopt;
    return found->get<std::uint64_t>();
}

template <class Number = std::int64_t>
std::optional<Number> number(const Json& json, const char* key, const Range& possible) {
    const auto found = natural(json, key);
    if (!found || !possible.contains(*found)) return std::nullopt;
    return static_cast<Number>(*found);
}

std::vector<std::string> texts(const Json& json, const char* key,
                               std::size_t most = std::string::npos) {
    std::vector<std::string> result;
    if (const auto found = json.find(key); found != json.end() && found->is_array())
        for (const Json& item : *found)
            if (item.is_string() && result.size() < most) result.push_back(item.get<std::string>());
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
    const auto pid = number<int>(json, "pid", possible_pids);
    if (!pid) return std::nullopt;
    return possible_part_of({*pid, natural(json, "startTime"), text_in(json, "bootId"),
                             text_in(json, "machineId"), natural(json, "pidNamespace"),
                             text_in(json, "host"), natural(json, "timeNamespace")});
}

// Nothing without an offset: what is before it may be another job's.
std::optional<LogStart> log_from(const Json& json, const Json& raw) {
    std::string file = text_in(json, "file");
    // The exact bytes, if they are those of this very path.
    if (auto exact = from_base64(text_in(raw, "log")); exact && to_utf8(*exact) == file)
        file = *std::move(exact);
    const auto offset = number(json, "offset", possible_amounts);
    if (file.empty() || file.find(char{}) != std::string::npos || !offset) return std::nullopt;
    return LogStart{std::move(file), *offset, number(json, "end", possible_amounts)};
}

Json to_json(const Requester& by) {
    return {{"pid", or_null(by.pid)}, {"uid", or_null(by.uid)}, {"command", or_null(by.command)}};
}

Requester requester_from(const Json& json, std::string how) {
    return {std::move(how), number<int>(json, "pid", possible_pids),
            number(json, "uid", possible_uids), text_in(json, "command")};
}

Json to_json(const Resources& used) {
    Json json = {
        {"userMs", used.user_ms}, {"systemMs", used.system_ms}, {"maxRssKiB", used.max_rss_kib}};
    if (used.group_peak_kib) json["groupPeakKiB"] = *used.group_peak_kib;
    return json;
}

}  // namespace

Json or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

Json parse_leniently(std::string_view text) {
    const JsonSize size = json_size(text);
    return size.most_members > most_members_of_ours || size.values > most_values_of_ours
               ? Json(Json::value_t::discarded)
               : Json::parse(text, nullptr, false);
}

std::string dump(const Json& json, int indent, char indent_char) {
    return json.dump(indent, indent_char, false, Json::error_handler_t::replace);
}

Json parse_foreign_object(std::string_view text) {
    return scan_json_object(text).fault == JsonFault::none ? parse_leniently(text)
                                                           : Json(Json::value_t::discarded);
}

std::string text_in(const Json& json, const char* key) {
    const auto found = json.find(key);
    return found != json.end() && found->is_string() ? found->get<std::string>() : "";
}

Json object_in(const Json& json, const char* key) {
    const auto found = json.find(key);
    return found != json.end() && found->is_object() ? *found : Json();
}

Json to_json(const WorkerIdentity& worker) {
    return {{"pid", worker.pid},
            {"startTime", or_null(worker.start_time)},
            {"group", worker.group == Group::own ? "own" : "share"},
            {"session", or_null(worker.session)}};
}

std::optional<WorkerIdentity> worker_from(const Json& json) {
    const auto pid = number<int>(json, "pid", possible_pids);
    if (!pid) return std::nullopt;
    return WorkerIdentity{*pid, natural(json, "startTime"),
                          text_in(json, "group") == "share" ? Group::share : Group::own,
                          number<int>(json, "session", possible_sessions)};
}

Json to_json(const CancelRequest& request) {
    Json json = {{"by", to_json(request.what.by)},
                 {"reason", or_null(request.what.reason)},
                 {"at", request.at}};
    // A signal without a name (32 and 33 with glibc) goes by number; parse_signal reads both.
    if (request.signal)
        json["signal"] = parse_signal(signal_name(*request.signal))
                             ? signal_name(*request.signal)
                             : std::to_string(*request.signal);
    if (request.kill_after_ms) json["killAfterMs"] = *request.kill_after_ms;
    if (request.start_time) json["startTime"] = *request.start_time;
    if (request.run.pid > 0) json["run"] = to_json(request.run);
    return json;
}

std::optional<CancelRequest> cancel_from(const Json& json) {
    if (!json.is_object() || text_in(json, "at").empty()) return std::nullopt;
    return CancelRequest{
        {requester_from(object_in(json, "by"), "jobctl cancel"), text_in(json, "reason")},
        text_in(json, "at"),
        parse_signal(text_in(json, "signal")),
        number(json, "killAfterMs", possible_durations_ms),
        natural(json, "startTime"),
        shim_from(object_in(json, "run")).value_or(ShimIdentity{})};
}

Json to_json(const OomBaseline& oom) {
    Json json = {{"group", oom.group}, {"counter", oom.counter}, {"kills", oom.kills}};
    if (oom.group_kills) json["groupKills"] = *oom.group_kills;
    if (oom.kills_below) json["killsBelow"] = *oom.kills_below;
    json["atUs"] = oom.at_us;
    return json;
}

std::optional<OomBaseline> oom_from(const Json& json) {
    const auto kills = number<std::uint64_t>(json, "kills", possible_amounts);
    // Without a time, a kill before the run would be taken for one during it.
    const auto at_us = number(json, "atUs", possible_amounts);
    if (!kills || !at_us) return std::nullopt;
    return OomBaseline{text_in(json, "group"),
                       text_in(json, "counter"),
                       *kills,
                       number<std::uint64_t>(json, "groupKills", possible_amounts),
                       number<std::uint64_t>(json, "killsBelow", possible_amounts),
                       *at_us};
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
    const auto reason = exit_reason_from(text_in(json, "reason"));
    if (!reason) return std::nullopt;
    ExitRecord exit;
    exit.reason = *reason;
    exit.certainty = certainty_from(text_in(json, "certainty")).value_or(Certainty::unknown);
    exit.code = number<int>(json, "code", possible_exit_codes);
    exit.signal = number<int>(json, "signal", possible_signals);
    if (const auto found = json.find("coreDumped"); found != json.end() && found->is_boolean())
        exit.core_dumped = found->get<bool>();
    exit.wait_status = number<int>(json, "waitStatus", possible_wait_statuses);
    exit.errno_name = text_in(json, "errno");
    exit.evidence = texts(json, "evidence", most_evidence);
    if (const Json by = object_in(json, "requestedBy"); by.is_object())
        exit.requested_by = requester_from(by, text_in(by, "how"));
    exit.ended_at = text_in(json, "endedAt");
    exit.duration_ms = number(json, "durationMs", possible_durations_ms);
    if (const Json used = object_in(json, "resources"); used.is_object())
        exit.resources = Resources{number(used, "userMs", possible_amounts).value_or(0),
                                   number(used, "systemMs", possible_amounts).value_or(0),
                                   number(used, "maxRssKiB", possible_amounts).value_or(0),
                                   number(used, "groupPeakKiB", possible_amounts)};
    if (const auto left = json.find("leftovers"); left != json.end() && left->is_array())
        for (const Json& item : *left)
            if (const auto pid = number<int>(item, "pid", possible_pids))
                exit.leftovers.push_back({*pid, text_in(item, "command")});
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
    if (run.stall_after_ms) json["heartbeat"]["stallAfterMs"] = *run.stall_after_ms;
    json["onShimDeath"] = run.kill_on_shim_death ? "kill" : "keep";
    if (run.expect_record) json["expectRecord"] = true;
    json["log"] = nullptr;
    if (run.log) json["log"] = {{"file", to_utf8(run.log->file)}, {"offset", run.log->offset}};
    if (run.log && run.log->end) json["log"]["end"] = *run.log->end;
    json["cancel"] = run.cancel ? to_json(*run.cancel) : Json(nullptr);
    json["previous"] = run.previous.empty() ? Json(nullptr) : parse_leniently(run.previous);
    if (json["previous"].is_discarded()) json["previous"] = nullptr;
    json["exit"] = run.exit ? to_json(*run.exit) : Json(nullptr);
    if (!run.command.empty()) json["command"] = run.command;
    if (!run.companion_job.empty()) json["companionJob"] = run.companion_job;
    const bool is_raw_log = run.log && to_utf8(run.log->file) != run.log->file;
    if (!run.raw_command.empty() || !run.raw_cwd.empty() || is_raw_log) {
        Json raw = object_in(json, "raw");
        if (!run.raw_command.empty()) {
            raw["command"] = Json::array();
            for (const std::string& argument : run.raw_command)
                raw["command"].push_back(base64(argument));
        }
        if (!run.raw_cwd.empty()) raw["cwd"] = base64(run.raw_cwd);
        if (is_raw_log) raw["log"] = base64(run.log->file);
        json["raw"] = raw;
    }
    return json;
}

Json to_json(const Activity& activity) {
    return {{"silentMs", or_null(activity.silent_ms)}, {"noCpuMs", activity.no_cpu_ms}};
}

std::optional<Activity> activity_from(const Json& json) {
    const auto no_cpu = number(json, "noCpuMs", possible_durations_ms);
    if (!no_cpu) return std::nullopt;
    return Activity{number(json, "silentMs", possible_durations_ms), *no_cpu};
}

std::optional<RunRecord> run_from(const Json& json, std::string_view source) {
    if (!json.is_object()) return std::nullopt;
    RunRecord run;
    run.exit = exit_from(object_in(json, "exit"));
    const auto shim = shim_from(object_in(json, "shim"));
    // No shim: the job was settled although no shim had ever supervised it.
    if (!shim && !run.exit) return std::nullopt;
    if (shim) run.shim = *shim;
    run.worker = worker_from(object_in(json, "worker"));
    const Json beat = object_in(json, "heartbeat");
    run.heartbeat_file = text_in(beat, "file");
    run.interval_ms = number(beat, "intervalMs", possible_intervals_ms).value_or(run.interval_ms);
    run.stall_after_ms = number(beat, "stallAfterMs", possible_durations_ms);
    run.kill_on_shim_death = text_in(json, "onShimDeath") != "keep";
    if (const auto found = json.find("expectRecord"); found != json.end())
        run.expect_record = *found == true;
    run.log = log_from(object_in(json, "log"), object_in(json, "raw"));
    run.cancel = cancel_from(object_in(json, "cancel"));
    if (const Json previous = object_in(json, "previous"); previous.is_object())
        run.previous = dump(previous);
    run.command = texts(json, "command");
    run.companion_job = text_in(json, "companionJob");
    run.source = source;
    return run;
}

}  // namespace jobshim
