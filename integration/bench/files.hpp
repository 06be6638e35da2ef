// Folders to work in, and what /proc tells.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace bench {

// A new folder in `parent`, removed with all that is in it.
class Folder {
public:
    explicit Folder(const std::string& parent);
    ~Folder();
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    std::string operator/(const std::string& name) const { return path + "/" + name; }
    std::string path;
};

std::string file_system_of(const std::string& path);  // "ext4"; "" if it is none that we know
std::string text_of(const std::string& path);         // "" if it cannot be read

// The number behind "KEY:" in a file of /proc; 0 if there is none.
double number_in(const std::string& path, const std::string& key);

struct Process {
    pid_t pid = 0;
    pid_t parent = 0;
    char state = 0;
    std::string name;
};
std::vector<Process> processes();
// Those that the bench has started, and theirs.
std::vector<Process> descendants();

// True if it sleeps and holds a descriptor whose link contains this: "inotify", "pidfd".
bool sleeps_with(pid_t pid, const std::string& link);

}  // namespace bench
