// The system's journal, as far as this user may read it.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace jobshim {

// What journalctl(1) prints; nothing if no journal is kept here, if there is no such program in
// PATH, if it fails, or if it takes longer than a second. Reads at most 1 MiB.
std::optional<std::string> read_journal(const std::vector<std::string>& arguments);

}  // namespace jobshim
