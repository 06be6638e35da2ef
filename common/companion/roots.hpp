// Where the state directories of codex-companion and its kin are. Pure.
#pragma once

#include <string>
#include <vector>

namespace jobshim {

// A directory of state directories; or, with `each`, many: those in `path` whose names end in
// `ending`, or a directory `below` each of these.
struct CompanionRoot {
    std::string path;
    bool each = false;
    std::string ending = {};
    std::string below = {};

    // As a shell's pattern.
    std::string describe() const;
    bool operator==(const CompanionRoot&) const = default;
};

// Environment variables, which may be null. Of the last three, the first that is set counts.
struct CompanionVariables {
    const char* claude_plugin_data = nullptr;  // only Claude's own processes have it
    const char* claude_config_dir = nullptr;
    const char* home = nullptr;
    const char* tmpdir = nullptr;
    const char* tmp = nullptr;
    const char* temp = nullptr;
};

// In the order in which they are looked at.
std::vector<CompanionRoot> companion_roots(const CompanionVariables& variables);

}  // namespace jobshim
