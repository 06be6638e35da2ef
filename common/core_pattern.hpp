// Where the kernel puts core dumps, according to core_pattern (core(5)).
#pragma once

#include <string>
#include <string_view>

namespace jobshim {

// /proc/sys/kernel/core_pattern; "" if it cannot be read.
std::string read_core_pattern();

// Pure: where the core dump of a process started in `directory` went. Does not guess what the
// pattern's specifiers (%p and the like) expanded to.
std::string describe_core(std::string_view pattern, std::string_view directory);

}  // namespace jobshim
