// Units shared by options, records and messages: durations, signals, times of day. Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace jobshim {

// DUR on the command lines: a number, fractions allowed, with ms, s (default), m, h or d. Nothing
// for anything else, including negative numbers. Capped at 100 years.
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);

// A count on the command line: decimal digits and nothing else.
std::optional<std::uint64_t> parse_count(std::string_view text);

// For sentences: "250 ms", "5 s", "3 min 20 s", "2 h 5 min", "3 d 4 h".
std::string describe_duration(std::chrono::milliseconds duration);

// Accepts "TERM", "SIGTERM", "term", "15", "RTMIN+1" (35, as in glibc), and "0" or "EXIT" for no
// signal, as kill(1) does; nothing for anything that is not a signal on this system.
std::optional<int> parse_signal(std::string_view text);

// "SIGTERM", "SIGRTMIN+1"; "signal 99" if it has no name.
std::string signal_name(int signal);

// Milliseconds since 1970 (UTC) <-> "2026-11-22T17:34:00.123Z". Parsing accepts what JavaScript's
// toISOString writes, with or without the fraction; nothing for any other form.
std::string iso_time(std::int64_t ms_since_epoch);
std::optional<std::int64_t> parse_iso_time(std::string_view text);

// Text that is safe for a terminal: control characters (including line feeds and tabs, unless
// `keep_lines`) and invalid UTF-8 become U+FFFD. Bidirectional controls, which could make a line
// read as another one, are shown as such: "<U+202E>".
std::string printable(std::string_view text, bool keep_lines = false);

// A word for a terminal: printable, and white space and invisible characters are shown as such,
// "<U+0020>".
std::string printable_word(std::string_view text);

// How many columns of a terminal the character at utf8[at] takes, or may take: a line that is cut
// must not be continued on the next one. 0 inside a character.
std::size_t columns_at(std::string_view utf8, std::size_t at);

// JSON for a terminal: DEL, the C1 controls and bidirectional controls are written as \u202e. In
// valid JSON they are only inside strings, where that means the same. For text in UTF-8.
std::string printable_json(std::string_view json);

// Invalid UTF-8 becomes U+FFFD; everything else is kept.
std::string to_utf8(std::string_view bytes);
bool is_utf8(std::string_view bytes);

// The beginning of a text in UTF-8, with an ellipsis, if it has more than `most` bytes.
std::string shortened(std::string text, std::size_t most);

std::string base64(std::string_view bytes);
// Nothing for what base64() does not write.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace jobshim
