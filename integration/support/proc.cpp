#include "integration/support/proc.hpp"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <sstream>
#include <system_error>

#include "integration/support/files.hpp"

namespace harness {
namespace {

std::vector<pid_t> pids() {
    std::vector<pid_t> found;
    for (const auto& entry : fs::directory_iterator("/proc")) {
        const auto name = entry.path().filename().string();
        if (std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isdigit(c); }))
            found.push_back(static_cast<pid_t>(std::stol(name)));
    }
    return found;
}

}  // namespace

ProcessStat process_stat(pid_t pid) {
    const auto text = slurp("/proc/" + std::to_string(pid) + "/stat");
    ProcessStat stat;
    // The name may contain anything, even ") R", so search from the end.
    const auto name_end = text.rfind(')');
    if (name_end == std::string::npos) return stat;
    std::istringstream in(text.substr(name_end + 1));
    in >> stat.state >> stat.parent >> stat.group >> stat.session;
    return stat;
}

char process_state(pid_t pid) { return process_stat(pid).state; }

std::uint64_t start_time_of(pid_t pid) {
    const auto text = slurp("/proc/" + std::to_string(pid) + "/stat");
    std::istringstream in(text.substr(text.rfind(')') + 2));
    std::string field;
    for (int number = 3; number <= 22; ++number) in >> field;
    return std::stoull(field);
}

bool alive(pid_t pid) {
    const char state = process_state(pid);
    return state != 0 && state != 'Z' && state != 'X';
}

std::vector<pid_t> children_of(pid_t pid) {
    auto found = pids();
    std::erase_if(found, [&](pid_t child) { return process_stat(child).parent != pid; });
    return found;
}

std::vector<pid_t> living_descendants() {
    std::multimap<pid_t, pid_t> children;
    for (pid_t pid : pids()) children.emplace(process_stat(pid).parent, pid);
    std::vector<pid_t> found, todo{getpid()};
    while (!todo.empty()) {
        const auto [begin, end] = children.equal_range(todo.back());
        todo.pop_back();
        for (auto child = begin; child != end; ++child) {
            todo.push_back(child->second);
            if (alive(child->second)) found.push_back(child->second);
        }
    }
    return found;
}

std::string command_of(pid_t pid) {
    auto text = slurp("/proc/" + std::to_string(pid) + "/cmdline");
    std::replace(text.begin(), text.end(), '\0', ' ');
    return std::to_string(pid) + " " + text;
}

std::map<int, std::string> descriptors_of(pid_t pid) {
    std::map<int, std::string> found;
    std::error_code ignored;
    for (const auto& entry :
         fs::directory_iterator("/proc/" + std::to_string(pid) + "/fd", ignored))
        found[std::stoi(entry.path().filename())] =
            fs::read_symlink(entry.path(), ignored).string();
    return found;
}

bool watches(pid_t watcher, pid_t watched) {
    const auto infos = "/proc/" + std::to_string(watcher) + "/fdinfo";
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(infos, ignored))
        if (contains(slurp(entry.path()), "\nPid:\t" + std::to_string(watched) + "\n")) return true;
    return false;
}

long voluntary_switches(pid_t pid) {
    long sum = 0;
    for (const auto& task : fs::directory_iterator("/proc/" + std::to_string(pid) + "/task"))
        for (const auto& line : lines_of(slurp(task.path() / "status")))
            if (line.starts_with("voluntary_ctxt_switches:")) sum += std::stol(line.substr(24));
    return sum;
}

std::string signal_name(int number) {
    if (const char* name = sigabbrev_np(number)) return std::string("SIG") + name;
    if (number < SIGRTMIN || number > SIGRTMAX) return "signal " + std::to_string(number);
    return number == SIGRTMIN ? "SIGRTMIN" : "SIGRTMIN+" + std::to_string(number - SIGRTMIN);
}

bool in_path(const std::string& program) {
    std::istringstream directories(std::getenv("PATH") ? std::getenv("PATH") : "");
    for (std::string directory; std::getline(directories, directory, ':');)
        if (access((fs::path(directory) / program).c_str(), X_OK) == 0) return true;
    return false;
}

}  // namespace harness
