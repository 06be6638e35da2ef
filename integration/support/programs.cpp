#include "integration/support/programs.hpp"

#include <cstdlib>

#include "integration/support/files.hpp"

namespace harness {

std::string program(const std::string& name, const std::string& built) {
    const char* directory = std::getenv("JOBSHIM_TEST_BIN");
    return directory == nullptr ? built : (fs::absolute(directory) / name).string();
}

bool is_sanitized() {
    static const bool answer = contains(slurp(jobshim), "__asan_init");
    return answer;
}

bool is_linked_with_glibc() {
    // It names the library, or a variable that every static glibc program looks for.
    const auto bytes = slurp(jobshim);
    return contains(bytes, "libc.so.6") || contains(bytes, "GLIBC_TUNABLES");
}

}  // namespace harness
