#include "common/job_names.hpp"

namespace jobshim {

namespace {

bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

}  // namespace

bool is_job_id(std::string_view text) {
    if (text.empty() || text.size() > 128 || !is_word(text[0])) return false;
    for (const char c : text)
        if (!is_word(c) && c != '.' && c != '_' && c != '-') return false;
    return true;
}

std::string without_json(std::string_view name) {
    if (name.ends_with(".json")) name.remove_suffix(5);
    return std::string(name);
}

std::string job_id_from_name(std::string_view name) {
    std::string id;
    for (const char c : without_json(name)) id += is_word(c) || c == '.' || c == '_' ? c : '-';
    id.erase(0, id.find_first_not_of("._-"));
    if (id.size() > 128) id.resize(128);
    return id.empty() ? "job" : id;
}

namespace {

constexpr std::string_view ending = ".heartbeat";
// For a job file that does not end in .json.
constexpr std::string_view other_ending = ".jobshim-heartbeat";

}  // namespace

std::string heartbeat_name_of(std::string_view name) {
    const bool is_json = name.ends_with(".json") && name != ".json";
    return is_json ? without_json(name).append(ending) : std::string(name).append(other_ending);
}

bool is_heartbeat_name(std::string_view name) {
    return name.ends_with(ending) || name.ends_with(other_ending);
}

std::string path_in(std::string_view directory, std::string_view name) {
    std::string path(directory == "/" ? "" : directory);
    return path.append("/").append(name);
}

}  // namespace jobshim
