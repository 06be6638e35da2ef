// Where the kernel puts core dumps, as it says itself (core(5)).
#pragma once

#include <string>
#include <string_view>

namespace jobshim {

// /proc/sys/kernel/core_pattern; "" if it cannot be read.
std::string read_core_pattern();

// Pure: where a core of a process went that was started in `directory`. What the pattern's
// specifiers (%p and the like) stood for is not guessed.
std::string core_in_words(std::string_view pattern, std::string_view directory);

}  // namespace jobshim
