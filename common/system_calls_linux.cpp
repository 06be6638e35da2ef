#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/system_calls.hpp"

namespace jobshim {

namespace {

constexpr unsigned no_replace = 1;  // RENAME_NOREPLACE and RENAME_EXCHANGE from linux/fs.h
constexpr unsigned exchange = 2;

bool rename_with(const std::string& from, const std::string& to, unsigned flags) {
    return ::syscall(SYS_renameat2, AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags) == 0;
}

}  // namespace

timespec mtime_of(const struct stat& info) { return info.st_mtim; }

timespec ctime_of(const struct stat& info) { return info.st_ctim; }

bool reserve_space(int fd, off_t bytes) {
    return ::fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, bytes) == 0;
}

bool rename_no_replace(const std::string& from, const std::string& to) {
    return rename_with(from, to, no_replace);
}

bool rename_exchange(const std::string& one, const std::string& other) {
    return rename_with(one, other, exchange);
}

bool flush_to_disk(int fd) { return ::fsync(fd) == 0; }

UniqueFd open_directory_for_lookup(const std::string& path) {
    return UniqueFd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
}

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

}  // namespace jobshim
