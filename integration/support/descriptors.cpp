#include "integration/support/descriptors.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

#include "integration/support/error.hpp"

namespace harness {

Fd& Fd::operator=(Fd&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
}

void Fd::close() {
    if (number_ >= 0) ::close(number_);
    number_ = -1;
}

Pipe::Pipe() {
    int ends[2];
    checked(pipe2(ends, O_CLOEXEC), "pipe");
    read = Fd(ends[0]);
    write = Fd(ends[1]);
    identity = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(ends[0])).string();
}

}  // namespace harness
