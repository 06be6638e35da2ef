// How both programs speak to people: a message on standard error, with the program's name before
// it.
#pragma once

#include <string>
#include <string_view>

namespace jobshim {

// Pure: "PROGRAM: MESSAGE" with a line feed, fit for a terminal. One line: line feeds within become
// U+FFFD, unless `keep_lines` (for a list of our own, whose entries were made printable).
std::string as_said(std::string_view program, std::string_view message, bool keep_lines = false);

// Says it. As one write, so that no other line comes between. Never fails.
void say(std::string_view program, std::string_view message, bool keep_lines = false) noexcept;

// A text that as_said() has made, or is empty.
void say_as_it_is(std::string_view text) noexcept;

}  // namespace jobshim
