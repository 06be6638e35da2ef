#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/auxv.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cstdio>
#include <memory>

#include "common/system_calls.hpp"

namespace jobshim {

namespace {

constexpr unsigned no_replace = 1;  // RENAME_NOREPLACE and RENAME_EXCHANGE from linux/fs.h
constexpr unsigned exchange = 2;

}  // namespace

timespec mtime_of(const struct stat& info) { return info.st_mtim; }

timespec ctime_of(const struct stat& info) { return info.st_ctim; }

bool reserve_space(int fd, off_t bytes) {
    return ::fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, bytes) == 0;
}

std::uint64_t longest_file() {
    rlimit limit{};
    return ::getrlimit(RLIMIT_FSIZE, &limit) == 0 ? limit.rlim_cur : RLIM_INFINITY;
}

bool rename_no_replace(int directory, const std::string& from, const std::string& to) {
    return ::syscall(SYS_renameat2, directory, from.c_str(), directory, to.c_str(), no_replace) ==
           0;
}

bool rename_exchange(int one_directory, const std::string& one, int other_directory,
                     const std::string& other) {
    return ::syscall(SYS_renameat2, one_directory, one.c_str(), other_directory, other.c_str(),
                     exchange) == 0;
}

UniqueFd reopen_for_reading(int fd) {
    return UniqueFd(
        ::open(path_of_descriptor(fd).c_str(), O_RDONLY | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
}

bool change_working_directory(const std::string& path) { return ::chdir(path.c_str()) == 0; }

bool has_writer(int fd) {
    // The kernel grants no read lease while there is a writer.
    if (::fcntl(fd, F_SETLEASE, F_RDLCK) != 0) return errno == EAGAIN;
    ::fcntl(fd, F_SETLEASE, F_UNLCK);
    return false;
}

bool flush_to_disk(int fd) { return ::fsync(fd) == 0; }

UniqueFd open_directory_for_lookup(int directory, const std::string& path) {
    return UniqueFd(
        ::openat(directory, path.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

UniqueFd open_name_for_lookup(int directory, const std::string& name) {
    return UniqueFd(::openat(directory, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
}

UniqueFd open_directory_through_link(int directory, const std::string& name) {
    return UniqueFd(::openat(directory, name.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
}

bool is_on_procfs(int fd) {
    struct statfs info {};
    constexpr unsigned long procfs = 0x9FA0;  // from linux/magic.h
    return ::fstatfs(fd, &info) == 0 && static_cast<unsigned long>(info.f_type) == procfs;
}

UniqueFd open_directory_without_links(const std::string& path) {
    // struct open_how and its values from linux/openat2.h, which older headers lack.
    struct {
        std::uint64_t flags, mode, resolve;
    } how{O_PATH | O_DIRECTORY | O_CLOEXEC, 0, 0x04};  // RESOLVE_NO_SYMLINKS
    constexpr long openat2 = 437;                      // on every architecture
    return UniqueFd(static_cast<int>(::syscall(openat2, AT_FDCWD, path.c_str(), &how, sizeof how)));
}

std::string path_of_descriptor(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

std::pair<UniqueFd, UniqueFd> make_pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return {};
    return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

std::pair<UniqueFd, UniqueFd> make_socket_pair() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return {};
    return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

bool was_started_with_privileges() { return ::getauxval(AT_SECURE) != 0; }

namespace {

// Not getpwuid and the like: in a static program they would load libraries that may not fit.
using File = std::unique_ptr<FILE, int (*)(FILE*)>;
File open_database(const char* path) { return {std::fopen(path, "re"), &std::fclose}; }

struct User {
    std::string name;
    std::string home;
    gid_t group = 0;
};

std::optional<User> find_user(uid_t user) {
    const File file = open_database("/etc/passwd");
    while (const passwd* entry = file ? ::fgetpwent(file.get()) : nullptr)
        if (entry->pw_uid == user) return User{entry->pw_name, entry->pw_dir, entry->pw_gid};
    return std::nullopt;
}

}  // namespace

std::optional<std::string> home_in_password_file(uid_t user) {
    const auto found = find_user(user);
    return found && found->home.starts_with('/') ? std::optional(found->home) : std::nullopt;
}

std::optional<UserGroups> groups_of_user(uid_t user) {
    const auto found = find_user(user);
    if (!found) return std::nullopt;
    UserGroups groups{found->group, {}};
    const File file = open_database("/etc/group");
    while (const group* entry = file ? ::fgetgrent(file.get()) : nullptr)
        for (char** member = entry->gr_mem; *member != nullptr; ++member)
            if (found->name == *member) groups.others.push_back(entry->gr_gid);
    return groups;
}

std::uint64_t random_bits() {
    std::uint64_t bits = 0;
    // Cannot fail for so few bytes, except before the kernel has gathered any randomness at all.
    (void)!::getrandom(&bits, sizeof bits, 0);
    return bits;
}

}  // namespace jobshim
