#include "common/companion/roots.hpp"

#include "common/job_names.hpp"

namespace jobshim {

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
