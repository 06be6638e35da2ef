// What the shim holds open, and what it must not.
#pragma once

#include <vector>

namespace jobshim {

// A launcher may have closed 0, 1 or 2. A file of ours must never get such a number: the next
// message to stderr would land in it. The stand-ins are closed again on exec, so that the worker
// finds what the launcher left.
void ensure_standard_streams();

// Closes all that was inherited, so that a reader of the worker's pipe sees its end when the
// worker closes it. stderr is kept if it is a terminal or a regular file. `ours` stay.
void close_inherited_descriptors(std::vector<int> ours);

bool leads_to_null_device(int fd);

// Makes `to` lead to where `from` leads. No exec inherits it.
void put_onto(int from, int to);
// Closes those of the numbers from `first` to `last` that are open.
void close_numbers(unsigned first, unsigned last);

}  // namespace jobshim
