#include "common/companion/roots.hpp"

#include "common/job_names.hpp"

namespace jobshim {

namespace {

bool is_set(const char* variable) { return variable != nullptr && *variable != '\0'; }

// As Node's os.tmpdir().
std::string temporary_directory(const CompanionVariables& variables) {
    for (const char* candidate : {variables.tmpdir, variables.tmp, variables.temp}) {
        if (!is_set(candidate)) continue;
        std::string directory = candidate;
        if (directory.size() > 1 && directory.ends_with('/')) directory.pop_back();
        return directory;
    }
    return "/tmp";
}

}  // namespace

std::vector<CompanionRoot> companion_roots(const CompanionVariables& variables) {
    std::vector<CompanionRoot> roots;
    if (is_set(variables.claude_plugin_data))
        roots.push_back({path_in(variables.claude_plugin_data, "state")});
    std::string claude;
    if (is_set(variables.claude_config_dir))
        claude = variables.claude_config_dir;
    else if (is_set(variables.home))
        claude = path_in(variables.home, ".claude");
    if (!claude.empty()) roots.push_back({path_in(claude, "plugins/data"), true, "", "state"});
    const std::string temporary = temporary_directory(variables);
    roots.push_back({temporary, true, "-companion"});  // its kin's
    roots.push_back({path_in(temporary, "codex-companion")});
    return roots;
}

std::string CompanionRoot::describe() const {
    if (!each) return path;
    const std::string all = path_in(path, "*" + ending);
    return below.empty() ? all : path_in(all, below);
}

}  // namespace jobshim
