// How far a reader of `jobctl events` has been told: the text that each line ends with, and that a
// later `jobctl events --since` begins with. Pure.
//
// The kernel stamps a job file when it is put in place (its ctime), and puts files into a directory
// one after another. So in one directory "everything up to this moment was told" says exactly which
// ends were, however they are interleaved, and a few bytes are enough for it. What it cannot say is
// added: what was told of that very moment or after it, and which jobs are in a state that no
// change of their file led to.
//
// Caveats: a clock that is set back makes changes look older than what was told before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace jobshim {

// A hash of these words, of 48 bits.
std::uint64_t event_key(std::initializer_list<std::string_view> words);

// A job's state at the cursor, where its file does not show it.
enum class Oddity : char {
    stalled = 's',
    orphaned = 'o',
    unknown = 'u',
    awaited = 'p',     // its record was final, but its shim was still alive: not told
    unrecorded = 'e',  // its end was told, but is not in its record
};

// In one directory.
struct EventPosition {
    std::uint64_t directory = 0;  // the key of its path
    // Every change of a job file before this moment was told (nanoseconds since 1970). Of later
    // ones only those among `told`.
    std::int64_t told_before = 0;
    // When the first reader began. What happened up to then is not told; of what is still going on
    // it wants to know the present state.
    std::int64_t began_at = 0;

    struct Told {
        std::uint64_t key;
        std::int64_t changed_ns;  // when the file was changed that it was told of
        std::uint64_t job = 0;    // the key of its name; 0: not known
        bool is_end = false;
    };
    std::vector<Told> told;
    std::map<std::uint64_t, Oddity> odd;  // by the key of the job file's name

    bool was_told(std::uint64_t key) const;
    // In place of what was told of this job before, unless that was an end.
    void tell(const Told& event);
    // Every change before this moment was told.
    void advance_to(std::int64_t moment);
    // Changes before this moment are no news.
    std::int64_t beginning_of_news() const;
};

std::string text_of(const std::vector<EventPosition>& cursor);
// Nothing for what text_of does not write. Each `changed_ns` is then `told_before`.
std::optional<std::vector<EventPosition>> parse_cursor(std::string_view text);

}  // namespace jobshim
