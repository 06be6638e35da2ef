#include "common/oom_log.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

namespace jobshim {

namespace {

template <class Number>
std::optional<Number> skip_number(std::string_view& text) {
    Number number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{}) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return number;
}

bool skip(std::string_view& text, std::string_view start) {
    if (!text.starts_with(start)) return false;
    text.remove_prefix(start.size());
    return true;
}

void skip_spaces(std::string_view& text) {
    while (skip(text, " ")) continue;
}

// The kernel writes unprintable bytes, and the backslash, as \xNN.
std::string unescaped(std::string_view text) {
    std::string result;
    while (!text.empty()) {
        unsigned byte = 0;
        const bool is_escape =
            text.size() >= 4 && text.starts_with("\\x") &&
            std::from_chars(text.data() + 2, text.data() + 4, byte, 16).ptr == text.data() + 4;
        result += is_escape ? static_cast<char>(byte) : text.front();
        text.remove_prefix(is_escape ? 4 : 1);
    }
    return result;
}

struct Record {
    std::int64_t at_us = 0;
    std::string_view text;  // still escaped: only names may hold unprintable bytes
};

// "6,1234,5678901,-;text", then continuation lines, each after a space. Only the kernel's own
// records: those that user space writes to /dev/kmsg have another facility.
std::optional<Record> parse_record(std::string_view record) {
    const std::size_t semicolon = record.find(';');
    if (semicolon == std::string_view::npos) return std::nullopt;
    std::string_view head = record.substr(0, semicolon);
    const auto priority = skip_number<unsigned>(head);
    if (!priority || *priority >> 3U != 0 || !skip(head, ",")) return std::nullopt;
    if (!skip_number<std::uint64_t>(head) || !skip(head, ",")) return std::nullopt;
    const auto at_us = skip_number<std::int64_t>(head);
    if (!at_us) return std::nullopt;
    const std::string_view text = record.substr(semicolon + 1);
    return Record{*at_us, text.substr(0, text.find('\n'))};
}

// "[   5206]     0  5206     4769 ...", a row of the task table: pid, uid, thread group.
std::optional<std::pair<int, int>> parse_table_row(std::string_view text) {
    if (!skip(text, "[")) return std::nullopt;
    skip_spaces(text);
    const auto pid = skip_number<int>(text);
    if (!pid || !skip(text, "]")) return std::nullopt;
    skip_spaces(text);
    if (!skip_number<std::uint32_t>(text)) return std::nullopt;
    skip_spaces(text);
    const auto thread_group = skip_number<int>(text);
    if (!thread_group || !skip(text, " ")) return std::nullopt;
    return std::pair(*pid, *thread_group);
}

// "oom-kill:constraint=...,task_memcg=/jobs/x,task=tail,pid=5206,uid=0". The task name
// may hold anything, even commas: parse from the end.
std::optional<std::pair<int, std::string>> parse_summary(std::string_view text) {
    if (!text.starts_with("oom-kill:constraint=")) return std::nullopt;
    constexpr std::string_view group_key = ",task_memcg=";
    constexpr std::string_view pid_key = ",pid=";
    const std::size_t pid_at = text.rfind(pid_key);
    if (pid_at == std::string_view::npos) return std::nullopt;
    std::string_view rest = text.substr(pid_at + pid_key.size());
    const auto pid = skip_number<int>(rest);
    if (!pid || !skip(rest, ",uid=")) return std::nullopt;
    const std::string_view before = text.substr(0, pid_at);
    const std::size_t group_at = before.find(group_key);
    const std::size_t name_at = before.rfind(",task=");
    if (group_at == std::string_view::npos || name_at == std::string_view::npos ||
        name_at < group_at + group_key.size())
        return std::nullopt;
    const std::size_t begin = group_at + group_key.size();
    return std::pair(*pid, unescaped(before.substr(begin, name_at - begin)));
}

// "Memory cgroup out of memory: Killed process 5206 (tail) total-vm:19076kB, ...", or in older
// kernels "Killed process 5206 (tail), UID 0, total-vm:...".
std::optional<std::pair<int, std::string>> parse_kill(std::string_view text) {
    if (text.starts_with("Memory cgroup out of memory") || text.starts_with("Out of memory"))
        text.remove_prefix(std::min(text.find(": ") + 2, text.size()));
    if (!skip(text, "Killed process ")) return std::nullopt;
    const auto pid = skip_number<int>(text);
    if (!pid || !skip(text, " (")) return std::nullopt;
    std::string_view name = text.substr(0, text.rfind(" total-vm:"));
    name = name.substr(0, std::min(name.rfind(", UID "), name.size()));
    name = name.substr(0, std::min(name.rfind(')'), name.size()));
    return std::pair(*pid, unescaped(name));
}

}  // namespace

void OomLog::add(std::string_view record) {
    const auto parsed = parse_record(record);
    if (!parsed) return;
    if (parsed->text.starts_with("Tasks state ")) {
        thread_groups_.clear();
        groups_.clear();
    } else if (const auto row = parse_table_row(parsed->text)) {
        thread_groups_.insert_or_assign(row->first, row->second);
    } else if (auto summary = parse_summary(parsed->text)) {
        groups_.insert_or_assign(summary->first, std::move(summary->second));
    } else if (auto kill = parse_kill(parsed->text)) {
        OomVictim victim;
        victim.pid = kill->first;
        victim.name = std::move(kill->second);
        victim.at_us = parsed->at_us;
        if (const auto found = thread_groups_.extract(victim.pid))
            victim.thread_group = found.mapped();
        if (auto found = groups_.extract(victim.pid)) victim.group = std::move(found.mapped());
        victims_.push_back(std::move(victim));
    }
}

// The rest of a kill's records may be among those that were lost.
void OomLog::note_gap() {
    before_gap_ = victims_.size();
    thread_groups_.clear();
    groups_.clear();
}

bool OomLog::is_complete_since(const OomVictim& victim) const {
    return &victim - victims_.data() >= static_cast<std::ptrdiff_t>(before_gap_);
}

}  // namespace jobshim
