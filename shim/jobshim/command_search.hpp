// Finds COMMAND as execvp(3) does, but before the fork, so that a failure does not cost one.
#pragma once

#include <string>

namespace jobshim {

struct FoundCommand {
    std::string path;  // what to execute, or where the search failed; "" if there is no such file
    int error = 0;     // errno; 0 if it was found
};
FoundCommand find_command(const std::string& name);

// Why no file with that name was found: `path` is where it was looked for ("" if that was PATH).
std::string describe_not_found(const std::string& name, const std::string& path);

}  // namespace jobshim
