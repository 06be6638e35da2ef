// Where a recorded process ran, relative to this one: whether its pid can be looked up. Pure.
#pragma once

#include "common/run_record.hpp"

namespace jobshim {

enum class Place {
    here,             // same boot, same pid and time namespaces: the pid can be looked up
    other_namespace,  // same boot
    before_reboot,    // this host, an earlier boot
    elsewhere,        // another host, or unknown
};

Place place_of(const ShimIdentity& recorded, const ShimIdentity& here);

}  // namespace jobshim
