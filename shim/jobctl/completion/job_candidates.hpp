// The jobs in some directories, as a completion offers them: quickly, and without a trace.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace jobshim {

// A word that may be typed, and what it means. Both are single lines, safe for a terminal.
struct Candidate {
    std::string word;
    std::string help = {};
};

// The jobs whose files' names begin so. First come those that showed a sign of life last; the first
// few, which alone are read, with their state and title. Nothing is settled, written or waited for.
//
// Caveats: a name that is not fit for a terminal is left out. A job whose record gives it another
// id than its file's name is offered by the name. A directory that cannot be read has no jobs.
std::vector<Candidate> job_candidates(const std::vector<std::string>& directories,
                                      std::string_view beginning);

}  // namespace jobshim
