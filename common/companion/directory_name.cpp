#include "common/companion/directory_name.hpp"

// It asks the processor about itself at the start of each program that it is linked to.
#include <nettle/sha2.h>

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
    sha256_ctx context;
    sha256_init(&context);
    sha256_update(&context, text.size(), reinterpret_cast<const std::uint8_t*>(text.data()));
    std::array<std::uint8_t, 8> digest{};
    sha256_digest(&context, digest.size(), digest.data());
    constexpr std::string_view digits = "0123456789abcdef";
    std::string hash;
    for (const std::uint8_t byte : digest) {
        hash += digits[byte >> 4U];
        hash += digits[byte & 15U];
    }
    return hash;
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
