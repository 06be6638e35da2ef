// What a file carries besides its text, owner and mode: access control lists, security labels, and
// what people attach to it (user.*). Whoever replaces a file passes it on.
//
// Caveats: not what the file system or the kernel keeps there for itself, nor what speaks of the
// content (security.ima) or makes a program privileged (security.capability).
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace jobshim {

using ExtendedAttributes = std::vector<std::pair<std::string, std::string>>;  // name, value

// None where the file system has none. Throws std::system_error naming `path`.
ExtendedAttributes extended_attributes_of(int fd, const std::string& path);

// Makes those of the file `wanted`, given what it `has`. A list may also come from the directory
// (its default ACL); `drop_inherited_list` removes it if none is wanted. Setting one changes the
// mode. False, with errno and the name of the attribute in `failed`, if one cannot be set.
bool set_extended_attributes(int fd, const ExtendedAttributes& wanted,
                             const ExtendedAttributes& has, bool drop_inherited_list,
                             std::string& failed);

}  // namespace jobshim
