// The programs that end others before the kernel's out-of-memory killer has to, and what they write
// into the journal about it. Pure.
//
// Sources: what earlyoom 1.3 to 1.9 and systemd-oomd 248 to 257 print.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/exit_reason.hpp"

namespace jobshim {

// Arguments of journalctl(1): the messages of those programs since a moment, as text. By unit,
// which the journal itself notes; what a program calls itself, anybody can say.
std::vector<std::string> journal_query(std::int64_t since_ms);

// The latest message that says that this process was killed, or its cgroup ("" if that is unknown)
// or one above it.
std::optional<OomDaemon> find_oom_daemon(std::string_view messages, int pid,
                                         std::string_view group);

}  // namespace jobshim
