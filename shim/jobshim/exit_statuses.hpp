// What jobshim itself exits with, as GNU timeout and env do. Any other status is the worker's.
#pragma once

namespace jobshim {

constexpr int timed_out = 124;
constexpr int own_failure = 125;
constexpr int cannot_execute = 126;
constexpr int no_such_command = 127;

}  // namespace jobshim
