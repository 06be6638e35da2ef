// Waits at next to no cost, for workers: a shell loop around `sleep 0.02` starts fifty processes a
// second.
//
//   await FILE [TEXT]   ends with 0 once FILE exists, and contains TEXT (spaces do not count)
//   await               never ends by itself

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <iterator>
#include <string>

namespace {

bool has_come(const char* file, const char* text) {
    if (text == nullptr) return access(file, F_OK) == 0;
    const int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    std::string content;
    char block[4096];
    for (ssize_t got; (got = read(fd, block, sizeof block)) > 0;)
        std::remove_copy(block, block + got, std::back_inserter(content), ' ');
    close(fd);
    return content.find(text) != std::string::npos;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc == 1)
        for (;;) pause();
    const timespec tick{0, 5'000'000};
    while (!has_come(argv[1], argc > 2 ? argv[2] : nullptr)) nanosleep(&tick, nullptr);
}
