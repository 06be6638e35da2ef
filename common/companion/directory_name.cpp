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

// The first 16 hexadecimal digits of the SHA-256. Not SHA256Data(): in the library it comes with
// file functions that need glibc, and the programs may be linked with musl.
std::string short_hash(std::string_view text) {
    SHA2_CTX context;
    SHA256Init(&context);
    SHA256Update(&context, reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
    std::array<std::uint8_t, SHA256_DIGEST_LENGTH> digest{};
    SHA256Final(digest.data(), &context);
    constexpr std::string_view digits = "0123456789abcdef";
    std::string hash;
    for (std::size_t i = 0; i < 8; ++i) {
        hash += digits[digest[i] >> 4U];
        hash += digits[digest[i] & 15U];
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
        else if (at == 0 || is_slug_character(root[at - 1]))  // one for each run of them
            slug += '-';
    slug.erase(0, slug.find_first_not_of('-'));
    slug.erase(slug.find_last_not_of('-') + 1);
    return (slug.empty() ? "workspace" : slug) + "-" + short_hash(to_utf8(real_root));
}

bool is_companion_name(std::string_view name, std::string_view codex_name) {
    const std::string hash(codex_name.substr(codex_name.rfind('-') + 1));
    for (const std::size_t digits : {std::size_t{16}, std::size_t{12}}) {
        const std::string tail = hash.substr(0, digits);
        if (name == tail || name.ends_with("-" + tail)) return true;
    }
    return false;
}

}  // namespace jobshim
