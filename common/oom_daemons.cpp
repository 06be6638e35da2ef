#include "common/oom_daemons.hpp"

#include "common/units.hpp"

namespace jobshim {

namespace {

// earlyoom: sending SIGTERM to process 4711 uid 1000 "node": badness 853, VmRSS 9000 MiB
bool names_process(std::string_view message, int pid) {
    // What comes after the pid, the process has chosen.
    const std::string words = " to process ";
    const std::size_t at = message.find(words);
    return message.starts_with("sending SIG") && at != std::string_view::npos &&
           message.substr(at + words.size()).starts_with(std::to_string(pid) + " ");
}

// systemd-oomd: Killed /system.slice/ci.service due to memory pressure for /system.slice being ...
bool names_group(std::string_view message, std::string_view group) {
    constexpr std::string_view killed = "Killed /";
    const std::size_t end = message.find(" due to ");
    if (group.empty() || !message.starts_with(killed) || end == std::string_view::npos)
        return false;
    const std::string_view path = message.substr(killed.size() - 1, end - killed.size() + 1);
    if (path.size() <= 1 || !group.starts_with(path)) return false;
    return group.size() == path.size() || group[path.size()] == '/';
}

}  // namespace

std::vector<std::string> journal_query(std::int64_t since_ms) {
    return {"--quiet",
            "--no-pager",
            "--boot",
            "--output=cat",
            "--since=@" + std::to_string(since_ms / 1000),
            "_SYSTEMD_UNIT=earlyoom.service",
            "+",
            "_SYSTEMD_UNIT=systemd-oomd.service"};
}

std::optional<OomDaemon> find_oom_daemon(std::string_view messages, int pid,
                                         std::string_view group) {
    std::optional<OomDaemon> found;
    while (!messages.empty()) {
        const std::size_t end = messages.find('\n');
        const std::string_view message = messages.substr(0, end);
        messages.remove_prefix(end == std::string_view::npos ? messages.size() : end + 1);
        if (names_process(message, pid))
            found = OomDaemon{"earlyoom", printable(message)};
        else if (names_group(message, group))
            found = OomDaemon{"systemd-oomd", printable(message)};
    }
    return found;
}

}  // namespace jobshim
