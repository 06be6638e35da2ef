#include "common/directory.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <utility>
#include <vector>

#include "common/file_system.hpp"
#include "common/job_names.hpp"
#include "common/posix_error.hpp"
#include "common/standing.hpp"
#include "common/system_calls.hpp"

namespace jobshim {

namespace {

// Every step passes through here: no name may lead out of the directory.
const char* plain(const std::string& name) {
    if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos ||
        name.find('\0') != std::string::npos)
        throw Refusal("'" + name + "': not a file name");
    return name.c_str();
}

bool is_missing(int error) { return error == ENOENT || error == ENOTDIR; }

// Of a descriptor that was opened for lookups. Nothing, with errno, if it is no link.
std::optional<SymbolicLink> read_link(int fd) {
    struct stat info {};
    std::array<char, PATH_MAX> target;
    if (::fstat(fd, &info) != 0) return std::nullopt;
    const ssize_t length = ::readlinkat(fd, "", target.data(), target.size());
    if (length < 0) return std::nullopt;
    return SymbolicLink{info.st_uid, std::string(target.data(), static_cast<std::size_t>(length))};
}

}  // namespace

void refuse_foreign_link(const std::string& link, uid_t owner) {
    // In a user namespace, the owner of / may have another number than 0.
    if (!counts_for(::geteuid(), owner) && owner != owner_of_directory("/"))
        throw Refusal(link + ": a symbolic link of uid " + std::to_string(owner) +
                      ", which is not followed");
}

std::optional<std::string> current_directory() {
    const std::unique_ptr<char, decltype(&std::free)> path(::getcwd(nullptr, 0), &std::free);
    return path ? std::optional<std::string>(path.get()) : std::nullopt;
}

std::string absolute_path(const std::string& path) {
    if (!path.empty() && path.front() == '/') return path;
    const auto cwd = current_directory();
    if (!cwd) throw_errno("get the current directory");
    // Something may have been mounted over it, or it may be in another mount namespace.
    struct stat here {};
    struct stat there {};
    if (::stat(".", &here) == 0 && (::stat(cwd->c_str(), &there) != 0 ||
                                    here.st_dev != there.st_dev || here.st_ino != there.st_ino))
        throw Refusal(*cwd + ": no longer the current directory (give an absolute path)");
    return *cwd + "/" + path;
}

std::optional<uid_t> owner_of_directory(const std::string& path) {
    struct stat info {};
    return ::stat(path.c_str(), &info) == 0 ? std::optional(info.st_uid) : std::nullopt;
}

SplitPath split_path(const std::string& path) {
    const std::string whole = absolute_path(path);
    const std::size_t slash = whole.rfind('/');
    SplitPath split{slash == 0 ? "/" : whole.substr(0, slash), whole.substr(slash + 1)};
    if (path.empty() || split.name.empty() || split.name == "." || split.name == "..")
        throw Refusal("job file '" + path + "': not a file name");
    return split;
}

// Looking is done with our own rights, and only where they do not reach (root on NFS) with the
// owner's.
template <class Look>
auto Directory::look(Look look_up) const {
    if (is_strict_) {
        const ActingAs acting(identity_);
        return acting ? look_up() : decltype(look_up()){};
    }
    auto found = look_up();
    if (found || errno != EACCES || !identity_) return found;
    const ActingAs acting(identity_);
    return acting ? look_up() : std::move(found);
}

Directory Directory::from(UniqueFd fd, std::string path) {
    struct stat info {};
    if (::fstat(fd.get(), &info) != 0) throw_errno("stat " + path);
    return Directory(std::make_shared<const Opened>(
        Opened{std::move(fd), std::move(path), info.st_uid, info.st_gid, info.st_mode, info.st_dev,
               info.st_ino, std::nullopt}));
}

Directory Directory::open(const std::string& path) {
    auto directory = open_if_there(path);
    if (!directory) throw_errno("open directory " + path, ENOENT);
    return *std::move(directory);
}

namespace {

struct OpenPath {
    UniqueFd fd;
    std::string path;
};

std::vector<std::string> components_of(std::string_view path) {
    std::vector<std::string> components;
    for (std::size_t at = 0; at < path.size();) {
        const std::size_t end = std::min(path.find('/', at), path.size());
        const std::string_view component = path.substr(at, end - at);
        if (!component.empty() && component != ".") components.emplace_back(component);
        at = end + 1;
    }
    return components;
}

// Follows a path step by step, as the kernel does, but no symbolic link of another user's (not
// root's). Empty, with errno, if that is impossible.
OpenPath walk(const std::string& path) {
    OpenPath at{open_directory_for_lookup(AT_FDCWD, "/"), "/"};
    std::vector<std::string> rest = components_of(path);
    std::reverse(rest.begin(), rest.end());
    for (int links = 0; at.fd && !rest.empty();) {
        const std::string component = std::move(rest.back());
        rest.pop_back();
        UniqueFd next = open_name_for_lookup(at.fd.get(), component);
        struct stat info {};
        if (!next || ::fstat(next.get(), &info) != 0) return {};
        if (S_ISLNK(info.st_mode)) {
            if (is_on_procfs(next.get())) {
                // Its text need not be where it leads: that may be in another mount namespace.
                if (++links > most_links) {
                    errno = ELOOP;
                    return {};
                }
                at = {open_directory_through_link(at.fd.get(), component),
                      path_in(at.path, component)};
                continue;
            }
            const auto link = read_link(next.get());
            if (link) refuse_foreign_link(path_in(at.path, component), link->owner);
            if (!link || ++links > most_links) {
                if (link) errno = ELOOP;
                return {};
            }
            std::vector<std::string> more = components_of(link->target);
            rest.insert(rest.end(), more.rbegin(), more.rend());
            if (link->target.starts_with('/')) at = {open_directory_for_lookup(AT_FDCWD, "/"), "/"};
            continue;
        }
        if (!S_ISDIR(info.st_mode)) {
            errno = ENOTDIR;
            return {};
        }
        if (component == "..")
            at.path.resize(std::max<std::size_t>(at.path.rfind('/'), 1));
        else
            at.path = path_in(at.path, component);
        at.fd = std::move(next);
    }
    return at;
}

OpenPath open_path(const std::string& path) {
    const std::vector<std::string> components = components_of(path);
    const bool goes_up = std::find(components.begin(), components.end(), "..") != components.end();
    if (!goes_up) {
        std::string plain_path;
        for (const std::string& component : components) plain_path += "/" + component;
        if (plain_path.empty()) plain_path = "/";
        // One call, where no part of the path is a link; else, or if it cannot tell, step by step.
        UniqueFd fd = open_directory_without_links(plain_path);
        if (fd) return {std::move(fd), std::move(plain_path)};
        if (errno != ELOOP && errno != ENOSYS && errno != EPERM && errno != EINVAL) return {};
    }
    return walk(path);
}

}  // namespace

std::optional<Directory> Directory::open_if_there(const std::string& path) {
    OpenPath opened = open_path(absolute_path(path));
    if (!opened.fd && errno == ENOENT) return std::nullopt;
    if (!opened.fd) throw_errno("open directory " + path);
    return from(std::move(opened.fd), std::move(opened.path));
}

std::string real_path(const std::string& path) {
    const auto resolve = [](const std::string& what) {
        const std::unique_ptr<char, decltype(&std::free)> real(::realpath(what.c_str(), nullptr),
                                                               &std::free);
        return std::string(real ? real.get() : "");
    };
    std::string at = absolute_path(path);
    for (int links = 0;; ++links) {
        if (std::string real = resolve(at); !real.empty()) return real;
        const SplitPath split = split_path(at);
        const std::string directory = resolve(split.directory);
        at = path_in(directory.empty() ? split.directory : directory, split.name);
        // A link that leads to nothing yet.
        std::array<char, PATH_MAX> target;
        const ssize_t length = ::readlink(at.c_str(), target.data(), target.size());
        if (length < 0 || links == most_links) return at;
        const std::string_view next(target.data(), static_cast<std::size_t>(length));
        at = next.starts_with('/') ? std::string(next) : path_in(directory, next);
    }
}

Directory Directory::make(const std::string& path) {
    if (auto there = open_if_there(path)) return *std::move(there);
    const SplitPath split = split_path(path);
    const Directory parent = make(split.directory);
    // Whoever could exchange what is made there would give it to somebody else. A group's directory
    // is the group's to trust, but not for root.
    if (!counts_for(::geteuid(), parent.owner()) &&
        (::geteuid() == 0 || everybody_may_write(parent.mode())))
        throw Refusal(parent.path() + ": belongs to uid " + std::to_string(parent.owner()) +
                      ", and " + split.name + " is not made there");
    if (everybody_may_write(parent.mode()) && !is_sticky(parent.mode()))
        throw Refusal(parent.path() + ": everybody may write to it, and " + split.name +
                      " is not made there");
    return parent.make_subdirectory(split.name);
}

std::optional<Directory> Directory::subdirectory(const std::string& name) const {
    UniqueFd fd = look([&] { return open_directory_for_lookup(descriptor(), plain(name)); });
    if (!fd && errno == ENOENT) return std::nullopt;
    if (!fd) throw_errno("open directory " + path_of(name));
    Directory below = from(std::move(fd), path_of(name)).as(identity_);
    below.is_strict_ = is_strict_;
    return below;
}

Directory Directory::make_subdirectory(const std::string& name) const {
    bool is_new = false;
    {
        const ActingAs acting(identity_);
        is_new = acting && ::mkdirat(descriptor(), plain(name), 0700) == 0;
        if (!acting || (!is_new && errno != EEXIST))
            throw_errno("create directory " + path_of(name));
    }
    auto made = subdirectory(name);
    if (!made) throw_errno("open directory " + path_of(name), ENOENT);
    // A umask may have taken its owner's rights.
    if (is_new && (made->mode() & 0700U) != 0700) {
        const ActingAs acting(identity_);
        if (!acting || ::chmod(path_of_descriptor(made->descriptor()).c_str(), 0700) != 0)
            throw_errno("change the mode of " + path_of(name));
        made = subdirectory(name);
    }
    return *std::move(made);
}

Directory Directory::as(const std::optional<Identity>& identity) const {
    Directory same(opened_);
    same.identity_ = identity;
    return same;
}

Directory Directory::strictly() const {
    Directory same = *this;
    same.is_strict_ = true;
    return same;
}

std::string Directory::path_of(std::string_view name) const { return path_in(path(), name); }

bool Directory::still_exists() const {
    struct stat info {};
    return ::fstat(descriptor(), &info) != 0 || info.st_nlink > 0;
}

bool Directory::is_local() const {
    if (!opened_->is_local) opened_->is_local = is_local_file_system(descriptor());
    return *opened_->is_local;
}

UniqueFd Directory::open_file(const std::string& name, int flags, mode_t mode) const {
    // O_NONBLOCK: opening a FIFO must not wait for its other end. It has no effect on a regular
    // file.
    const int all = flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    const auto open_it = [&] { return UniqueFd(::openat(descriptor(), plain(name), all, mode)); };
    if ((flags & (O_ACCMODE | O_CREAT)) == O_RDONLY) return look(open_it);
    const ActingAs acting(identity_);
    return acting ? open_it() : UniqueFd();
}

std::optional<FileStamp> Directory::stamp_at(const std::string& name) const {
    const auto stamp = look([&]() -> std::optional<FileStamp> {
        struct stat info {};
        if (::fstatat(descriptor(), plain(name), &info, AT_SYMLINK_NOFOLLOW) != 0) return {};
        return to_stamp(info);
    });
    if (stamp || is_missing(errno)) return stamp;
    throw_errno("stat " + path_of(name));
}

std::optional<FileStamp> Directory::stamp_if_known(const std::string& name) const {
    try {
        return stamp_at(name);
    } catch (const std::system_error&) {
        return std::nullopt;
    }
}

bool Directory::is_unchanged(const std::string& name, const FileStamp& stamp) const {
    const auto now = stamp_at(name);
    return now && stamp.unchanged(*now);
}

std::optional<FileContents> Directory::read_file(const std::string& name, std::size_t limit,
                                                 Attributes attributes) const {
    const UniqueFd fd = open_file(name, O_RDONLY);
    if (!fd) {
        if (errno == ENOENT) return std::nullopt;
        throw_errno("open " + path_of(name));
    }
    const std::string path = path_of(name);
    const FileStamp stamp = stamp_of(fd.get(), path);
    if (!stamp.is_regular) throw Refusal(path + ": not a regular file");
    const auto refuse_size = [&] {
        throw TooLarge(path + ": larger than " +
                       (limit >= (1U << 20U) ? std::to_string(limit >> 20U) + " MiB"
                                             : std::to_string(limit >> 10U) + " KiB"));
    };
    if (static_cast<std::uint64_t>(stamp.size) > limit) refuse_size();
    FileContents contents{
        read_from(fd.get(), 0, limit + 1, path, static_cast<std::size_t>(stamp.size)), stamp, {}};
    if (contents.text.size() > limit) refuse_size();
    if (attributes == Attributes::read)
        contents.attributes = extended_attributes_of(fd.get(), path);
    return contents;
}

std::optional<SymbolicLink> Directory::link_at(const std::string& name) const {
    return look([&]() -> std::optional<SymbolicLink> {
        const UniqueFd fd = open_name_for_lookup(descriptor(), plain(name));
        return fd ? read_link(fd.get()) : std::nullopt;
    });
}

bool Directory::rename(const std::string& from, const Directory& there,
                       const std::string& to) const {
    const ActingAs acting(identity_);
    return acting && ::renameat(descriptor(), plain(from), there.descriptor(), plain(to)) == 0;
}

bool Directory::rename_to_free_name(const std::string& from, const std::string& to) const {
    const ActingAs acting(identity_);
    if (!acting) return false;
    if (rename_no_replace(descriptor(), plain(from), plain(to))) return true;
    const bool is_unsupported = errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP;
    // link(2) never replaces a file, on any file system that has hard links.
    return is_unsupported &&
           ::linkat(descriptor(), from.c_str(), descriptor(), to.c_str(), 0) == 0 &&
           ::unlinkat(descriptor(), from.c_str(), 0) == 0;
}

bool Directory::exchange(const std::string& one, const Directory& there,
                         const std::string& other) const {
    const ActingAs acting(identity_);
    return acting && rename_exchange(descriptor(), plain(one), there.descriptor(), plain(other));
}

bool Directory::remove(const std::string& name) const {
    const ActingAs acting(identity_);
    return acting && ::unlinkat(descriptor(), plain(name), 0) == 0;
}

bool Directory::make_link(const std::string& target, const std::string& name) const {
    const ActingAs acting(identity_);
    return acting && ::symlinkat(target.c_str(), descriptor(), plain(name)) == 0;
}

bool Directory::change_owner(int fd, uid_t owner, gid_t group) const {
    {
        const ActingAs acting(identity_);
        if (!acting) return false;
        if (::fchown(fd, owner, group) == 0) return true;
    }
    // A directory may have given the owner's file a group that the owner is not in.
    struct stat info {};
    if (errno != EPERM || !identity_ || ::fstat(fd, &info) != 0) return false;
    if (info.st_uid != identity_->user || owner != identity_->user) {
        errno = EPERM;
        return false;
    }
    return ::fchown(fd, owner, group) == 0;
}

bool Directory::change_mode(int fd, mode_t mode) const {
    const ActingAs acting(identity_);
    return acting && ::fchmod(fd, mode) == 0;
}

bool Directory::change_attributes(int fd, const ExtendedAttributes& wanted,
                                  const ExtendedAttributes& has, bool drop_inherited_list,
                                  std::string& failed) const {
    const ActingAs acting(identity_);
    return acting && set_extended_attributes(fd, wanted, has, drop_inherited_list, failed);
}

bool Directory::may_write() const {
    const ActingAs acting(identity_);
    return acting && ::faccessat(descriptor(), ".", W_OK, AT_EACCESS) == 0;
}

std::string Directory::random_name_like(const std::string& name) {
    std::string suffix = "-";
    for (std::uint64_t bits = random_bits() | 1ULL << 60U; bits != 0; bits /= 36)
        suffix += "0123456789abcdefghijklmnopqrstuvwxyz"[bits % 36];
    return name + suffix;
}

UniqueFd Directory::open_to_read() const {
    return look(
        [&] { return UniqueFd(::openat(descriptor(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)); });
}

UniqueFd Directory::open_to_flush() const {
    UniqueFd fd = open_to_read();
    if (!fd && errno != EACCES) throw_errno("open " + path());
    return fd;
}

void Directory::for_each_name(const std::function<void(std::string_view)>& visit) const {
    UniqueFd fd = open_to_read();
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(fd ? ::fdopendir(fd.get()) : nullptr,
                                                     &::closedir);
    if (!stream) throw_errno("open directory " + path());
    fd.release();  // the stream's now
    errno = 0;
    while (const dirent* entry = ::readdir(stream.get())) {
        const std::string_view name = entry->d_name;
        if (name != "." && name != "..") visit(name);
        errno = 0;
    }
    if (errno != 0) throw_errno("read directory " + path());
}

}  // namespace jobshim
