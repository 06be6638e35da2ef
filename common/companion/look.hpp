// What the files of a state directory say now, though their writers truncate and write.
//
// A file that is empty or torn is waited for, never taken for an empty state.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "common/atomic_file.hpp"
#include "common/companion/paths.hpp"
#include "common/companion/remedy.hpp"

namespace jobshim {

// Something of the plugin's or of ours is in it.
bool is_companion_directory(const std::string& path);

// Reads a file of theirs. One that is empty or torn is waited for until nobody has touched it for
// `patience`. Nothing if it is gone. Throws std::system_error or Refusal.
struct TheirFile {
    std::string text;
    FileStamp stamp;
    bool whole = false;
    // Two of them opened the file before either wrote, and the shorter text was written last:
    // behind `text`, which is all of that, the rest of the longer one stands. Nobody but us can
    // read it.
    bool has_remains = false;
};
std::optional<TheirFile> read_theirs(const std::string& path, std::chrono::milliseconds patience);

// What the job file and the index say of a job now. Throws likewise.
CompanionSight look_at_companion(const CompanionPaths& places, const std::string& id,
                                 std::chrono::milliseconds patience);

// The log has a line that says so: see says_cancelled. False also for one that cannot be read.
bool log_says_cancelled(const CompanionPaths& places, const std::string& id, std::int64_t since);

}  // namespace jobshim
