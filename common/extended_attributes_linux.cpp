#include <sys/xattr.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string_view>

#include "common/extended_attributes.hpp"
#include "common/posix_error.hpp"

namespace jobshim {

namespace {

constexpr const char* access_list = "system.posix_acl_access";

bool is_passed_on(std::string_view name) {
    if (name.starts_with("security."))
        return name != "security.capability" && name != "security.ima" && name != "security.evm";
    return name.starts_with("user.") || name.starts_with("trusted.") || name == access_list ||
           name == "system.nfs4_acl";
}

bool has_none(int error) { return error == EOPNOTSUPP || error == ENOSYS || error == ENODATA; }

// Calls read(buffer, size) until the buffer is large enough. Nothing, with errno, if it fails.
template <class Read>
std::optional<std::string> read_whole(Read read) {
    std::string buffer(256, '\0');
    for (;;) {
        const ssize_t length = read(buffer.data(), buffer.size());
        if (length >= 0) {
            buffer.resize(static_cast<std::size_t>(length));
            return buffer;
        }
        constexpr std::size_t most = 65536;  // XATTR_LIST_MAX and XATTR_SIZE_MAX
        if (errno != ERANGE || buffer.size() >= most) return std::nullopt;
        buffer.resize(most);
    }
}

std::optional<std::string> value_of(int fd, const std::string& name) {
    return read_whole([&](char* buffer, std::size_t size) {
        return ::fgetxattr(fd, name.c_str(), buffer, size);
    });
}

bool removed(int fd, const std::string& name) {
    return ::fremovexattr(fd, name.c_str()) == 0 || has_none(errno);
}

// A label that the directory has given to the new file already need not be set, which may need more
// rights.
bool set(int fd, const std::string& name, const std::string& value) {
    if (::fsetxattr(fd, name.c_str(), value.data(), value.size(), 0) == 0) return true;
    const int error = errno;
    if (value_of(fd, name) == value) return true;
    errno = error;
    return false;
}

}  // namespace

ExtendedAttributes extended_attributes_of(int fd, const std::string& path) {
    ExtendedAttributes found;
    const auto names =
        read_whole([&](char* buffer, std::size_t size) { return ::flistxattr(fd, buffer, size); });
    if (!names && has_none(errno)) return found;
    if (!names) throw_errno("list the extended attributes of " + path);
    for (std::size_t at = 0; at < names->size();) {
        const std::string name = names->c_str() + at;
        at += name.size() + 1;
        if (!is_passed_on(name)) continue;
        auto value = value_of(fd, name);
        if (!value && has_none(errno)) continue;  // removed just now
        if (!value) throw_errno("read " + name + " of " + path);
        found.emplace_back(name, *std::move(value));
    }
    return found;
}

bool set_extended_attributes(int fd, const ExtendedAttributes& wanted,
                             const ExtendedAttributes& has, bool drop_inherited_list,
                             std::string& failed) {
    const auto is_wanted = [&](const std::string& name) {
        return std::any_of(wanted.begin(), wanted.end(),
                           [&](const auto& each) { return each.first == name; });
    };
    for (const auto& attribute : has) {
        failed = attribute.first;
        if (!is_wanted(failed) && !removed(fd, failed)) return false;
    }
    failed = access_list;
    if (drop_inherited_list && !is_wanted(failed) && !removed(fd, failed)) return false;
    for (const auto& attribute : wanted) {
        failed = attribute.first;
        if (std::find(has.begin(), has.end(), attribute) == has.end() &&
            !set(fd, failed, attribute.second))
            return false;
    }
    return true;
}

}  // namespace jobshim
