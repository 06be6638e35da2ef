#include "common/core_pattern.hpp"

#include <algorithm>

namespace jobshim {

std::string describe_core(std::string_view pattern, std::string_view directory) {
    if (pattern.empty()) return "where the core dump went is unknown: core_pattern is empty";
    const std::string quoted = "core_pattern '" + std::string(pattern) + "'";
    if (pattern.front() == '|') {
        const std::string_view command = pattern.substr(1);
        const auto program = command.substr(0, std::min(command.find(' '), command.size()));
        return "core dump piped to " + std::string(program) + " (" + quoted + ")";
    }
    // Since Linux 6.16: a socket instead of a pipe.
    if (pattern.front() == '@')
        return "core dump sent to the socket " +
               std::string(
                   pattern.substr(std::min(pattern.find_first_not_of('@'), pattern.size()))) +
               " (" + quoted + ")";
    if (pattern.front() == '/') return "core dump named by " + quoted;
    return "core dump named by " + quoted + ", relative to the worker's directory (started in " +
           std::string(directory) + ")";
}

}  // namespace jobshim
