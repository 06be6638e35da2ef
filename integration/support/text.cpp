#include "integration/support/text.hpp"

#include <cerrno>
#include <cstring>
#include <sstream>

namespace harness {

Words lines_of(const std::string& text) {
    std::istringstream in(text);
    Words lines;
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
}

Words joined(std::initializer_list<Words> parts) {
    Words all;
    for (const Words& part : parts) all.insert(all.end(), part.begin(), part.end());
    return all;
}

bool contains(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

std::string in_glibc_words(std::string text) {
    static constexpr struct {
        std::string_view musl;
        int error;
    } words[] = {{"Out of memory", ENOMEM},
                 {"I/O error", EIO},
                 {"No file descriptors available", EMFILE},
                 {"Quota exceeded", EDQUOT}};
    for (const auto& [musl, error] : words)
        for (auto at = text.find(musl); at != std::string::npos; at = text.find(musl, at))
            text.replace(at, musl.size(), std::strerror(error));
    return text;
}

bool mentions_error(const std::string& text, int error) {
    return contains(in_glibc_words(text), std::strerror(error));
}

std::string base64(std::string_view bytes) {
    constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string text;
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        unsigned group = 0;
        for (std::size_t k = 0; k < 3; ++k)
            group =
                group << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0U);
        for (std::size_t k = 0; k < 4; ++k)
            text += i + k > bytes.size() ? '=' : digits[group >> (18 - 6 * k) & 63];
    }
    return text;
}

}  // namespace harness
