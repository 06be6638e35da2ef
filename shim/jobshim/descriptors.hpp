// Which file descriptors the shim keeps open, and which it must not.
#pragma once

#include <vector>

namespace jobshim {

// A launcher may have closed 0, 1 or 2. None of our files must get such a number: the next message
// to stderr would land in it. The stand-ins are closed on exec, so the worker finds what the
// launcher left.
void ensure_standard_streams();

// Closes everything inherited, so that a reader of the worker's pipe sees end of file when the
// worker closes it. Keeps stderr if it is a terminal or a regular file, and everything in `ours`.
void close_inherited_descriptors(std::vector<int> ours);

bool leads_to_null_device(int fd);

// Makes `to` refer to what `from` refers to, closed on exec.
void put_onto(int from, int to);
// Closes the open descriptors from `first` to `last`.
void close_numbers(unsigned first, unsigned last);

}  // namespace jobshim
