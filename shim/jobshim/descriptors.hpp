// Which file descriptors the shim keeps open, and which it must not.
#pragma once

#include <vector>

#include "common/unique_fd.hpp"

namespace jobshim {

// A launcher may have closed 0, 1 or 2. None of our files must get such a number: the next message
// to stderr would land in it. The stand-ins are closed on exec, so the worker finds what the
// launcher left.
// False if there was no standard output.
bool ensure_standard_streams();

// Closes everything inherited, so that a reader of the worker's pipe sees end of file when the
// worker closes it. Keeps everything in `ours`, stderr if it is a terminal or a regular file, and
// what holds a record lock.
void close_inherited_descriptors(std::vector<int> ours);

// For a number that must not be free: /dev/null, or if that cannot be opened, a descriptor that can
// neither be read nor written.
UniqueFd open_stand_in();
// Like /dev/null for a reader, even if that cannot be opened. Empty, with errno, if that fails.
UniqueFd open_empty_input();

bool leads_to_null_device(int fd);

// All descriptors but `ours` of the files on which this process holds a record lock (fcntl(2)): its
// launcher took the lock before the exec, and closing any one of them would drop it. `ours` is
// sorted.
std::vector<int> descriptors_with_record_locks(const std::vector<int>& ours);

// A descriptor that can neither be read nor written.
UniqueFd open_inert();

// Makes `to` refer to what `from` refers to, closed on exec.
void put_onto(int from, int to);
// Closes the open descriptors from `first` to `last`.
void close_numbers(unsigned first, unsigned last);

}  // namespace jobshim
