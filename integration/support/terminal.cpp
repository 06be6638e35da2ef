#include "integration/support/terminal.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>

#include "tests/catch.hpp"

namespace harness {

Terminal::Terminal(Sandbox& box, const Words& argv, std::map<std::string, std::string> env)
    : master_(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK)) {
    must(grantpt(master_.get()), "grantpt");
    must(unlockpt(master_.get()), "unlockpt");
    resize(80, 24);
    const std::string name = ptsname(master_.get());
    env.emplace("TERM", "dumb");
    Options options{.env = std::move(env)};
    options.before_exec = [name] {
        const int slave = open(name.c_str(), O_RDWR | O_CLOEXEC);
        must(slave, "open the terminal");
        must(ioctl(slave, TIOCSCTTY, 0), "TIOCSCTTY");
        for (const int fd : {0, 1, 2}) must(dup2(slave, fd), "dup2");
        close(slave);
    };
    program = box.spawn(argv, options);
}

void Terminal::type(const std::string& text) {
    REQUIRE(write(master_.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
}

void Terminal::resize(unsigned short columns, unsigned short rows) {
    const winsize size{rows, columns, 0, 0};
    must(ioctl(master_.get(), TIOCSWINSZ, &size), "TIOCSWINSZ");
}

void Terminal::await(const std::string& text) {
    const bool came = wait_until([&] {
        read_on();
        return printed_.find(text, seen_) != std::string::npos;
    });
    INFO("awaited: " << text << "\nprinted: " << printed_.substr(seen_));
    REQUIRE(came);
    seen_ = printed_.find(text, seen_) + text.size();
}

pid_t Terminal::foreground() const { return tcgetpgrp(master_.get()); }

int Terminal::status() {
    type("echo status:$?\n");  // its echo, maybe repeated, has no number
    std::size_t number = 0;
    REQUIRE(wait_until([&] {
        read_on();
        number = printed_.find_first_of("0123456789", seen_);
        while (number != std::string::npos &&
               (number < 7 || printed_.compare(number - 7, 7, "status:") != 0))
            number = printed_.find_first_of("0123456789", number + 1);
        return number != std::string::npos && printed_.find("\r\n", number) != std::string::npos;
    }));
    seen_ = number;
    await("\r\n");
    return std::stoi(printed_.substr(number));
}

std::string Terminal::printed() {
    read_on();
    return printed_;
}

void Terminal::read_on() {
    char block[4096];
    for (ssize_t n = 0; (n = read(master_.get(), block, sizeof block)) > 0;)
        printed_.append(block, static_cast<std::size_t>(n));
}

}  // namespace harness
