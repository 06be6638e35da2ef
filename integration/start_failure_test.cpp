// Everything that keeps COMMAND from being executed: the same exit status as from env and nice, the
// reason in words in the record and on stderr, and no process left behind.

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>

#include "integration/mounts.hpp"
#include "integration/support.hpp"

using namespace harness;

namespace {

struct Failure {
    std::string what;  ///< for people
    Words command;
    int code;
    std::string error;
    std::string sentence;  ///< how the message ends
    std::function<void()> before_exec = {};
    Words prefix = {};       ///< before the shim's command
    bool to_its_end = true;  ///< else the message only contains `sentence`
    std::string path = {};   ///< PATH; "" for the test's own
    bool as_nobody = false;  ///< last, after before_exec
};

class StartFailures : public Sandbox {
public:
    StartFailures() : out_(dir / "out"), program_(public_copy(jobshim)) {
        fs::create_directory(out_);
        fs::permissions(out_, fs::perms(0777));
    }

    fs::path program(const std::string& name, const std::string& text, unsigned mode = 0755) {
        const auto file = dir / name;
        fs::create_directories(file.parent_path());
        put(file, text);
        fs::permissions(file, fs::perms(mode));
        return file;
    }

    void check(const Failure& failure) {
        CAPTURE(failure.what);
        for (const bool detach : {false, true}) {
            CAPTURE(detach);
            const auto file = out_ / ("job-" + std::to_string(++jobs_) + ".json");
            Words argv = failure.prefix;
            argv.insert(argv.end(), {program_, "-j", file});
            if (detach) argv.emplace_back("--detach");
            argv.emplace_back("--");
            argv.insert(argv.end(), failure.command.begin(), failure.command.end());
            Options options{.env = no_leak_check, .cwd = out_};
            options.before_exec = [&failure] {
                if (!failure.path.empty()) setenv("PATH", failure.path.c_str(), 1);
                if (failure.before_exec) failure.before_exec();
                if (failure.as_nobody) become_nobody();
            };
            const auto result = run(argv, options);
            // A process that the shim left behind would be our child by now, and not yet reaped.
            if (!detach) CHECK(children_of(getpid()).empty());
            CHECK(wait_until([] { return children_of(getpid()).empty(); }));
            INFO(result.err << slurp(file));
            CHECK(result.ended() == "exit " + std::to_string(failure.code));
            CHECK(result.out.empty());
            const auto record = read_json(file);
            const auto end = exit_of(file);
            const std::string message = at(record, "/errorMessage");
            CHECK(message.starts_with("Could not be started: "));
            if (failure.to_its_end)
                CHECK(in_glibc_words(message).ends_with(failure.sentence + "."));
            else
                CHECK(contains(in_glibc_words(message), failure.sentence));
            // stderr has the same words, on one line.
            const auto spoken = message.substr(22, message.size() - 23);
            CHECK(contains(result.err, "jobshim: " + spoken + "\n"));
            CHECK(std::none_of(message.begin(), message.end(),
                               [](char c) { return c >= 0 && c < ' '; }));
            CHECK(at(record, "/status") == "failed");
            CHECK(at(record, "/pid") == nullptr);
            CHECK(at(end, "/reason") == "spawn-failed");
            CHECK(at(end, "/errno") == failure.error);
            CHECK(at(end, "/code") == nullptr);
            CHECK(at(end, "/waitStatus") == nullptr);
            const auto seen = ctl({"result", file});
            CHECK(seen.ended() == "exit 1");
            CHECK(contains(seen.out, message));
            CHECK(contains(seen.out, failure.error));
            const bool is_true = at(end, "/errno") == failure.error && contains(message, ": ") &&
                                 at(end, "/waitStatus") == nullptr;
            matrix.count(failure.error, is_true ? ReportedOutcome::refused : ReportedOutcome::lie);
        }
    }

    Matrix matrix{"start failures"};

private:
    fs::path out_, program_;
    int jobs_ = 0;
};

/// strace that makes these calls fail; only on `path`, unless it is "".
Words with_failing(const std::string& calls, const std::string& error, const std::string& path) {
    Words words{"strace",
                "-f",
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                "trace=" + calls,
                "-e",
                "inject=" + calls + ":error=" + error};
    if (!path.empty()) words.insert(words.end(), {"-P", path});
    return words;
}

}  // namespace

TEST_CASE_METHOD(StartFailures,
                 "a command that cannot be started is explained in words and leaves no process",
                 "[libc]") {
    const auto text = program("text", "#!/bin/sh\nexit 3\n", 0644);
    const auto script = program("script", "#!/nowhere/lua -w\n");
    const auto second = program("second", "#! " + script.string() + "\n");
    const auto third = program("third", "#!" + second.string() + " x\n");
    const auto crlf = program("crlf", "#!/bin/sh\r\nexit 3\r\n");
    const auto by_directory = program("by-directory", "#!/tmp\n");
    const auto by_text = program("by-text", "#!" + text.string() + "\n");
    const auto circle = program("circle", "#!" + (dir / "circle").string() + "\n");
    const auto junk = program("junk", std::string("\0\1\2junk", 7));
    const auto found = program("paths/tool", "exit 3\n", 0644);
    fs::create_symlink("nowhere", dir / "dangling");
    fs::create_symlink("loop", dir / "loop");
    const auto missing = (dir / "missing").string();
    const auto paths = (dir / "paths").string();

    std::vector<Failure> failures{
        {"not in PATH", {"no-such-tool"}, 127, "ENOENT", "no-such-tool: not found in PATH"},
        {"not in PATH, which is not set",
         {"no-such-tool"},
         127,
         "ENOENT",
         "no-such-tool: not found (PATH is not set; searched /bin and /usr/bin)",
         [] { unsetenv("PATH"); }},
        {"not in PATH, which is empty",
         {"no-such-tool"},
         127,
         "ENOENT",
         "no-such-tool: not found (PATH is empty; searched the working directory)",
         [] { setenv("PATH", "", 1); }},
        {"an empty name", {""}, 127, "ENOENT", "'': an empty name is not a command"},
        {"no such file", {missing}, 127, "ENOENT", missing + ": no such file"},
        {"a relative name", {"./missing"}, 127, "ENOENT", "./missing: no such file"},
        {"a name with control characters",
         {"no\x1b[31m\nsuch"},
         127,
         "ENOENT",
         "no\uFFFD[31m\uFFFDsuch: not found in PATH"},
        {"a link to nothing",
         {dir / "dangling"},
         127,
         "ENOENT",
         "dangling: is a dangling symbolic link"},
        {"a path through a file",
         {text.string() + "/x"},
         126,
         "ENOTDIR",
         "/x: a component of its path is not a directory (Not a directory)"},
        {"a long name", {std::string(300, 'x')}, 126, "ENAMETOOLONG", "x: its name is too long"},
        {"a link to itself",
         {dir / "loop"},
         126,
         "ELOOP",
         "loop: too many symbolic links, or a loop of them"},
        {"not executable", {text}, 126, "EACCES", "text: is not executable (mode 0644)"},
        {.what = "not executable, in PATH",
         .command = {"tool"},
         .code = 126,
         .error = "EACCES",
         .sentence = "tool: " + found.string() + ": is not executable (mode 0644)",
         .path = paths + ":/bin"},
        {"a directory", {dir}, 126, "EACCES", ": is a directory"},
        {"a device", {"/dev/null"}, 126, "EACCES", "/dev/null: is not a regular file"},
        {"a file of unknown format",
         {junk},
         126,
         "ENOEXEC",
         "junk: not a program that this system can run (Exec format error)"},
        {"a missing interpreter",
         {script},
         126,
         "ENOENT",
         "script: its interpreter /nowhere/lua is missing"},
        {"a missing interpreter's script",
         {second},
         126,
         "ENOENT",
         "second: its interpreter " + script.string() +
             " is a script whose interpreter /nowhere/lua is missing"},
        {"three levels of scripts",
         {third},
         126,
         "ENOENT",
         "third: its interpreter " + second.string() + " is a script whose interpreter " +
             script.string() + " is a script whose interpreter /nowhere/lua is missing"},
        {"a CRLF line ending",
         {crlf},
         126,
         "ENOENT",
         "crlf: its interpreter /bin/sh is missing (its name ends in a carriage return)"},
        {"an interpreter that is a directory",
         {by_directory},
         126,
         "EACCES",
         "by-directory: its interpreter /tmp is a directory"},
        {"an interpreter that is not executable",
         {by_text},
         126,
         "EACCES",
         "by-text: its interpreter " + text.string() + " is not executable (mode 0644)"},
        {"its own interpreter",
         {circle},
         126,
         "ELOOP",
         "circle: its interpreter is a script too, and so on, for too many levels"},
    };

    auto binary = slurp("/bin/true");
    if (const auto loader = binary.find("/ld-"); loader != std::string::npos && loader < 4096) {
        binary[loader + 1] = 'X';
        failures.push_back({"a missing dynamic loader",
                            {program("loaderless", binary)},
                            126,
                            "ENOENT",
                            "loaderless: its dynamic loader is missing"});
    }

    const auto busy = program("busy", slurp("/bin/true"));
    const Fd writer(open(busy.c_str(), O_WRONLY | O_CLOEXEC));
    REQUIRE(writer.get() >= 0);
    if (!child_can([&] { must(execl(busy.c_str(), "busy", nullptr), "exec"); }))
        failures.push_back({"a file that is being written",
                            {busy},
                            126,
                            "ETXTBSY",
                            "busy: it is open for writing (Text file busy)"});

    const auto closed = dir / "closed";
    std::unique_ptr<Mount> noexec;
    if (geteuid() == 0) {
        const auto theirs = program("theirs", "#!/bin/sh\nexit 3\n", 0700);
        failures.push_back({.what = "another user's",
                            .command = {theirs},
                            .code = 126,
                            .error = "EACCES",
                            .sentence = "theirs: cannot be executed by this user",
                            .as_nobody = true});
        program("closed/tool", "#!/bin/sh\nexit 3\n");
        fs::permissions(closed, fs::perms(0700));
        failures.push_back({.what = "in a closed directory",
                            .command = {closed / "tool"},
                            .code = 126,
                            .error = "EACCES",
                            .sentence = "tool: is in a directory that cannot be searched",
                            .as_nobody = true});
        failures.push_back({.what = "in a closed directory of PATH",
                            .command = {"tool"},
                            .code = 126,
                            .error = "EACCES",
                            .sentence = "tool: is in a directory that cannot be searched",
                            .path = closed.string() + ":/bin",
                            .as_nobody = true});
        const auto no_more = [] {
            become_nobody();
            const rlimit none{0, 0};
            must(setrlimit(RLIMIT_NPROC, &none), "setrlimit");
        };
        // With --detach, the launcher's own fork fails before there is a job, so it is not in the
        // list.
        const auto crowded = dir / "out" / "crowded.json";
        Options options{.env = no_leak_check};
        options.before_exec = no_more;
        const auto result = run({dir / "bin/jobshim", "-j", crowded, "--", "true"}, options);
        CHECK(result.ended() == "exit 125");
        CHECK(at(exit_of(crowded), "/reason") == "spawn-failed");
        CHECK(at(exit_of(crowded), "/errno") == "EAGAIN");
        const std::string words =
            "cannot create a process for it: a process limit has been reached (fork: Resource "
            "temporarily unavailable)";
        CHECK(at(read_json(crowded), "/errorMessage") == "Could not be started: " + words + ".");
        CHECK(result.err == "jobshim: " + words + "\n");
        matrix.count("EAGAIN of fork", at(exit_of(crowded), "/errno") == "EAGAIN"
                                           ? ReportedOutcome::refused
                                           : ReportedOutcome::lie);
        const auto detached =
            run({dir / "bin/jobshim", "--detach", "-j", dir / "out" / "none.json", "--", "true"},
                options);
        CHECK(detached.ended() == "exit 125");
        CHECK(detached.out.empty());
        CHECK(contains(detached.err, "fork: Resource temporarily unavailable"));
        CHECK_FALSE(fs::exists(dir / "out" / "none.json"));

        if (why_no_volume("tmpfs").empty()) {
            fs::create_directory(dir / "noexec");
            noexec = std::make_unique<Mount>("tmpfs", dir / "noexec", "tmpfs", MS_NOEXEC);
            failures.push_back({"on a noexec mount",
                                {program("noexec/tool", "#!/bin/sh\nexit 3\n")},
                                126,
                                "EACCES",
                                "tool: is on a file system mounted noexec"});
        }
    }
    if (in_path("strace")) {
        const auto good = program("good", "#!/bin/sh\nexit 3\n").string();
        struct Injected {
            const char *error, *words;
        };
        for (const auto& [error, words] :
             {Injected{"EAGAIN", "good: the user's process limit has been reached (Resource"},
              Injected{"ENOMEM", "good: not enough memory (Cannot allocate memory)"},
              Injected{"EPERM", "good: Operation not permitted"},
              Injected{"EIO", "good: Input/output error"},
              Injected{"ENFILE", "good: Too many open files in system"},
              Injected{"ELIBBAD", "good: "}, Injected{"EINVAL", "good: Invalid argument"}})
            failures.push_back({.what = "execve fails",
                                .command = {good},
                                .code = 126,
                                .error = error,
                                .sentence = words,
                                .prefix = with_failing("execve", error, good),
                                .to_its_end = false});
    }
    for (const Failure& failure : failures) check(failure);

    if (in_path("strace")) {
        const auto file = dir / "out" / "no-memory.json";
        Words argv = with_failing("clone,clone3,fork,vfork", "ENOMEM", "");
        argv.insert(argv.end(), {jobshim, "-j", file, "--", "true"});
        CHECK(run(argv, {.env = no_leak_check}).ended() == "exit 125");
        CHECK(at(exit_of(file), "/errno") == "ENOMEM");
        CHECK(in_glibc_words(at(read_json(file), "/errorMessage")) ==
              "Could not be started: cannot create a process for it: it failed (fork: Cannot "
              "allocate memory).");
        matrix.count("ENOMEM of fork", at(exit_of(file), "/errno") == "ENOMEM"
                                           ? ReportedOutcome::refused
                                           : ReportedOutcome::lie);
    }
    std::cout << "start failures: " << matrix.total() << " points\n";
    REQUIRE(matrix.lies() == 0);
}

// The shim's own arguments may be as long as the kernel accepts; the worker's environment then gets
// JOBSHIM_JOB_FILE on top.
TEST_CASE_METHOD(StartFailures,
                 "arguments that JOBSHIM_JOB_FILE makes too long are reported as such", "[libc]") {
    constexpr std::size_t limit = std::size_t{128}
                                  << 10U;  // execve(2): a quarter of the stack limit
    std::size_t environment = 0;
    for (char** at = environ; *at != nullptr; ++at)
        environment += std::strlen(*at) + 1 + sizeof *at;
    // A directory with a long name, so that the shim's own arguments are shorter than the worker's.
    auto state = dir;
    for (int i = 0; i < 10; ++i) state /= std::string(100, 'd');
    Options options{.env = {{"XDG_STATE_HOME", state}}};
    options.before_exec = [] {
        const rlimit stack{4 * limit, 4 * limit};
        must(setrlimit(RLIMIT_STACK, &stack), "setrlimit");
    };
    bool seen = false;
    for (std::size_t size = limit - environment - 6000; !seen && size < limit; size += 200) {
        CAPTURE(size);
        const std::size_t half = size / 2;
        const auto result = run({jobshim, "--id", "long", "true", std::string(half, 'x'),
                                 std::string(size - half, 'x')},
                                options);
        const auto file = state / "jobshim/jobs/long.json";
        if (result.ended() == "exit 0") continue;
        CHECK(result.ended() == "exit 126");
        CHECK(contains(result.err, "its arguments and environment are too long"));
        CHECK(at(exit_of(file), "/reason") == "spawn-failed");
        CHECK(at(exit_of(file), "/errno") == "E2BIG");
        CHECK(children_of(getpid()).empty());
        matrix.count("E2BIG", at(exit_of(file), "/errno") == "E2BIG" ? ReportedOutcome::refused
                                                                     : ReportedOutcome::lie);
        seen = true;
    }
    CHECK(seen);
    REQUIRE(matrix.lies() == 0);
}

// As in execvp(3): an obstacle in one directory of PATH does not hide the next.
TEST_CASE_METHOD(StartFailures, "a later directory in PATH may have the program", "[quick][libc]") {
    program("first/tool", "#!/bin/sh\nexit 3\n", 0644);
    program("second/tool", "#!/bin/sh\nexit 4\n");
    program("out/tool", "#!/bin/sh\nexit 5\n");
    fs::create_directories(dir / "directories" / "tool");
    const auto end_with = [&](const std::string& path) {
        Options options{.cwd = dir / "out"};
        options.before_exec = [path] { setenv("PATH", path.c_str(), 1); };
        return run_shim({"-j", job, "--", "tool"}, options).ended();
    };
    const auto first = (dir / "first").string(), second = (dir / "second").string();
    CHECK(end_with(first + ":" + second) == "exit 4");
    CHECK(end_with((dir / "directories").string() + ":" + second) == "exit 4");
    CHECK(end_with("/nowhere:/dev/null:" + second) == "exit 4");
    CHECK(end_with("") == "exit 5");
    CHECK(end_with(":" + second) == "exit 5");
    CHECK(end_with("/nowhere:") == "exit 5");
    CHECK(end_with(first) == "exit 126");
}
