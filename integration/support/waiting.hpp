#pragma once

// Waits for a condition, never for a time alone. Whoever ends meanwhile is reaped, so that strays
// do not stay zombies, and its end is kept for whoever asks.

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>

namespace harness {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::milliseconds;

/// `time`, stretched for a slow build: by JOBSHIM_TEST_SLOW from the environment, else 5 under
/// sanitizers.
Milliseconds patience(Milliseconds time);
/// True as soon as `holds`, which is asked every few ms; false once `limit` (stretched) has passed.
bool wait_until(const std::function<bool()>& holds, Milliseconds limit = 10s);

/// The raw status of a child that was reaped.
std::optional<int> end_of(pid_t child);
/// A child that was reaped elsewhere.
void keep_end(pid_t child, int status);
/// Of a child that is new: the number may have been another's.
void forget_end(pid_t child);
/// Reaps whoever has ended, and forgets all ends: a new test begins.
void forget_all_ends();

}  // namespace harness
