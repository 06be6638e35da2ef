#pragma once

// Tampers with one system call, where strace cannot: in one process of several, after the call was
// made, or in its length. By ptrace(2); x86-64 only.

#include <functional>

#include "integration/strace.hpp"

namespace harness {

enum class SyscallFault {
    fail,           ///< the call is not made and fails
    fail_all_same,  ///< the call is made and said to have failed, as close(2) does
    shorten,        ///< half as many bytes as asked for (write), at least one
};

bool can_fault_syscalls();
/// For Options::before_exec: `call` (of the program, or of a child of it until that executes
/// another program) will be tampered with. The process that is started is the tracer then; it ends
/// with the program's exit status, or with 128 + n.
std::function<void()> fault_syscall(const Call& call, SyscallFault how, int error = 0);

}  // namespace harness
