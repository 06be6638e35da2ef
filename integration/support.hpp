#pragma once

// Runs the built programs as a user would run them, and sees to it that nothing is left of a test:
// no process, no file. A test case is a method of Sandbox (TEST_CASE_METHOD): a folder of its own,
// with XDG_STATE_HOME in it, and every process it started a descendant of the test process, which
// is its own child subreaper. At the end of the test the sandbox fails it if one of them still
// lives.
//
// Caveats
//  - A child starts from a clean slate: a session of its own, all signals at their default and
//    unblocked, no core dumps, stdin from /dev/null, stdout and stderr into memory files, no other
//    descriptor. So neither a terminal nor ctest nor make can colour a result.
//  - An orphan stays a zombie until a wait_until() reaps it, as under a slow pid 1. That is meant.
//  - Not for threads: the child runs C++ between fork and exec.

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/catch.hpp"

// ctest reads "test skipped: " and says so (tests/CMakeLists.txt).
#define SKIP_TEST(why)                   \
    do {                                 \
        WARN("test skipped: " << (why)); \
        return;                          \
    } while (false)

namespace harness {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::milliseconds;
using Json = nlohmann::json;
using Words = std::vector<std::string>;

inline const std::string jobshim = JOBSHIM_BIN;
inline const std::string jobctl = JOBCTL_BIN;

/// `time`, stretched for a slow build: by JOBSHIM_TEST_SLOW from the environment, else 5 under
/// sanitizers.
Milliseconds patience(Milliseconds time);
/// True as soon as `holds`, which is asked every few ms; false once `limit` (stretched) has passed.
bool wait_until(const std::function<bool()>& holds, Milliseconds limit = 10s);

// ---- files

std::string slurp(const fs::path& file);
void put(const fs::path& file, std::string_view content);  ///< truncate and write, as hosts do
Json read_json(const fs::path& file);
/// The value at a JSON pointer, or "<missing>": a CHECK then says what is wrong instead of
/// throwing.
Json at(const Json& value, const std::string& pointer);
Words lines_of(const std::string& text);
bool contains(std::string_view text, std::string_view part);
/// What a program says of an error, in glibc's words: musl, with which jobshim may be linked, has
/// others for some.
std::string in_glibc_words(std::string text);
/// True if it says what this errno means.
bool tells(const std::string& text, int error);
/// Names in `folder` that contain `part`, sorted.
Words names_in(const fs::path& folder, std::string_view part);
/// Nanoseconds since the epoch; -1 if there is no such file.
std::int64_t mtime_of(const fs::path& file);
fs::path fixture(const std::string& name);
std::string base64(std::string_view bytes);

class TempDir {
public:
    TempDir();
    ~TempDir();
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;
    const fs::path path;
};

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

// ---- processes

struct ProcessStat {
    char state = 0;  ///< 0 if there is no such process
    pid_t parent = 0, group = 0, session = 0;
};
ProcessStat process_stat(pid_t pid);
char process_state(pid_t pid);
bool alive(pid_t pid);  ///< not gone, not Z, not X
std::vector<pid_t> children_of(pid_t pid);
/// Where the descriptors of a process lead: number -> link.
std::map<int, std::string> descriptors_of(pid_t pid);
/// True if one of the descriptors of `watcher` is a pidfd of `watched`.
bool watches(pid_t watcher, pid_t watched);
/// Summed over its threads.
long voluntary_switches(pid_t pid);
std::string signal_name(int number);
/// True if a shim holds byte 0 of this heartbeat file.
bool life_is_held(const fs::path& heartbeat);
bool in_path(const std::string& program);

struct Result {
    int status = 0;  ///< raw, as from waitpid
    std::string out, err;
    Milliseconds wall{};
    std::string ended() const;  ///< "exit 3", "SIGKILL"
    int code() const;           ///< -1 if a signal ended it
};

struct Options {
    std::map<std::string, std::string> env = {};
    fs::path cwd = {};                          ///< the sandbox's folder
    std::string input = {};                     ///< what stdin holds
    std::vector<std::pair<int, int>> fds = {};  ///< number in the child -> ours
    std::function<void()> before_exec = {};     ///< the last thing the child does
    bool own_session = true;
    Milliseconds limit = 20s;  ///< stretched; after it all is killed and the test fails
};

/// LeakSanitizer needs a process of its own, and to be nobody's tracee: the environment for where
/// it cannot have that.
inline const std::map<std::string, std::string> no_leak_search{{"ASAN_OPTIONS", "detect_leaks=0"}};

class Process {
public:
    pid_t pid() const { return pid_; }
    void kill(int signal) const;
    bool running() const;
    /// Its end; beyond `limit` (stretched) everything is killed and the test fails.
    Result wait(Milliseconds limit = 20s);
    std::string out() const;  ///< what it (and who else has its stdout) wrote so far
    std::string err() const;

private:
    friend class Sandbox;
    pid_t pid_ = -1;
    Clock::time_point begin_;
    Words argv_;
    Fd out_, err_, pidfd_;
};

/// For use in before_exec: ends the child with the reason if a call failed.
void must(long result, const char* what);
/// True if a child can do `attempt` (which uses must()).
bool child_can(const std::function<void()>& attempt);
/// For use in before_exec: a mount namespace in which nothing leaks out.
void own_mounts();
void become_nobody();

class Sandbox {
public:
    Sandbox();
    ~Sandbox() noexcept(false);

    Process spawn(const Words& argv, const Options& options = {});
    Result run(const Words& argv, const Options& options = {});
    /// jobshim with these arguments.
    Process start_shim(const Words& arguments, const Options& options = {});
    Result run_shim(const Words& arguments, const Options& options = {});
    /// jobshim -j JOB EXTRA... -- sh -c SCRIPT
    Process start_job(const fs::path& file, const std::string& script, const Words& extra = {},
                      const Options& options = {});
    Result run_job(const fs::path& file, const std::string& script, const Words& extra = {},
                   const Options& options = {});
    Result ctl(const Words& arguments, const Options& options = {});
    Json ctl_json(const Words& arguments, const Options& options = {});
    /// A copy that any user may execute, wherever the build is.
    fs::path public_copy(const std::string& program);

private:
    TempDir temp_;

public:
    const fs::path& dir = temp_.path;
    const fs::path job = dir / "job.json";
};

// ---- what came of a fault

/// What a job's record, and its readers, say once a fault has hit it. Every word but the last is
/// the truth, or says that the truth cannot be known.
enum class Told {
    true_end,  ///< the worker's real end is on record
    lost,      ///< dead, settled as such, and no end claimed that nobody saw
    alive,     ///< running, stalled, orphaned: and it is
    refused,   ///< nothing was started, and a message says why
    unknown,   ///< said in words
    nothing,   ///< no job was there, and none is told of
    lie,
};
std::string word(Told told);

/// Counts what came of each fault. Written when it goes, to JOBSHIM_MATRIX_DIR (from the
/// environment, else beside the test programs), where `./dev test` makes one table of all.
class Matrix {
public:
    explicit Matrix(std::string suite);  ///< one per test case, a name of its own
    ~Matrix();
    Matrix(const Matrix&) = delete;
    Matrix& operator=(const Matrix&) = delete;
    void count(const std::string& fault, Told told);
    int total() const;
    int lies() const;

private:
    std::string suite_;
    std::map<std::string, std::map<Told, int>> counts_;
};

// ---- jobs

fs::path heartbeat_of(const fs::path& job);
Json exit_of(const fs::path& job);
/// Waits for the phase `running`, then the worker's pid.
pid_t worker_of(const fs::path& job);
/// Waits until this waiter really waits, so that an end after it is one it must notice.
void wait_until_parked(const Process& waiter);
/// SIGKILL to the shim of a job that has been seen running.
void kill_shim(Process& shim, const fs::path& job);
/// worker_of, once COMMAND was executed: before that its process is its shim's twin.
pid_t executed_worker_of(const fs::path& job);

/// The shell's `until a file "go" is there`, in the folder of the test.
inline const std::string until_go = "while ! [ -e go ]; do sleep 0.02; done; ";
/// ... until the shim has written that it runs: a record that a worker writes in its very first
/// moment may cross with that write, and no test shall depend on who is quicker.
inline const std::string until_running =
    "until grep -q '\"phase\": *\"running\"' \"$JOBSHIM_JOB_FILE\"; do sleep 0.01; done; ";
inline const std::string for_ever = "while :; do sleep 0.05; done";

}  // namespace harness
