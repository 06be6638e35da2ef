// Attributes that the kernel keeps of this process: its name, core dumps, subreaping.
#pragma once

namespace jobshim {

// Waiters find the process by this name, whatever the file is called.
void name_this_process(const char* name);

// However this process ends, it leaves no core dump.
void forbid_core_dump();

// Clears the subreaper attribute. True if the launcher had set it (it survives an exec, but a fork
// does not inherit it): it was meant for the worker, which knows what to do with orphans.
bool give_up_subreaping();
// False on failure, with errno set.
bool become_subreaper();

}  // namespace jobshim
