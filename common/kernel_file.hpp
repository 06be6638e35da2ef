// Files of /proc, /sys and cgroupfs: small, and perhaps gone the next moment.
#pragma once

#include <cstddef>
#include <string>

namespace jobshim {

// "" if it cannot be read. Stops at the first read that reaches `limit` bytes.
std::string read_kernel_file(const std::string& path, std::size_t limit = 4096);

// The same, up to the first line feed.
std::string first_line_of_kernel_file(const std::string& path);

}  // namespace jobshim
