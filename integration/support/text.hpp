#pragma once

// Words and lines of what programs write.

#include <string>
#include <string_view>
#include <vector>

namespace harness {

using Words = std::vector<std::string>;

Words lines_of(const std::string& text);
bool contains(std::string_view text, std::string_view part);
/// What a program says of an error, in glibc's words: musl, with which jobshim may be linked, has
/// others for some.
std::string in_glibc_words(std::string text);
/// True if it says what this errno means.
bool tells(const std::string& text, int error);
std::string base64(std::string_view bytes);

}  // namespace harness
