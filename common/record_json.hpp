// The values of a record as JSON, and back. The writer and the readers use nlohmann_json only
// through this header: it is for job_document.cpp and heartbeat_lines.cpp. Pure.
//
// Caveats: a file may be forged. A member of the wrong type counts as absent, and so does a value
// beyond record_limits.hpp. What is absent does not make the rest unreadable, except for the pid of
// an identity, the reason of an exit, the time of a request, and the place of a log or counter in
// time: without it, there is no such value.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "common/run_record.hpp"

namespace jobshim {

using Json = nlohmann::ordered_json;

// Never throws: text that is not JSON yields a discarded value, which passes no type check. So does
// text in which an object has more members than any of ours: Json compares each key with all before
// it, and a forged file would take minutes. Only for text that has passed the scanner: nlohmann
// descends recursively, and a forged file 50,000 levels deep would exhaust the stack.
Json parse_leniently(std::string_view text);

// An object from an untrusted file.
Json parse_foreign_object(std::string_view text);

// Invalid UTF-8 becomes U+FFFD.
std::string dump(const Json& json, int indent = -1, char indent_char = ' ');

template <class Value>
Json or_null(const std::optional<Value>& value) {
    return value ? Json(*value) : Json(nullptr);
}
Json or_null(const std::string& text);

// A member of an object; "" or null if it is absent or has another type.
std::string text_in(const Json& json, const char* key);
Json object_in(const Json& json, const char* key);

Json to_json(const WorkerIdentity& worker);
Json to_json(const CancelRequest& request);
Json to_json(const OomBaseline& oom);
Json to_json(const ExitRecord& exit);
Json to_json(const RunRecord& run);

// Nothing if `json` is not such a value.
std::optional<WorkerIdentity> worker_from(const Json& json);
std::optional<CancelRequest> cancel_from(const Json& json);
std::optional<OomBaseline> oom_from(const Json& json);
std::optional<ExitRecord> exit_from(const Json& json);
// `source` is the member's text.
Json to_json(const Activity& activity);
std::optional<Activity> activity_from(const Json& json);

std::optional<RunRecord> run_from(const Json& json, std::string_view source);

}  // namespace jobshim
