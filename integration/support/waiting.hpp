#pragma once

// Waits for a condition, never just for a time. Any child that ends meanwhile is reaped, so that
// strays do not stay zombies, and its status is kept for later.

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>

namespace harness {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::milliseconds;

/// `time`, stretched for a slow build: by JOBSHIM_TEST_SLOW from the environment, else 5 times
/// under sanitizers.
Milliseconds stretched(Milliseconds time);
/// True as soon as `holds`, which is checked every few ms; false once `limit` (stretched) is over.
bool wait_until(const std::function<bool()>& holds, Milliseconds limit = 10s);

/// The raw status of a child that has been reaped.
std::optional<int> end_of(pid_t child);
/// Keeps the status of a child that was reaped elsewhere.
void keep_status(pid_t child, int status);
/// For a new child: its pid may be a reused one.
void forget_status(pid_t child);
/// Reaps every child that has ended, and forgets all statuses: a new test begins.
void forget_all_statuses();

}  // namespace harness
