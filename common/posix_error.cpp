#include "common/posix_error.hpp"

#include "common/system_names.hpp"

namespace jobshim {

void throw_errno(std::string_view what, int error) {
    throw std::system_error(error, std::generic_category(), std::string(what));
}

std::string errno_text(int error) { return std::generic_category().message(error); }

std::string errno_name(int error) {
    // Not strerrorname_np: musl and macOS lack it.
    static constexpr NamedNumber names[] = {
        {EPERM, "EPERM"},           {ENOENT, "ENOENT"},
        {EINTR, "EINTR"},           {EIO, "EIO"},
        {ENXIO, "ENXIO"},           {E2BIG, "E2BIG"},
        {ENOEXEC, "ENOEXEC"},       {EBADF, "EBADF"},
        {EAGAIN, "EAGAIN"},         {ENOMEM, "ENOMEM"},
        {EACCES, "EACCES"},         {EFAULT, "EFAULT"},
        {EBUSY, "EBUSY"},           {EEXIST, "EEXIST"},
        {EXDEV, "EXDEV"},           {ENODEV, "ENODEV"},
        {ENOTDIR, "ENOTDIR"},       {EISDIR, "EISDIR"},
        {EINVAL, "EINVAL"},         {ENFILE, "ENFILE"},
        {EMFILE, "EMFILE"},         {ETXTBSY, "ETXTBSY"},
        {EFBIG, "EFBIG"},           {ENOSPC, "ENOSPC"},
        {EROFS, "EROFS"},           {EPIPE, "EPIPE"},
        {ENOLCK, "ENOLCK"},         {ENOSYS, "ENOSYS"},
        {ELOOP, "ELOOP"},           {EDQUOT, "EDQUOT"},
        {ESTALE, "ESTALE"},         {ENAMETOOLONG, "ENAMETOOLONG"},
        {EOPNOTSUPP, "EOPNOTSUPP"},
    };
    for (const NamedNumber& entry : names)
        if (entry.number == error) return entry.name;
    for (const NamedNumber& entry : errors_of_this_system())
        if (entry.number == error) return entry.name;
    return "errno " + std::to_string(error);
}

}  // namespace jobshim
