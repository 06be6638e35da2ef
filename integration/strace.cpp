#include "integration/strace.hpp"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <iterator>
#include <map>
#include <set>
#include <stdexcept>

namespace harness {
namespace {

bool is_number(const std::string& text) {
    return !text.empty() && std::all_of(text.begin(), text.end(),
                                        [](unsigned char c) { return std::isdigit(c) != 0; });
}

/// The paths in a line that are the directory itself or a file in it, either quoted or as the
/// target of a file descriptor. The working directory in AT_FDCWD<...> does not count.
std::set<std::string> paths_in(const std::string& line, const std::string& directory) {
    std::set<std::string> found;
    for (auto at = line.find(directory); at != std::string::npos;
         at = line.find(directory, at + 1)) {
        if (at == 0 || (line[at - 1] != '"' && line[at - 1] != '<')) continue;
        const auto end = line.find(line[at - 1] == '"' ? '"' : '>', at);
        const auto path = line.substr(at, end - at);
        const bool inside = path.size() == directory.size() || path[directory.size()] == '/';
        const bool is_cwd = at >= 9 && line.compare(at - 9, 9, "AT_FDCWD<") == 0;
        if (inside && !is_cwd) found.insert(path);
    }
    return found;
}

/// The process that a scan of all processes is looking at: the number in the first "/proc/NUMBER/"
/// of a line, or in getpgid(NUMBER).
std::string pid_looked_at(const std::string& line) {
    for (const std::string before : {"/proc/", "getpgid("}) {
        const auto at = line.find(before);
        if (at == std::string::npos) continue;
        const auto begin = at + before.size();
        const auto end = line.find_first_of("/)", begin);
        const auto number = end == std::string::npos ? "" : line.substr(begin, end - begin);
        return is_number(number) ? number : "";
    }
    return "";
}

Words with_strace(const Call& call, const std::string& fault, const fs::path& trace,
                  const Words& argv, const std::string& how_often, bool children) {
    const auto when = ":when=" + std::to_string(call.nth) + how_often;
    Words options;
    if (children) options.emplace_back("-f");
    for (const auto& path : call.paths) options.insert(options.end(), {"-P", path});
    options.insert(options.end(), {"-e", "trace=" + call.name, "-e", "inject=" + call.name});
    options.back() += ":" + fault + when;
    return under_strace(trace, options, argv);
}

int number_of_error(const std::string& name) {
    for (int number = 1; number < 134; ++number)
        if (const char* known = strerrorname_np(number); known != nullptr && name == known)
            return number;
    throw std::runtime_error("which error is " + name + "?");
}

/// `fault` as probe/inject.cpp has it.
Words with_probe(const std::string& process, const Call& call, const std::string& fault,
                 const fs::path& trace, const Words& argv, const std::string& how_often = "") {
    Words all{INJECT_BIN,
              trace,
              process,
              std::to_string(call.number),
              std::to_string(call.nth) + how_often,
              fault,
              call.paths.empty() ? "-" : call.paths.front()};
    all.insert(all.end(), argv.begin(), argv.end());
    return all;
}

}  // namespace

Words under_strace(const fs::path& trace, const Words& options, const Words& argv) {
    // LeakSanitizer cannot run under a tracer: it would be the program's exit status.
    Words all{"strace", "-qq", "-E", "ASAN_OPTIONS=detect_leaks=0", "-o", trace};
    all.insert(all.end(), options.begin(), options.end());
    all.insert(all.end(), argv.begin(), argv.end());
    return all;
}

std::string kind_of(const std::string& name) {
    static const std::map<std::string, std::string> kinds{
        {"open", "openat"},      {"stat", "newfstatat"}, {"lstat", "newfstatat"},
        {"fstat", "newfstatat"}, {"fork", "clone"},      {"vfork", "clone"},
        {"clone3", "clone"}};
    const auto found = kinds.find(name);
    return found == kinds.end() ? name : found->second;
}

bool is_heap_call(const std::string& name) {
    return name == "mmap" || name == "munmap" || name == "mremap" || name == "brk" ||
           name == "madvise";
}

std::string Call::describe() const {
    auto text = name + " " + std::to_string(nth);
    if (process != 0) text += " of child " + std::to_string(process);
    return text + (paths.empty() ? "" : " in the job's directory");
}

std::vector<Call> record(Sandbox& box, const Words& argv, const fs::path& directory,
                         const Options& options) {
    const TempDir temp;
    const auto trace = temp.path / "trace";
    box.run(under_strace(trace, {"-f", "-y", "-n"}, argv), options);

    std::vector<Call> calls;
    std::map<std::string, int> processes;  // pid -> Call::process
    std::map<std::string, int> counts;     // per process and name; the directory's also apart
    std::set<std::string> paths;
    const auto lines = lines_of(slurp(trace));
    for (const auto& line : lines) processes.emplace(line.substr(0, line.find(' ')), 0);
    std::set<std::string> seen;
    std::string unrelated;
    for (const auto& line : lines) {
        const auto pid = line.substr(0, line.find(' '));
        if (seen.insert(pid).second) processes[pid] = static_cast<int>(seen.size()) - 1;
        // "PID [  59] execve(...": the number in brackets is the call's.
        const auto bracket = line.find_first_not_of(' ', pid.size());
        if (bracket == std::string::npos || line[bracket] != '[') continue;
        const auto begin = line.find_first_not_of("] ", line.find(']', bracket));
        const auto end = line.find('(', begin);
        // A signal, an exit, or the rest of an unfinished call.
        if (begin == std::string::npos || end == std::string::npos ||
            !std::all_of(line.begin() + static_cast<long>(begin),
                         line.begin() + static_cast<long>(end),
                         [](unsigned char c) { return std::isalnum(c) != 0 || c == '_'; }))
            continue;
        Call call{.name = line.substr(begin, end - begin),
                  .number = std::stol(line.substr(bracket + 1)),
                  .process = processes[pid],
                  .line = line.substr(begin),
                  .paths = {}};
        const auto mine = paths_in(line, directory);
        paths.insert(mine.begin(), mine.end());
        if (!mine.empty()) call.paths = {directory};  // replaced by all of them once they are known
        // The program's own exec happens before strace can inject anything.
        if (call.name == "execve" && calls.empty()) continue;
        call.nth = ++counts[pid + " " + call.name];
        if (!mine.empty()) call.nth = ++counts[pid + " " + call.name + " in the directory"];
        const auto number = pid_looked_at(line);
        if (!number.empty() && !processes.contains(number)) {
            if (unrelated.empty()) unrelated = number;
            if (unrelated != number) continue;
        }
        calls.push_back(std::move(call));
    }
    paths.insert(directory);
    for (auto& call : calls)
        if (!call.paths.empty()) call.paths.assign(paths.begin(), paths.end());
    return calls;
}

std::vector<Call> calls_of(int process, const std::vector<Call>& all) {
    std::vector<Call> some;
    std::copy_if(all.begin(), all.end(), std::back_inserter(some), [&](const Call& call) {
        return call.process == process && !is_heap_call(call.name);
    });
    return some;
}

bool can_tamper_with_syscalls() {
#ifdef __x86_64__
    return true;
#else
    return false;
#endif
}

Words inject(const Call& call, const std::string& fault, const fs::path& trace, const Words& argv,
             const std::string& how_often) {
    const std::string error = "error=";
    if (!can_tamper_with_syscalls() || (fault != "signal=SIGKILL" && !fault.starts_with(error)))
        return with_strace(call, fault, trace, argv, how_often, false);
    const auto kind = fault.starts_with(error)
                          ? std::to_string(number_of_error(fault.substr(error.size())))
                          : "kill";
    return with_probe("-", call, kind, trace, argv, how_often);
}

Words inject_with_children(const Call& call, const std::string& fault, const fs::path& trace,
                           const Words& argv, const std::string& how_often) {
    return with_strace(call, fault, trace, argv, how_often, true);
}

Words tamper(const Call& call, Tampering how, int error, const fs::path& trace, const Words& argv) {
    const auto kind = how == Tampering::shorten      ? "half"
                      : how == Tampering::fail_after ? "after-" + std::to_string(error)
                                                     : std::to_string(error);
    return with_probe(std::to_string(call.process), call, kind, trace, argv);
}

}  // namespace harness
