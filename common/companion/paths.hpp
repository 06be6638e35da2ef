// The paths in a state directory of codex-companion, and where such directories are. Pure.
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
    std::string own;  // our subdirectory, jobshim

    // `id` must be a job id (is_job_id), because it may come from an untrusted file.
    std::string job_file(std::string_view id) const;
    std::string log_file(std::string_view id) const;
    std::string own_record(std::string_view id) const;
    std::string own_stderr(std::string_view id) const;
};

// Where to look for state directories. The arguments are environment variables and may be null:
// CLAUDE_PLUGIN_DATA, and TMPDIR, TMP and TEMP, of which the first that is set counts.
std::vector<std::string> companion_roots(const char* plugin_data, const char* tmpdir,
                                         const char* tmp, const char* temp);

}  // namespace jobshim
