#include "common/companion/directory_name.hpp"

#include <sha2.h>

#include <array>
#include <cstdint>

#include "common/units.hpp"

namespace jobshim {

namespace {

bool is_slug_character(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

// The first 16 hexadecimal digits of the SHA-256.
std::string short_hash(std::string_view text) {
    std::array<char, SHA256_DIGEST_STRING_LENGTH> digits{};
    SHA256Data(reinterpret_cast<const std::uint8_t*>(text.data()), text.size(), digits.data());
    return std::string(digits.data(), 16);
}

}  // namespace

std::string companion_name(std::string_view root, std::string_view real_root) {
    while (root.ends_with('/')) root.remove_suffix(1);
    root.remove_prefix(root.rfind('/') + 1);  // npos + 1 is 0
    std::string slug;
    for (std::size_t at = 0; at < root.size(); ++at)
        if (is_slug_character(root[at]))
            slug += root[at];
        else if (at == 0 || is_slug_character(root[at - 1]))  // one for the whole run
            slug += '-';
    slug.erase(0, slug.find_first_not_of('-'));
    slug.erase(slug.find_last_not_of('-') + 1);
    return (slug.empty() ? "workspace" : slug) + "-" + short_hash(to_utf8(real_root));
}

}  // namespace jobshim
