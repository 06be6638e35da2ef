#pragma once

// Words and lines of program output.

#include <string>
#include <string_view>
#include <vector>

namespace harness {

using Words = std::vector<std::string>;

Words lines_of(const std::string& text);
bool contains(std::string_view text, std::string_view part);
Words joined(std::initializer_list<Words> parts);

/// Program output with errors as glibc words them: musl, which jobshim may be linked with, words
/// some differently.
std::string in_glibc_words(std::string text);
/// True if the text contains this errno's message.
bool mentions_error(const std::string& text, int error);
std::string base64(std::string_view bytes);

}  // namespace harness
