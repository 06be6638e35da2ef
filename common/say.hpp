// How both programs speak to people: a message on standard error, prefixed with the program's name.
#pragma once

#include <string>
#include <string_view>

namespace jobshim {

// Pure: "PROGRAM: MESSAGE" and a line feed, safe for a terminal. It is one line: line feeds inside
// become U+FFFD, unless `keep_lines` is set (for a list of our own whose entries are already
// printable, and thus single lines).
std::string format_message(std::string_view program, std::string_view message,
                           bool keep_lines = false);

// Prints it with one write, so that no other output comes in between. Never fails.
void say(std::string_view program, std::string_view message, bool keep_lines = false) noexcept;

// Prints a text that format_message() has made, or an empty one.
void write_message(std::string_view text) noexcept;

}  // namespace jobshim
