#include "shim/jobshim/journal.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>

#include "common/clocks.hpp"
#include "common/send_signal.hpp"
#include "common/system_calls.hpp"

extern char** environ;

namespace jobshim {

namespace {

constexpr std::chrono::milliseconds patience{1000};
constexpr std::size_t most_read = std::size_t{1} << 20U;

// Without it, journalctl would inherit that all signals are blocked.
class SpawnAttributes {
public:
    SpawnAttributes() {
        ::posix_spawnattr_init(&attributes_);
        sigset_t none;
        ::sigemptyset(&none);
        ::posix_spawnattr_setsigmask(&attributes_, &none);
        ::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK);
    }
    ~SpawnAttributes() { ::posix_spawnattr_destroy(&attributes_); }
    SpawnAttributes(const SpawnAttributes&) = delete;
    SpawnAttributes& operator=(const SpawnAttributes&) = delete;
    const posix_spawnattr_t* get() const { return &attributes_; }

private:
    posix_spawnattr_t attributes_{};
};

// -1 if it cannot be started.
pid_t start(std::vector<std::string> words, int output) {
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    const SpawnAttributes attributes;
    pid_t pid = -1;
    const int error =
        ::posix_spawnp(&pid, argv.front(), &actions, attributes.get(), argv.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    return error == 0 ? pid : -1;
}

// False if the time is up first, or there is too much.
bool read_to_end(int fd, std::string& text) {
    const auto deadline = monotonic_now() + patience;
    char buffer[4096];
    for (;;) {
        const auto left =
            std::chrono::ceil<std::chrono::milliseconds>(deadline - monotonic_now()).count();
        pollfd poll{fd, POLLIN, 0};
        if (left <= 0 || ::poll(&poll, 1, static_cast<int>(left)) == 0) return false;
        const ssize_t got = ::read(fd, buffer, sizeof buffer);
        if (got == 0) return true;
        if (got < 0 && errno != EINTR) return false;
        if (got > 0) text.append(buffer, static_cast<std::size_t>(got));
        if (text.size() > most_read) return false;
    }
}

}  // namespace

std::optional<std::string> read_journal(const std::vector<std::string>& arguments) {
    if (::access("/run/systemd/journal/socket", F_OK) != 0) return std::nullopt;
    auto [reader, writer] = make_pipe();
    if (!reader) return std::nullopt;
    std::vector<std::string> words{"journalctl"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    const pid_t child = start(std::move(words), writer.get());
    if (child < 0) return std::nullopt;
    writer.reset();
    std::string text;
    const bool is_whole = read_to_end(reader.get(), text);
    if (!is_whole) (void)signal_child(child, SIGKILL);
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    const bool succeeded = is_whole && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    return succeeded ? std::optional(std::move(text)) : std::nullopt;
}

}  // namespace jobshim
