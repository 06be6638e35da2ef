#include "common/kernel_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "common/unique_fd.hpp"

namespace jobshim {

namespace {

enum class Until { end, line_feed };

std::string read_until(Until until, const std::string& path, std::size_t limit) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    std::string text;
    std::array<char, 4096> buffer;
    while (fd && text.size() < limit) {
        const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        text.append(buffer.data(), static_cast<std::size_t>(got));
        // The kernel returns whole lines: for one line there is no need to read to the end.
        if (until == Until::line_feed && text.back() == '\n') break;
    }
    return text;
}

}  // namespace

std::string read_kernel_file(const std::string& path, std::size_t limit) {
    return read_until(Until::end, path, limit);
}

std::string read_kernel_line(const std::string& path) {
    return read_until(Until::line_feed, path, 4096);
}

std::string first_line_of_kernel_file(const std::string& path) {
    std::string text = read_kernel_line(path);
    text.resize(std::min(text.size(), text.find('\n')));
    return text;
}

}  // namespace jobshim
