// The words of a verdict and of an end. Installed: nothing here but the standard library.
#pragma once

#include <string_view>

namespace jobshim {

// What a reader says of a job. The last three are final.
enum class State {
    queued,     // no shim has started it
    running,    // the shim is alive
    stalled,    // likewise, but its heartbeat is overdue, or the worker shows no sign of work
    orphaned,   // the shim is dead, the worker is not
    lost,       // both are dead, and the record does not say so yet
    unknown,    // this reader cannot tell
    completed,  // it succeeded
    failed,     // it ended any other way
    cancelled,  // somebody cancelled it
};

// Why a job ended: systemd's words first (systemd.exec(5), $SERVICE_RESULT), then ours.
enum class ExitReason {
    success,
    exit_code,
    signal,
    core_dump,
    oom_kill,
    timeout,
    cancelled,
    spawn_failed,  // COMMAND could not be executed
    no_result,     // exit 0, but no final status where one was expected
    shim_lost,     // the shim died, and nobody saw the worker's end
    host_rebooted,
    unknown,
};

// How certain that reason is.
enum class Certainty { observed, inferred, told, presumed, unknown };

// As in the record and in what jobctl prints: "oom-kill".
std::string_view word(State state);
std::string_view word(ExitReason reason);
std::string_view word(Certainty certainty);

}  // namespace jobshim
