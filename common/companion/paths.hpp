// Where things lie in the state directories of codex-companion, and where these lie. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace jobshim {

struct CompanionPaths {
    explicit CompanionPaths(const std::string& state_directory);

    std::string directory;
    std::string index;  // state.json
    std::string jobs;
    std::string own;  // jobshim

    // `id` must be a job id (is_job_id): it may have come from a file that anybody wrote.
    std::string job_file(std::string_view id) const;
    std::string log_file(std::string_view id) const;
    std::string own_record(std::string_view id) const;
    std::string own_stderr(std::string_view id) const;
};

// Where state directories are looked for; the arguments are environment variables and may be null:
// CLAUDE_PLUGIN_DATA, and TMPDIR, TMP, TEMP of which the first that is set counts.
std::vector<std::string> companion_roots(const char* plugin_data, const char* tmpdir,
                                         const char* tmp, const char* temp);

}  // namespace jobshim
