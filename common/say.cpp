#include "common/say.hpp"

#include <unistd.h>

#include <exception>

#include "common/file_contents.hpp"
#include "common/units.hpp"

namespace jobshim {

std::string format_message(std::string_view program, std::string_view message, bool keep_lines) {
    return std::string(program) + ": " + printable(message, keep_lines) + "\n";
}

void say(std::string_view program, std::string_view message, bool keep_lines) noexcept {
    try {
        write_message(format_message(program, message, keep_lines));
    } catch (const std::exception&) {
        return;  // out of memory
    }
}

void write_message(std::string_view text) noexcept {
    try {
        write_all(STDERR_FILENO, text, "standard error");
    } catch (const std::exception&) {
        return;  // there is nowhere left to report it
    }
}

}  // namespace jobshim
