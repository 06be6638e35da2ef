// A worker that takes signals one at a time and loses none that was delivered to it:
// listener COUNTER. For each signal it prints the number, the sender, and the value of the counter
// in that file (eight bytes, shared) at the moment it took the signal. SIGRTMAX ends it; it is sent
// last.

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>

#include <cstdint>
#include <cstdio>

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, nullptr);
    const int file = open(argv[1], O_RDONLY | O_CLOEXEC);
    void* shared = mmap(nullptr, sizeof(std::uint64_t), PROT_READ, MAP_SHARED, file, 0);
    if (shared == MAP_FAILED) return 3;
    const auto* counter = static_cast<const volatile std::uint64_t*>(shared);
    std::puts("ready");
    std::fflush(stdout);
    for (;;) {
        siginfo_t info{};
        const int number = sigwaitinfo(&all, &info);
        if (number < 0) continue;
        std::printf("%d %d %llu\n", number, info.si_pid, static_cast<unsigned long long>(*counter));
        std::fflush(stdout);
        if (number == SIGRTMAX) return 0;
    }
}
