#pragma once

// Tampers with one system call where strace cannot: in one process of several, after the call was
// made, or in its length. Uses ptrace(2); x86-64 only.

#include <functional>

#include "integration/strace.hpp"

namespace harness {

enum class SyscallFault {
    fail,           ///< the call is not made, and fails
    fail_all_same,  ///< the call is made but reported as failed, as close(2) may be
    shorten,        ///< half as many bytes as requested (write), but at least one
};

bool can_fault_syscalls();
/// For Options::before_exec: tampers with `call`, made by the program or by a child of it that has
/// not yet executed another program. The started process becomes the tracer; it ends with the
/// program's exit status, or with 128 + n.
std::function<void()> fault_syscall(const Call& call, SyscallFault how, int error = 0);

}  // namespace harness
