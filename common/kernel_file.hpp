// Files in /proc, /sys and cgroupfs: small, and possibly gone the next moment.
#pragma once

#include <cstddef>
#include <string>

namespace jobshim {

// "" if it cannot be read. Stops at the first read that reaches `limit` bytes.
std::string read_kernel_file(const std::string& path, std::size_t limit = 4096);

// Reads a file that the kernel produces as one line, such as /proc/PID/stat, including its line
// feed.
std::string read_kernel_line(const std::string& path);

// The first line of such a file, without its line feed.
std::string first_line_of_kernel_file(const std::string& path);

}  // namespace jobshim
