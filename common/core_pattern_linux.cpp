#include "common/core_pattern.hpp"

#include "common/kernel_file.hpp"

namespace jobshim {

std::string read_core_pattern() {
    return first_line_of_kernel_file("/proc/sys/kernel/core_pattern");
}

}  // namespace jobshim
