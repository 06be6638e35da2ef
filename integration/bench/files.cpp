#include "integration/bench/files.hpp"

#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "integration/bench/process.hpp"

namespace bench {

namespace fs = std::filesystem;

TempDirectory::TempDirectory(const std::string& parent) : path(parent + "/jobshim-bench-XXXXXX") {
    must(::mkdtemp(path.data()) != nullptr, "create a directory in " + parent);
}

TempDirectory::~TempDirectory() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
}

std::string file_system_of(const std::string& path) {
    struct statfs info {};
    if (::statfs(path.c_str(), &info) != 0) return "";
    switch (static_cast<unsigned long>(info.f_type)) {
        case TMPFS_MAGIC:
            return "tmpfs";
        case EXT4_SUPER_MAGIC:
            return "ext4";
        case XFS_SUPER_MAGIC:
            return "xfs";
        case BTRFS_SUPER_MAGIC:
            return "btrfs";
        case OVERLAYFS_SUPER_MAGIC:
            return "overlay";
    }
    return "";
}

std::string text_of(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

double number_in(const std::string& path, const std::string& key) {
    const std::string text = text_of(path);
    const std::size_t at = text.find("\n" + key + ":");
    return at == std::string::npos ? 0 : std::strtod(text.c_str() + at + key.size() + 2, nullptr);
}

std::vector<Process> processes() {
    std::vector<Process> all;
    for (const auto& entry : fs::directory_iterator("/proc")) {
        const std::string number = entry.path().filename();
        if (std::isdigit(static_cast<unsigned char>(number[0])) == 0) continue;
        const std::string stat = text_of(entry.path() / "stat");
        const std::size_t open = stat.find('(');
        const std::size_t close = stat.rfind(')');
        if (open == std::string::npos || close == std::string::npos || close + 4 > stat.size())
            continue;
        Process process;
        process.pid = static_cast<pid_t>(std::strtol(number.c_str(), nullptr, 10));
        process.name = stat.substr(open + 1, close - open - 1);
        process.state = stat[close + 2];
        process.parent = static_cast<pid_t>(std::strtol(stat.c_str() + close + 3, nullptr, 10));
        all.push_back(std::move(process));
    }
    return all;
}

std::vector<Process> descendants() {
    std::vector<Process> found;
    std::set<pid_t> ours{::getpid()};
    const std::vector<Process> all = processes();
    for (std::size_t before = 0; before != ours.size();) {
        before = ours.size();
        for (const Process& process : all)
            if (ours.contains(process.parent) && ours.insert(process.pid).second)
                found.push_back(process);
    }
    return found;
}

bool sleeps_with(pid_t pid, const std::string& link) {
    const std::string directory = "/proc/" + std::to_string(pid);
    if (text_of(directory + "/status").find("\nState:\tS") == std::string::npos) return false;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(directory + "/fd", error))
        if (fs::read_symlink(entry, error).string().find(link) != std::string::npos) return true;
    return false;
}

}  // namespace bench
