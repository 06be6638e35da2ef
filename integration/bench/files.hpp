// Directories to work in, and what /proc shows.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace bench {

// A new directory in `parent`, removed with everything in it.
class TempDirectory {
public:
    explicit TempDirectory(const std::string& parent);
    ~TempDirectory();
    TempDirectory(const TempDirectory&) = delete;
    TempDirectory& operator=(const TempDirectory&) = delete;
    std::string operator/(const std::string& name) const { return path + "/" + name; }
    std::string path;
};

std::string file_system_of(const std::string& path);  // "ext4"; "" if it is not one we know
std::string text_of(const std::string& path);         // "" if it cannot be read

// The number after "KEY:" in a /proc file; 0 if there is none.
double number_in(const std::string& path, const std::string& key);

struct Process {
    pid_t pid = 0;
    pid_t parent = 0;
    char state = 0;
    std::string name;
};
std::vector<Process> processes();
// All descendants of the bench.
std::vector<Process> descendants();

// True if it is asleep and has a file descriptor whose link contains this: "inotify", "pidfd".
bool sleeps_with(pid_t pid, const std::string& link);

}  // namespace bench
