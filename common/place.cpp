#include "common/place.hpp"

namespace jobshim {

Place place_of(const ShimIdentity& recorded, const ShimIdentity& here) {
    if (recorded.boot_id.empty() || here.boot_id.empty()) return Place::elsewhere;
    if (recorded.boot_id == here.boot_id) {
        const bool known = recorded.pid_namespace && here.pid_namespace;
        return known && *recorded.pid_namespace == *here.pid_namespace &&
                       recorded.time_namespace == here.time_namespace
                   ? Place::here
                   : Place::other_namespace;
    }
    const bool same_host = !here.machine_id.empty() && recorded.machine_id == here.machine_id &&
                           recorded.host == here.host;
    return same_host ? Place::before_reboot : Place::elsewhere;
}

}  // namespace jobshim
