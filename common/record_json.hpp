// The values of a record as JSON, and back. The only door to nlohmann_json of the writer and the
// readers: for job_document.cpp and heartbeat_lines.cpp. Pure.
//
// Caveats: a file may be forged. A member of another type counts as absent, a number that does not
// fit is none, and what would make sums overflow is clamped.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "common/run_record.hpp"

namespace jobshim {

using Json = nlohmann::ordered_json;

// Never throws: what is not JSON is a discarded value, which is neither object nor anything else.
// For texts that have passed the scanner: nlohmann descends by recursion, and a forged file of
// 50,000 levels would use up the stack.
Json parse_leniently(std::string_view text);

// An object from a file that anybody may have written.
Json parse_foreign_object(std::string_view text);

// Bytes that are not UTF-8 become U+FFFD.
std::string dump(const Json& json, int indent = -1, char indent_char = ' ');

template <class Value>
Json or_null(const std::optional<Value>& value) {
    return value ? Json(*value) : Json(nullptr);
}
Json or_null(const std::string& text);

// A member of an object: "" or null where it is absent or of another type.
std::string text_in(const Json& json, const char* key);
Json object_in(const Json& json, const char* key);

Json to_json(const WorkerIdentity& worker);
Json to_json(const CancelRequest& request);
Json to_json(const OomBaseline& oom);
Json to_json(const ExitRecord& exit);
Json to_json(const RunRecord& run);

// Nothing for what is no such value.
std::optional<WorkerIdentity> worker_from(const Json& json);
std::optional<CancelRequest> cancel_from(const Json& json);
std::optional<OomBaseline> oom_from(const Json& json);
std::optional<ExitRecord> exit_from(const Json& json);
// `source` is the member's text.
std::optional<RunRecord> run_from(const Json& json, std::string_view source);

}  // namespace jobshim
