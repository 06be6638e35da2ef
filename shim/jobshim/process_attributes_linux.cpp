#include <sys/prctl.h>
#include <sys/resource.h>

#include "shim/jobshim/process_attributes.hpp"

namespace jobshim {

void name_this_process(const char* name) { ::prctl(PR_SET_NAME, name); }

void forbid_core_dump() {
    const rlimit none{0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
    ::prctl(PR_SET_DUMPABLE, 0);  // a core pipe handler ignores the limit
}

bool give_up_subreaping() {
    int is_one = 0;
    return ::prctl(PR_GET_CHILD_SUBREAPER, &is_one) == 0 && is_one != 0 &&
           ::prctl(PR_SET_CHILD_SUBREAPER, 0) == 0;
}

bool become_subreaper() { return ::prctl(PR_SET_CHILD_SUBREAPER, 1) == 0; }

}  // namespace jobshim
