// How jobs and their files are named. Pure.
#pragma once

#include <string>
#include <string_view>

namespace jobshim {

// `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`
bool is_job_id(std::string_view text);
// The name, or the path, of a file without its .json; as it is if it has none.
std::string without_json(std::string_view name);
// From a file's name: without .json, other characters as -.
std::string job_id_from_name(std::string_view name);

// The path of a file in a directory, which may be "/".
std::string path_in(std::string_view directory, std::string_view name);

}  // namespace jobshim
