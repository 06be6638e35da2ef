// What the kernel keeps of this process for itself and others to go by.
#pragma once

namespace jobshim {

// By this name a waiter finds the process, whatever the file is called.
void name_this_process(const char* name);

// However it ends: nobody gets a core dump of it.
void forbid_core_dump();

// True if the launcher made a subreaper of this process (the attribute outlives an exec, and is not
// inherited): it was meant for the worker, who knows what to do with orphans.
bool give_up_subreaping();
// False, with errno.
bool become_subreaper();

}  // namespace jobshim
