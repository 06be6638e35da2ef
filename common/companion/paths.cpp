#include "common/companion/paths.hpp"

#include "common/job_names.hpp"

namespace jobshim {

CompanionPaths::CompanionPaths(const std::string& state_directory)
    : directory(state_directory),
      index(path_in(directory, "state.json")),
      jobs(path_in(directory, "jobs")),
      own(path_in(directory, "jobshim")) {}

std::string CompanionPaths::job_file(std::string_view id) const {
    return path_in(jobs, std::string(id) + ".json");
}
std::string CompanionPaths::log_file(std::string_view id) const {
    return path_in(jobs, std::string(id) + ".log");
}
std::string CompanionPaths::own_record(std::string_view id) const {
    return path_in(own, std::string(id) + ".json");
}
std::string CompanionPaths::own_stderr(std::string_view id) const {
    return path_in(own, std::string(id) + ".stderr");
}

std::vector<std::string> companion_roots(const char* plugin_data, const char* tmpdir,
                                         const char* tmp, const char* temp) {
    std::vector<std::string> roots;
    if (plugin_data != nullptr && *plugin_data != '\0')
        roots.push_back(path_in(plugin_data, "state"));
    std::string directory = "/tmp";
    for (const char* candidate : {tmpdir, tmp, temp})
        if (candidate != nullptr && *candidate != '\0') {
            directory = candidate;
            break;
        }
    if (directory.size() > 1 && directory.ends_with('/')) directory.pop_back();
    roots.push_back(path_in(directory, "codex-companion"));
    return roots;
}

}  // namespace jobshim
