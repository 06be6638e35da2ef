// How jobs and their files are named. Pure.
#pragma once

#include <string>
#include <string_view>

namespace jobshim {

// Every worker is started with this variable: the absolute path of its job file.
constexpr std::string_view job_file_variable = "JOBSHIM_JOB_FILE";

// `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`
bool is_job_id(std::string_view text);
// A file name or path without its .json suffix, if it has one.
std::string without_json(std::string_view name);
// The job id for a file name: without .json, and with other characters replaced by -.
std::string job_id_from_name(std::string_view name);

// The name of the heartbeat file of a job file, which no other job's can have: one of x and one of
// x.json would be each other's lock.
std::string heartbeat_name_of(std::string_view name);
bool is_heartbeat_name(std::string_view name);

// The path of `name` in `directory`, which may be "/".
std::string path_in(std::string_view directory, std::string_view name);

}  // namespace jobshim
