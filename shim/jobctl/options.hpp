// The command line of jobctl as a value.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "common/verdict.hpp"
#include "shim/jobctl/syntax.hpp"

namespace jobshim {

enum class Command {
    status,
    wait,
    result,
    list,
    events,
    logs,
    cancel,
    settle,
    reap,
    prune,
    doctor,
    hook,
    completion,
};

struct CtlOptions {
    Command command = Command::status;
    std::vector<std::string> jobs;         // JOB, as written
    std::vector<std::string> directories;  // --dir; empty: the default
    std::vector<std::string> companions;   // --companion
    bool all_states = false;               // of codex-companion
    bool json = false;
    bool settle = true;  // false: --no-reap

    // wait, cancel
    std::optional<std::chrono::milliseconds> timeout;  // nothing: wait: no limit; cancel: 60 s

    // wait
    bool any = false;
    bool mirror = false;
    std::chrono::milliseconds appear{0};  // how long to wait for a missing job file

    // list
    std::vector<State> states;  // empty: all
    bool watch = false;
    bool why = false;

    // events
    std::string since;  // a cursor; "": from now on

    // logs
    bool follow = false;
    std::optional<std::uint64_t> lines;  // nothing: all

    // cancel
    std::string reason;                                   // cancel --reason, settle --because
    std::optional<int> signal;                            // nothing: TERM
    std::optional<std::chrono::milliseconds> kill_after;  // nothing: the shim's own grace

    // settle
    Status settle_as = Status::failed;  // or cancelled

    // reap, prune
    bool dry_run = false;
    std::optional<std::chrono::milliseconds> presume_dead;
    std::chrono::milliseconds older_than{0};

    // prune
    bool logs = false;
    std::uint64_t keep = 0;  // how many of the jobs that ended last

    // hook: of Claude Code, the only agent there is so far
    std::string event;

    // completion
    std::string shell;
};

// The command line asked only for some text, or was wrong: print this and exit.
struct EarlyExit {
    int status = 0;
    std::string out;
    std::string err;
};

std::variant<CtlOptions, EarlyExit> parse_options(int argc, const char* const* argv);

// The commands that --help lists, without their syntax.
std::vector<CommandSyntax> list_commands();
// The syntax of a command, or with "" of jobctl itself; nothing if there is no such command.
std::optional<CommandSyntax> syntax_of(const std::string& command);

}  // namespace jobshim
