#pragma once

// The files of a test: reading, writing and cleaning up.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "integration/support/text.hpp"

namespace harness {

namespace fs = std::filesystem;

std::string slurp(const fs::path& file);
void put(const fs::path& file, std::string_view content);  ///< truncates, then writes, as hosts do
/// Names in `directory` that contain `part`, sorted.
Words names_in(const fs::path& directory, std::string_view part);
/// Nanoseconds since the epoch; -1 if there is no such file.
std::int64_t mtime_of(const fs::path& file);
fs::path fixture(const std::string& name);

class TempDir {
public:
    TempDir();
    ~TempDir();
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;
    const fs::path path;
};

}  // namespace harness
