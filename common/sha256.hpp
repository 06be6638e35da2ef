// SHA-256 (FIPS 180-4). For names that others make by it; no secret passes through here. Pure.
#pragma once

#include <string>
#include <string_view>

namespace jobshim {

// 64 lower-case hexadecimal digits.
std::string sha256_hex(std::string_view bytes);

}  // namespace jobshim
