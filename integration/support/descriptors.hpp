#pragma once

// File descriptors that are closed when their owner is destroyed.

#include <string>
#include <utility>

namespace harness {

class Fd {
public:
    Fd() = default;
    explicit Fd(int number) : number_(number) {}
    Fd(Fd&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
    Fd& operator=(Fd&& other) noexcept;
    ~Fd() { close(); }
    void close();
    int get() const { return number_; }

private:
    int number_ = -1;
};

struct Pipe {
    Pipe();
    Fd read, write;
    std::string identity;  ///< as /proc/PID/fd shows it: "pipe:[4711]"
};

}  // namespace harness
